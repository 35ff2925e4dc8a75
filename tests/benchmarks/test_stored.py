"""The last run of a machine, and what counts as worse than it."""

from pathlib import Path
from typing import Any

import pytest

from .report import OURS, Results
from .rows_of import Line
from .stored import LastRun, cpu_model, machine, spread_of

RATE, TIME = Line("rate", "a rate", "/s", higher=True), Line("time", "a time", "ms")


def measured(line: Line, *rounds: float) -> dict[str, Any]:
    results = Results()
    for value in rounds:
        results.add(OURS, "row", {line.key: value, "rss": 150.0})
    return results.line("row", line)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "bench"


def stored(directory: Path, *lines: dict[str, Any]) -> LastRun:
    """Store the lines; return what the next run of this machine finds."""
    LastRun({"cores": 2}, directory).store(lines)
    return LastRun({"cores": 2}, directory)


def test_first_run_of_a_machine_has_nothing_to_compare_with(directory: Path):
    compared = LastRun({"cores": 2}, directory).compare(measured(RATE, 100))

    assert compared == {"last": None, "to_last": None, "noise": None, "worse": False}


def test_run_of_another_machine_is_not_compared(directory: Path):
    stored(directory, measured(RATE, 100))

    assert LastRun({"cores": 4}, directory).compare(measured(RATE, 10))["to_last"] is None


@pytest.mark.parametrize(
    ("line", "then", "now", "ratio"), [(RATE, 100.0, 150.0, 1.5), (TIME, 3.0, 2.0, 1.5), (TIME, 2.0, 4.0, 0.5)]
)
def test_ratio_above_one_is_better_for_rates_and_for_times(
    directory: Path, line: Line, then: float, now: float, ratio: float
):
    assert stored(directory, measured(line, then)).compare(measured(line, now))["to_last"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("then", "now", "worse"),
    [
        # Rounds that agree: the least noise is 5 %.
        ((100, 100, 100), (96, 96, 96), False),
        ((100, 100, 100), (94, 94, 94), True),
        # Rounds that lie apart, then or now: that much less may be chance.
        ((85, 100, 115), (80, 80, 80), False),
        ((100, 100, 100), (64, 80, 88), False),
        ((85, 100, 115), (70, 70, 70), True),
        # One round tells nothing of noise.
        ((100,), (85,), False),
        ((100,), (80,), True),
        # Better is never worse.
        ((100, 100, 100), (200, 200, 200), False),
    ],
)
def test_worse_is_what_noise_does_not_explain(
    directory: Path, then: tuple[float, ...], now: tuple[float, ...], worse: bool
):
    assert stored(directory, measured(RATE, *then)).compare(measured(RATE, *now))["worse"] is worse


def test_spread_is_the_distance_of_the_rounds_by_their_median():
    assert spread_of([90, 100, 120]) == pytest.approx(0.3)


def test_lines_that_were_not_measured_keep_what_they_had(directory: Path):
    stored(directory, measured(RATE, 100), measured(TIME, 3))

    found = stored(directory, measured(RATE, 200), measured(TIME))

    assert {key: line["median"] for key, line in found.lines.items()} == {"rate": 200, "time": 3}


def test_machine_is_told_by_cores_processor_python_and_mode(tmp_path: Path):
    information = tmp_path / "cpuinfo"
    information.write_text("processor\t: 0\nmodel name\t: A Processor 3000\nflags\t\t: fpu\n")

    assert cpu_model(information) == "A Processor 3000"
    assert machine(0, {}) | {"workers": 2, "database": "postgresql"} == machine(2, {})
    assert machine(0, {"DATABASE_URL": "postgres://"})["database"] == "postgresql"


def test_what_a_run_is_compared_with_is_told(directory: Path):
    first = LastRun({"cores": 2}, directory)
    assert first.told([measured(RATE, 100)]) == (
        "This machine has no stored run of these rows: there is nothing to compare with."
    )

    last = stored(directory, measured(RATE, 100), measured(TIME, 3))
    last.lines[RATE.key]["measured_at"] = "2026-11-29 10:00:00"
    last.lines[TIME.key]["measured_at"] = "2026-11-30 10:00:00"

    assert last.told([measured(RATE, 100)]).endswith("measured on 2026-11-29 10:00:00.")
    assert last.told([measured(RATE, 100), measured(TIME, 3)]).endswith(
        "measured on 2026-11-29 10:00:00 to 2026-11-30 10:00:00."
    )
