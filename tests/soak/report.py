"""The lines that a person reads while a soak goes on."""

from typing import Any

from .watching import Minute

COLUMNS = "{:>6} {:<10} {:>7} {:>6} {:>7} {:>5} {:>8} {:>7} {:>8}   {:<}"
HEAD = COLUMNS.format("minute", "process", "RSS MB", "files", "threads", "CPU", "full GCs", "GC ms", "held MB", "load")


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
        f"{sum(minute.held.values()) / 1e6:.1f}" if minute.held else "-",
        text,
    ).rstrip()
