"""Ways to put load on a server and what they give: rates, latencies, CPU per operation."""

import asyncio
import itertools
import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

from .client import Answer, BadAnswer, Connection, connections
from .servers import Server

Metrics = dict[str, float]
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(key: str, seconds: Sequence[float]) -> Metrics:
    """Return the percentiles of these latencies in milliseconds, as figures that belong to the line `key`."""
    return {f"{key}.{name}": percentile(seconds, share) * 1000 for name, share in PERCENTILES.items()}


@dataclass
class Load:
    """What a stretch of load came to. `client_busy` is the share of one core that this program used itself."""

    operations: int
    seconds: float
    latencies: list[float]
    server_cpu: float | None
    client_busy: float

    @property
    def rate(self) -> float:
        return self.operations / self.seconds

    @property
    def median_ms(self) -> float:
        return statistics.median(self.latencies) * 1000

    def figures(self, key: str) -> Metrics:
        """Return the percentiles for the line `key`, and how busy this program was."""
        return {**spread(key, self.latencies), "client_busy": self.client_busy}

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU that the server used for one operation; NaN where its process is not to be seen."""
        return float("nan") if self.server_cpu is None else self.server_cpu * 1000 / self.operations


async def repeat(server: Server, concurrency: int, seconds: float, request: Callable[[int, int], bytes]) -> Load:
    """For `seconds` each of `concurrency` clients sends `request(client, n)` and waits for the answer, again and again.
    The clock stops when the last answer is in, so that slow servers are not flattered."""
    async with connections(server.address, concurrency) as opened:
        await asyncio.gather(*(warm(connection, request(client, 0)) for client, connection in enumerate(opened[:8])))
        numbers = itertools.count(1)
        latencies: list[float] = []
        cpu, own, began = server.cpu_seconds(), process_time(), perf_counter()
        end = began + seconds

        async def run(client: int, connection: Connection) -> None:
            while (sent := perf_counter()) < end:
                (await connection.send(request(client, next(numbers)))).check()
                latencies.append(perf_counter() - sent)

        await asyncio.gather(*(run(client, connection) for client, connection in enumerate(opened)))
        took = perf_counter() - began
        after = server.cpu_seconds()
        used = None if cpu is None or after is None else after - cpu
        return Load(len(latencies), took, latencies, used, (process_time() - own) / took)


async def warm(connection: Connection, request: bytes) -> None:
    (await connection.send(request)).check()


@dataclass
class Crowd:
    """What requests came to that were all sent at the same time. `seconds` go until the last answer."""

    seconds: float
    latencies: list[float]
    client_busy: float

    def figures(self, key: str) -> Metrics:
        return {key: self.seconds, **spread(key, self.latencies), "client_busy": self.client_busy}


async def at_once(server: Server, count: int, request: bytes) -> Crowd:
    """`count` clients send the same request at the same time."""
    async with connections(server.address, count) as opened:
        own, began = process_time(), perf_counter()
        answers = await asyncio.gather(*(timed(connection.send(request)) for connection in opened))
        took = perf_counter() - began
        for answer, _ in answers:
            answer.check()
        return Crowd(took, [seconds for _, seconds in answers], (process_time() - own) / took)


async def timed(work: Awaitable[Answer]) -> tuple[Answer, float]:
    """Return the answer and the seconds it took."""
    began = perf_counter()
    return await work, perf_counter() - began


@dataclass
class Streams:
    """What streams came to that were read at the same time. A latency is the whole of one stream."""

    events: int
    seconds: float
    latencies: list[float]
    server_cpu: float | None
    client_busy: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    def figures(self, key: str) -> Metrics:
        """Return rate, cost and percentiles for the line `key`, and how busy this program was."""
        cpu = {f"{key}_cpu": self.cpu_us}
        return {key: self.rate, **cpu, **spread(key, self.latencies), "client_busy": self.client_busy}

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU that the server used for one event."""
        return float("nan") if self.server_cpu is None else self.server_cpu * 1e6 / self.events


async def read_streams(server: Server, request: bytes, mark: bytes, count: int, expected: int) -> Streams:
    """`count` streams at once, each read to its end; every one must bring at least `expected` marked events."""
    async with connections(server.address, count) as opened:
        cpu, own, began = server.cpu_seconds(), process_time(), perf_counter()
        read = await asyncio.gather(*(timed(connection.send(request, mark)) for connection in opened))
        took = perf_counter() - began
        busy = (process_time() - own) / took
        after = server.cpu_seconds()
    used = None if cpu is None or after is None else after - cpu
    for answer, _ in read:
        require_events(answer, expected)
    return Streams(sum(answer.count for answer, _ in read), took, [seconds for _, seconds in read], used, busy)


def require_events(answer: Answer, expected: int) -> None:
    answer.check()
    if answer.count < expected:
        raise BadAnswer(f"a stream ended after {answer.count} of {expected} events")


async def first_mark(connection: Connection, request: bytes, mark: bytes) -> float:
    """Seconds from sending the request to the first marked event; the stream is read to its end."""
    began = perf_counter()
    answer = await connection.send(request, mark)
    require_events(answer, 1)
    assert answer.marked_at is not None
    return answer.marked_at - began
