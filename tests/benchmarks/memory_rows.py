"""The row about what finished streams leave in memory."""

import asyncio
import math

from . import processes
from .client import connections
from .measures import Metrics, require_events
from .rows import HAIKU, MESSAGES
from .rows_of import Line, Row, run_body
from .scale import Scale
from .servers import Server


async def finished_streams(server: Server, scale: Scale) -> Metrics:
    """Megabytes after so many streams have ended, and after a rest if the scale asks for one."""
    body = run_body("tokens", {**HAIKU, "tokens": scale.tokens}, stream_mode="messages-tuple")
    request, numbers = server.address.request("POST", "/runs/stream", body), iter(range(scale.finished_streams))
    async with connections(server.address, scale.streams) as opened:

        async def read(number: int) -> None:
            for _ in numbers:
                require_events(await opened[number].send(request, MESSAGES), scale.tokens)

        await asyncio.gather(*(read(number) for number in range(scale.streams)))
    metrics = {"streams_rss": _resident(server)}
    if scale.rest_minutes:
        await asyncio.sleep(scale.rest_minutes * 60)
        metrics["streams_rest"] = _resident(server)
    return metrics


def _resident(server: Server) -> float:
    return math.nan if server.pid is None else processes.resident(server.pid)


MEMORY_ROWS = (
    Row(
        "finished_streams",
        finished_streams,
        (
            Line("streams_rss", "RSS after 400 streams of 2,000 tokens", "MB", 300),
            Line("streams_rest", "  after a rest (--rest 10)", "MB", 250),
        ),
        own_server=True,
        limit_seconds=600,
    ),
)
