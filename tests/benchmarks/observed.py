"""What a measurement does to the server: memory after it and its peak, full garbage collections meanwhile."""

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from . import processes
from .measures import Metrics
from .servers import Server

# Gauges without their prefix. That of Redis is the same from every process.
HELD = ("event_log_bytes", "state_cache_bytes", "redis_streams_bytes")


@dataclass(frozen=True)
class Counted:
    """What a process tells of itself in /metrics."""

    runs: float = 0
    full_collections: float = 0
    full_collection_seconds: float = 0
    # Bytes by what holds them: the names in HELD.
    held: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(
            self.runs + other.runs,
            self.full_collections + other.full_collections,
            self.full_collection_seconds + other.full_collection_seconds,
            {name: self.held.get(name, 0) + other.held.get(name, 0) for name in {**self.held, **other.held}},
        )


def counted(text: str) -> Counted | None:
    """Read the text of /metrics. Return None if it is not of this project's server."""
    values: dict[str, float] = {}
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError:
        # Another server may answer anything there.
        return None
    for sample in samples:
        if sample.name.startswith("switchyard_"):
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
    if "switchyard_full_collections_total" not in values:
        return None
    held = {name: values.get(f"switchyard_{name}", math.nan) for name in HELD}
    return Counted(
        values.get("switchyard_runs_finished_total", 0.0),
        values["switchyard_full_collections_total"],
        values.get("switchyard_full_collection_seconds_total", 0.0),
        # NaN is what the server does not have, or does not know.
        {name: value for name, value in held.items() if not math.isnan(value)},
    )


async def tell(server: Server) -> Counted | None:
    """Return the sum over the server's processes, None if it does not tell."""
    address = server.address
    urls = [f"http://{address.host}:{port}/metrics" for port in (address.port, *server.metrics_ports)]
    try:
        async with httpx.AsyncClient(timeout=30, headers=list(address.headers)) as client:
            answers = await asyncio.gather(*(client.get(url) for url in urls))
    except httpx.HTTPError:
        # Another server may not have it at all.
        return None
    if any(answer.status_code != 200 for answer in answers):
        return None
    found = [counted(answer.text) for answer in answers]
    return sum((each for each in found if each is not None), Counted()) if None not in found else None


async def observe(server: Server, work: Awaitable[Metrics]) -> Metrics:
    """Take the measurement, and add what it did to the server."""
    before = await tell(server)
    peaks = server.pid is not None and processes.forget_peaks(server.pid)
    metrics = dict(await work)
    if server.pid is not None:
        metrics["rss"] = processes.resident(server.pid)
        if peaks:
            metrics["rss_peak"] = processes.peak(server.pid)
    after = await tell(server)
    if before is not None and after is not None:
        metrics["full_collections"] = after.full_collections - before.full_collections
        seconds = after.full_collection_seconds - before.full_collection_seconds
        metrics["full_collection_ms"] = seconds * 1000
    return metrics
