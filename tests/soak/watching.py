"""What is seen of the server's processes: memory, files and threads from /proc, the rest from their /metrics."""

import asyncio
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import httpx

from tests.benchmarks import processes
from tests.benchmarks.observed import Counted, counted
from tests.benchmarks.processes import Use
from tests.benchmarks.servers import Server

from .verdict import Point

LOOK_SECONDS = 5.0
DATABASES = ("postgres", "valkey")


def program(words: list[str]) -> str | None:
    """Return the name of one of our programs or of a database by its command line, None for anything else."""
    name = words[0].rpartition("/")[2] if words else ""
    if name.startswith("postgres"):
        return "postgres"
    if name.startswith("valkey"):
        return "valkey"
    if "celery" in words:
        return words[words.index("-n") + 1].partition("@")[0] if "worker" in words else "beat"
    return "server" if "serve" in words else None


def programs(root: int) -> dict[str, list[int]]:
    """Return the processes below and with `root` by program."""
    found: dict[str, list[int]] = {}
    for pid in processes.tree(root):
        if (name := program(processes.words(pid))) is not None:
            found.setdefault(name, []).append(pid)
    if len(found) > 1 and root in found.get("server", ()):
        # In scale mode the root starts the others, a web process among them.
        web = [pid for pid in found.pop("server") if pid != root]
        found = {"web": web, **dict(sorted(found.items(), key=lambda each: each[0] in DATABASES)), "supervisor": [root]}
    return {name: pids for name, pids in found.items() if pids}


@dataclass(frozen=True)
class Minute:
    """One process in one minute (or whatever span the watcher was asked for)."""

    process: str
    point: Point
    # The part of its memory that is no page of a file, in MB.
    anonymous: float
    cpu_share: float
    full_collections: float
    full_collection_ms: float
    runs: float
    held: dict[str, float]

    def as_dict(self) -> dict[str, str | float]:
        return {
            "minute": round(self.point.minute, 2),
            "process": self.process,
            "rss_mb": round(self.point.rss, 1),
            "anonymous_mb": round(self.anonymous, 1),
            "open_files": self.point.files,
            "threads": self.point.threads,
            "cpu_share": round(self.cpu_share, 3),
            "full_collections": self.full_collections,
            "full_collection_ms": round(self.full_collection_ms, 1),
            "runs": self.runs,
            **self.held,
        }


class Watcher:
    """Looks at all processes of a server every few seconds and sums up what it saw when asked."""

    def __init__(self, server: Server, clock: Callable[[], float] = monotonic) -> None:
        assert server.pid is not None
        self.root = server.pid
        ports = {"web" if server.metrics_ports else "server": server.address.port}
        ports |= {f"worker-{number}": port for number, port in enumerate(server.metrics_ports, 1)}
        # URL of /metrics by program.
        self.metrics = {name: f"http://{server.address.host}:{port}/metrics" for name, port in ports.items()}
        self.clock = clock
        self.began = self.last = clock()
        # Seconds between the last two calls of `minute`.
        self.last_span = 0.0
        self.restarted: list[str] = []
        self._seen: dict[str, list[Use]] = {}
        self._pids: dict[str, int] = {}
        self._cpu: dict[str, float] = {}
        self._before: dict[str, Counted] = {}

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        for name, pids in programs(self.root).items():
            uses = [use for pid in pids if (use := processes.use(pid)) is not None]
            if not uses:
                continue
            # Of a database with many processes shared pages count once.
            rss = uses[0].rss if len(pids) == 1 else sum(processes.memory_of(pid).pss for pid in pids)
            self._seen.setdefault(name, []).append(
                Use(
                    rss,
                    sum(use.anonymous for use in uses),
                    sum(use.files for use in uses),
                    sum(use.threads for use in uses),
                    sum(use.cpu_seconds for use in uses),
                )
            )
            if self._pids.setdefault(name, pids[0]) != pids[0]:
                self.restarted.append(f"{name} has ended and was started again")
                self._pids[name] = pids[0]

    async def minute(self) -> list[Minute]:
        """Return what each process had since the last call."""
        self.look()
        now = self.clock()
        told = await self._tell()
        minutes = [self._sum_up(name, uses, now, told.get(name, Counted())) for name, uses in self._seen.items()]
        self._seen, self.last_span, self.last = {}, now - self.last, now
        return minutes

    def _sum_up(self, name: str, uses: list[Use], now: float, told: Counted) -> Minute:
        before, cpu = self._before.get(name, Counted()), uses[-1].cpu_seconds
        used = cpu - self._cpu.get(name, uses[0].cpu_seconds)
        self._before[name], self._cpu[name] = told, cpu
        point = Point(
            (now - self.began) / 60,
            statistics.median(use.rss for use in uses),
            min(use.files for use in uses),
            min(use.threads for use in uses),
        )
        return Minute(
            name,
            point,
            statistics.median(use.anonymous for use in uses),
            used / max(now - self.last, 0.001),
            told.full_collections - before.full_collections,
            (told.full_collection_seconds - before.full_collection_seconds) * 1000,
            told.runs - before.runs,
            told.held,
        )

    async def _tell(self) -> dict[str, Counted]:
        told = {}
        async with httpx.AsyncClient(timeout=30) as client:
            for name, url in self.metrics.items():
                told[name] = counted((await client.get(url)).raise_for_status().text) or Counted()
        return told
