"""The results as a table for people and as JSON for programs."""

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from .measures import Metrics
from .rows_of import Line

OURS, THEIRS, IN_PROCESS = "ours", "theirs", "in-process"


@dataclass
class Results:
    """All samples by who was measured and the line they belong to, and the rows that failed."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    busy: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    own_cost: Metrics = field(default_factory=dict)

    def add(self, who: str, row: str, metrics: Metrics) -> None:
        for key, value in metrics.items():
            if key == "client_busy":
                self.busy.setdefault((who, row), []).append(value)
            elif not math.isnan(value):
                self.samples.setdefault((who, key), []).append(value)

    def median(self, who: str, key: str) -> float | None:
        values = self.samples.get((who, key))
        return statistics.median(values) if values else None

    def line(self, row: str, line: Line) -> dict[str, Any]:
        """One line with every figure that a reader may want; None where there is none."""
        ours, theirs, limit = (self.median(who, line.key) for who in (OURS, THEIRS, IN_PROCESS))
        busy = self.busy.get((OURS, row))
        return {
            "row": row,
            "key": line.key,
            "title": line.title,
            "unit": line.unit,
            "target": line.target,
            "higher_is_better": line.higher,
            "ours": ours,
            "reached": reached(line, ours),
            "theirs": theirs,
            "better_by": better_by(line, ours, theirs),
            "in_process": limit,
            "of_in_process": better_by(line, ours, limit),
            "client_busy": statistics.median(busy) if busy else None,
            "samples": {who: self.samples.get((who, line.key), []) for who in (OURS, THEIRS, IN_PROCESS)},
        }


def reached(line: Line, value: float | None) -> bool | None:
    if line.target is None or value is None:
        return None
    return value >= line.target if line.higher else value <= line.target


def better_by(line: Line, ours: float | None, other: float | None) -> float | None:
    """The ratio of the medians, turned so that more than 1 is in our favour."""
    if not ours or not other:
        return None
    return ours / other if line.higher else other / ours


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


HEAD = ("work", "unit", "target", OURS, "", THEIRS, "better by", IN_PROCESS, "of it", "client busy")


def table(lines: list[dict[str, Any]]) -> str:
    """Aligned columns: text to the left, figures to the right."""
    rows = [HEAD]
    for line in lines:
        busy, mark = line["client_busy"], {True: "ok", False: "MISSED", None: ""}[line["reached"]]
        sign = ">" if line["higher_is_better"] else "<"
        rows.append(
            (
                line["title"],
                line["unit"],
                "" if line["target"] is None else f"{sign} {line['target']:,g}",
                number(line["ours"]),
                mark,
                number(line["theirs"]),
                "-" if line["better_by"] is None else f"{line['better_by']:.2f}x",
                number(line["in_process"]),
                "-" if line["of_in_process"] is None else f"{line['of_in_process']:.0%}",
                "-" if busy is None else f"{busy:.0%}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    text = [
        "  ".join(
            cell.ljust(width) if column in (0, 1, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])


NOTES = """\
better by: ratio of the medians; more than 1x is in our favour.
in-process: the same graph through ainvoke or astream with no server (in memory where the run is stateless, else with
LangGraph's own SQLite saver); of it: how much of that the server leaves.
client busy: share of one core that this program itself used; near 100% the client is the limit, not the server."""


def own_cost(metrics: Metrics) -> str:
    return (
        f"client alone, against a stub that answers constant bytes: {metrics['one_ms']:.3f} ms a request at c=1, "
        f"{metrics['rate']:,.0f} requests/s at c=32 ({metrics['microseconds']:.0f} us of its CPU each), "
        f"{metrics['events']:,.0f} events/s read"
    )
