"""The tables of the benchmark."""

from typing import Any

from .__main__ import ALL_ROWS
from .measures import PERCENTILES, spread
from .report import IN_PROCESS, OURS, THEIRS, Results, notes, speed_table, tables, with_notes
from .rows_of import Line
from .startup import LINES

WIDEST = 140


def full_results() -> Results:
    """Every line and row has all figures there are, and large ones."""
    results = Results()
    for who in (OURS, THEIRS, IN_PROCESS):
        for row in ALL_ROWS:
            results.add(who, row.name, {"client_busy": 1.0, "rss": 2140.4, "rss_peak": 2233.0})
            results.add(who, row.name, {"full_collections": 1234, "full_collection_ms": 12345.0})
            for line in row.lines:
                figures = {f"{line.key}.{name}": 12345.6 for name in PERCENTILES}
                results.add(who, row.name, {line.key: 31500.0, **figures})
        for line in LINES:
            results.add(who, "startup", {line.key: 1.5})
    return results


def test_no_line_is_too_wide_to_read():
    results = full_results()
    lines: list[dict[str, Any]] = [results.line(row.name, line) for row in ALL_ROWS for line in row.lines]
    lines += [results.line("startup", line) for line in LINES]

    printed = with_notes(tables([{**line, "to_last": 12.34, "worse": True} for line in lines]))

    assert [line for line in printed.splitlines() if len(line) > WIDEST] == []
    assert "WORSE" in printed


def test_columns_without_figures_are_left_out():
    results = Results()
    results.add(OURS, "wait_one", {"wait_one": 2.0, **spread("wait_one", [0.001, 0.002, 0.003])})
    line = results.line("wait_one", Line("wait_one", "stateless wait", "ms", 5))

    head, _, row = speed_table([line]).splitlines()

    assert head.split() == ["work", "unit", "target", "ours", "p50", "p95", "p99"]
    assert row.split() == ["stateless", "wait", "ms", "<", "5", "2.00", "ok", "2.00", "3.00", "3.00"]


def test_notes_tell_of_the_columns_that_are_shown():
    results = Results()
    results.add(OURS, "wait_one", {"wait_one": 2.0, **spread("wait_one", [0.001]), "rss": 150.0})
    line = results.line("wait_one", Line("wait_one", "stateless wait", "ms", 5))

    assert [text.split(":")[0] for text in notes(tables([line]))] == ["p50, p95, p99", "RSS, peak"]
    compared = notes(tables([{**line, "to_last": 1.5}]))
    assert [text.split(":")[0] for text in compared] == ["p50, p95, p99", "to last", "RSS, peak"]


def test_figures_of_several_rounds_become_one():
    results = Results()
    for rss, peak, collections in ((200.0, 250.0, 2), (210.0, 300.0, 0), (190.0, 220.0, 1)):
        metrics = {"rss": rss, "rss_peak": peak, "full_collections": collections, "client_busy": peak / 1000}
        results.add(OURS, "tokens", {**metrics, "tokens": rss})

    line = results.line("tokens", Line("tokens", "tokens", "/s", higher=True))

    # Memory after the last round, at most in any, and all collections.
    assert (line["rss"][OURS], line["rss_peak"][OURS], line["full_collections"][OURS]) == (190, 300, 3)
    assert (line["client_busy"][OURS], line["ours"]) == (0.25, 200)


def test_missed_target_of_a_rate_and_of_a_time():
    results = Results()
    results.add(OURS, "row", {"rate": 99.0, "time": 101.0})

    rate = results.line("row", Line("rate", "a rate", "/s", 100, higher=True))
    time = results.line("row", Line("time", "a time", "ms", 100))

    assert (rate["reached"], time["reached"]) == (False, False)
