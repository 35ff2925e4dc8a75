"""The results as tables for people and as JSON for programs."""

import math
import re
import statistics
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .measures import PERCENTILES, Metrics
from .rows_of import Line

OURS, THEIRS, IN_PROCESS = "ours", "theirs", "in-process"
# Figures of a whole measurement, beside those of its lines, and how those of several rounds become one.
OF_ROWS: dict[str, Callable[[Sequence[float]], float]] = {
    "client_busy": statistics.median,
    "rss": lambda values: values[-1],
    "rss_peak": max,
    "full_collections": sum,
    "full_collection_ms": sum,
}


@dataclass
class Results:
    """All samples by who was measured and the line (or row) they belong to, and the rows that failed."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    of_rows: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    own_cost: Metrics = field(default_factory=dict)

    def add(self, who: str, row: str, metrics: Metrics) -> None:
        for key, value in metrics.items():
            if key in OF_ROWS:
                self.of_rows.setdefault((who, row, key), []).append(value)
            elif not math.isnan(value):
                self.samples.setdefault((who, key), []).append(value)

    def median(self, who: str, key: str) -> float | None:
        values = self.samples.get((who, key))
        return statistics.median(values) if values else None

    def of_row(self, who: str, row: str, figure: str) -> float | None:
        values = self.of_rows.get((who, row, figure))
        return OF_ROWS[figure](values) if values else None

    def line(self, row: str, line: Line) -> dict[str, Any]:
        """One line with every figure that a reader may want; None where there is none."""
        ours, theirs, limit = (self.median(who, line.key) for who in (OURS, THEIRS, IN_PROCESS))
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
            "percentiles": {
                who: {name: self.median(who, f"{line.key}.{name}") for name in PERCENTILES} for who in (OURS, THEIRS)
            },
            **{figure: {who: self.of_row(who, row, figure) for who in (OURS, THEIRS)} for figure in OF_ROWS},
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


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> str:
    """Lay out columns: those named in `left` and those without a name to the left, figures to the right. Columns
    without any figure are left out."""
    kept = [place for place in range(len(head)) if place == 0 or any(row[place] not in ("", "-") for row in rows)]
    cells = [[row[place] for place in kept] for row in (head, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(kept))]
    text = [
        "  ".join(
            cell.ljust(width) if name in left or not name else cell.rjust(width)
            for name, cell, width in zip(cells[0], row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:]])


SPEED = ("work", "unit", "target", OURS, "", "p50", "p95", "p99", "to last", "", THEIRS, "p95", "better")
AROUND = ("row", "RSS", "peak", "GCs", "GC ms", "their RSS", "peak", "client", "work", IN_PROCESS, "of it")


def speed_table(lines: Sequence[dict[str, Any]]) -> str:
    """Every line with its target, its percentiles and what it is compared with."""
    rows = []
    for line in lines:
        sign, percentiles = ">" if line["higher_is_better"] else "<", line["percentiles"]
        rows.append(
            (
                line["title"],
                line["unit"],
                "" if line["target"] is None else f"{sign} {line['target']:,g}",
                number(line["ours"]),
                {True: "ok", False: "MISSED", None: ""}[line["reached"]],
                *(number(percentiles[OURS][name]) for name in PERCENTILES),
                times(line.get("to_last")),
                "WORSE" if line.get("worse") else "",
                number(line["theirs"]),
                number(percentiles[THEIRS]["p95"]),
                times(line["better_by"]),
            )
        )
    return aligned(SPEED, rows, ("work", "unit"))


def around_table(lines: Sequence[dict[str, Any]]) -> str:
    """What each row did to the servers and to this program, and the lines that were measured with no server, too."""
    rows, seen = [], set[str]()
    for line in lines:
        first = line["row"] not in seen
        seen.add(line["row"])
        nothing = all(line[figure][who] is None for figure in OF_ROWS for who in (OURS, THEIRS))
        if line["in_process"] is None and (nothing or not first):
            continue
        of_row = [
            number(line["rss"][OURS]),
            number(line["rss_peak"][OURS]),
            *(_whole(line[figure][OURS]) for figure in ("full_collections", "full_collection_ms")),
            number(line["rss"][THEIRS]),
            number(line["rss_peak"][THEIRS]),
            share(line["client_busy"][OURS]),
        ]
        work = "" if line["in_process"] is None else line["title"].strip()
        rows.append(
            (
                line["row"] if first else "",
                *(of_row if first else [""] * len(of_row)),
                work,
                number(line["in_process"]),
                share(line["of_in_process"]),
            )
        )
    return aligned(AROUND, rows, ("row", "work"))


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def tables(lines: Sequence[dict[str, Any]]) -> str:
    return f"{speed_table(lines)}\n\n{around_table(lines)}"


# What columns mean, under one of these columns: it is told where that column is shown.
NOTES = {
    "p50": "p50, p95, p99: latencies in ms, the median over rounds. Of a rate: of one request; of streams: of a whole "
    "one; of a queue: until that share of its runs was over.",
    "to last": "to last: ratio to this machine's last stored run; more than 1x is better now. WORSE: by more than "
    "noise, which is the distance between best and worst round by the median, of the run with the larger one (at least "
    "5 %; 20 % for one round).",
    "better": "better: ratio of the medians; more than 1x is in our favour.",
    "RSS": "RSS, peak: MB (10^6 bytes) of the server after the row and at most during it. Of several processes it is "
    "PSS (shared pages count once) and has no peak.",
    "GCs": "GCs, GC ms: full garbage collections of all rounds, by the server's /metrics.",
    IN_PROCESS: "in-process: the same graph through ainvoke or astream with no server (in memory where the run is "
    "stateless, else with LangGraph's own SQLite saver); of it: how much of that the server leaves.",
    "client": "client: share of one core that this program itself used; near 100% the client is the limit, not the "
    "server.",
}


def notes(printed: str) -> list[str]:
    """Return a note on each column that the printed tables show."""
    heads = [table.splitlines()[0] for table in printed.split("\n\n")]
    return [text for column, text in NOTES.items() if any(re.search(rf"\b{column}\b", head) for head in heads)]


def with_notes(printed: str) -> str:
    """Return the printed tables and below them what their columns mean."""
    return "\n\n".join([printed, "\n".join(textwrap.fill(text, 120) for text in notes(printed))])


def own_cost(metrics: Metrics) -> str:
    return (
        f"client alone, against a stub that answers constant bytes: {metrics['one_ms']:.3f} ms a request at c=1, "
        f"{metrics['rate']:,.0f} requests/s at c=32 ({metrics['microseconds']:.0f} us of its CPU each), "
        f"{metrics['events']:,.0f} events/s read"
    )
