"""The verdict on a soak, from made-up series."""

import pytest

from .verdict import LEAST_MINUTES, Growth, Point, growths, slope, told


def minutes(*, rss: float = 0.0, files: float = 0.0, threads: float = 0.0, count: int = 60) -> list[Point]:
    """A process of 200 MB, 50 files and 10 threads that gains so much an hour."""
    return [
        Point(minute, 200 + rss * minute / 60, round(50 + files * minute / 60), round(10 + threads * minute / 60))
        for minute in range(1, count + 1)
    ]


def judged(points: list[Point], process: str = "server", lasted: float = 60) -> dict[str, Growth]:
    return {growth.figure: growth for growth in growths({process: points}, lasted)}


def test_slope_of_a_line():
    assert slope([(0, 1), (1, 3), (2, 5), (4, 9)]) == 2


@pytest.mark.parametrize("points", [[], [(1.0, 5.0)], [(1.0, 5.0), (1.0, 9.0)]])
def test_slope_of_too_few_points_is_none(points: list[tuple[float, float]]):
    assert slope(points) == 0


def test_flat_process_does_not_grow():
    found = judged(minutes())

    assert {figure: growth.per_hour for figure, growth in found.items()} == {"rss": 0, "files": 0, "threads": 0}
    assert not any(growth.too_much for growth in found.values())


def test_growth_is_told_for_an_hour():
    assert judged(minutes(rss=30))["rss"].per_hour == pytest.approx(30)


@pytest.mark.parametrize(
    ("points", "figure"), [(minutes(rss=30), "rss"), (minutes(files=60), "files"), (minutes(threads=12), "threads")]
)
def test_growth_beyond_its_bound_is_too_much(points: list[Point], figure: str):
    found = judged(points)

    assert {name for name, growth in found.items() if growth.too_much} == {figure}


def test_bound_of_memory_is_a_share_of_what_a_large_process_has():
    large = [Point(point.minute, point.rss + 1800, point.files, point.threads) for point in minutes(rss=30)]

    assert judged(large)["rss"].bound == pytest.approx(100, rel=0.02)
    assert not judged(large)["rss"].too_much


def test_what_comes_in_the_first_third_does_not_count():
    warming_up = [
        Point(point.minute, point.rss - max(0, 20 - point.minute) * 5, point.files, point.threads)
        for point in minutes()
    ]

    assert judged(warming_up)["rss"].per_hour == 0


def test_short_soak_that_is_judged_leaves_out_a_quarter_of_an_hour():
    warming_up = [
        Point(point.minute, point.rss - max(0, 15 - point.minute) * 5, point.files, point.threads)
        for point in minutes(count=30)
    ]

    assert judged(warming_up, lasted=30)["rss"].per_hour == 0


def test_peaks_do_not_decide():
    with_peaks = [
        Point(point.minute, point.rss + (500 if point.minute in (40, 58, 59, 60) else 0), point.files, point.threads)
        for point in minutes()
    ]

    assert judged(with_peaks)["rss"].per_hour == 0


def test_memory_that_falls_is_no_growth():
    found = judged(minutes(rss=-60))

    assert found["rss"].per_hour == pytest.approx(-60)
    assert not found["rss"].too_much


def test_short_soak_shows_growth_and_does_not_judge_it():
    found = judged(minutes(rss=600, count=5), lasted=5)["rss"]

    assert found.per_hour == pytest.approx(600)
    assert not found.too_much
    assert f"takes {LEAST_MINUTES:.0f} minutes" in told([found], 5, [])


def test_soak_of_a_few_minutes_tells_no_growth_an_hour():
    """Two points that differ by a warm-up would be a gigabyte an hour."""
    text = told([judged(minutes(rss=600, count=3), lasted=3)["rss"]], 3, [])

    assert "MB" not in text
    assert text.splitlines()[-1] == "no errors"


def test_memory_of_postgresql_is_shown_and_not_judged():
    found = judged(minutes(rss=600), "postgres")["rss"]

    assert found.per_hour == pytest.approx(600)
    assert not found.too_much


def test_verdict_names_the_process_that_grows():
    found = growths({"web": minutes(), "worker-1": minutes(files=60)}, 60)

    lines = told(found, 60, []).splitlines()

    assert [line.split()[0] for line in lines if line.endswith("GROWS")] == ["worker-1"]
    assert lines[-1] == "FAILED"


def test_verdict_on_a_steady_server():
    assert told(growths({"server": minutes()}, 60), 60, []).splitlines()[-1] == "steady"


def test_errors_fail_a_steady_server():
    text = told(growths({"server": minutes()}, 60), 60, [f"error {number}" for number in range(25)])

    assert "error: error 0" in text
    assert "and 5 other kinds of errors" in text
    assert text.splitlines()[-1] == "FAILED"
