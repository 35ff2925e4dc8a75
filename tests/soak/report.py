"""The lines that a person reads while a soak goes on."""

from typing import Any

from .watching import Minute

COLUMNS = "{:>6} {:<10} {:>7} {:>6} {:>7} {:>5} {:>4} {:>6} {:>7} {:>8}   {:<}"
HEAD = COLUMNS.format(
    "minute", "process", "RSS MB", "files", "threads", "CPU", "GCs", "GC ms", "logs MB", "cache MB", "load"
)


def line(minute: Minute, runs: float, load: dict[str, Any] | None) -> str:
    """Return the line of one process; the first one of a minute also tells of the load."""
    point, text = minute.point, ""
    if load is not None:
        p95 = "-" if load["p95"] is None else f"{load['p95']:.0f} ms"
        text = (
            f"{load['visits'] / load['seconds']:.1f} visits/s, {runs / load['seconds']:.1f} runs/s, "
            f"wait p95 {p95}, {load['errors']} errors"
        )
    return COLUMNS.format(
        f"{point.minute:.1f}" if load is not None else "",
        minute.process,
        f"{point.rss:.1f}",
        point.files,
        point.threads,
        f"{minute.cpu_share:.0%}",
        f"{minute.full_collections:.0f}",
        f"{minute.full_collection_ms:.0f}",
        *(_megabytes(minute.held.get(name)) for name in ("event_log_bytes", "state_cache_bytes")),
        text,
    ).rstrip()


def _megabytes(held: float | None) -> str:
    return "-" if held is None else f"{held / 1e6:.1f}"
