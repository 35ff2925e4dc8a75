"""Starting a server and what it needs while it does nothing: measured on servers of their own, before anything else."""

import contextlib
from collections.abc import Iterator

from .measures import Metrics
from .processes import memory
from .rows_of import Line
from .scale import Scale
from .servers import Command, Server, settle

LINES = (
    Line("start", "start to first 200, migrated data directory", "s", 2),
    Line("first_start", "start to first 200, empty data directory", "s"),
    Line("memory_rss", "idle memory with the samples, RSS", "MB", 150),
    Line("memory_pss", "idle memory with the samples, PSS", "MB"),
)


@contextlib.contextmanager
def stopping(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()


async def measure(command: Command, round_number: int, scale: Scale) -> Metrics:
    """The first round starts on an empty data directory and measures memory, every round a start on a migrated one."""
    metrics: Metrics = {}
    if round_number == 0:
        server, metrics["first_start"] = await command.start()
        with stopping(server):
            await settle(server, scale.settle_seconds)
            assert server.pid is not None
            used = memory(server.pid)
            metrics |= {"memory_rss": used.rss, "memory_pss": used.pss}
    server, metrics["start"] = await command.start()
    server.stop()
    return metrics


def idle(server: Server) -> Metrics:
    """Memory of a server that runs already: what can be said of it without starting it."""
    if server.pid is None:
        return {}
    used = memory(server.pid)
    return {"memory_rss": used.rss, "memory_pss": used.pss}
