"""The verdict on a soak: does any process grow? Growth is the slope of a robust line, so no single peak decides."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

# Caches fill and pools open in the beginning: the first third is not looked at, and at least so many minutes are not.
LEFT_OUT = 1 / 3
LEAST_LEFT_OUT = 15.0
# In less time nobody can tell growth from a process that still warms up.
LEAST_MINUTES = 30.0
# In still less, growth an hour is a number without a meaning.
LEAST_SHOWN_MINUTES = 5.0
MOST_ERRORS = 20
# Pages of PostgreSQL's shared buffers count as its processes' memory when they are first touched.
NOT_JUDGED = ("postgres",)


@dataclass(frozen=True)
class Point:
    """One process in one minute: memory in MB is the median of the minute, files and threads are the fewest."""

    minute: float
    rss: float
    files: int
    threads: int


@dataclass(frozen=True)
class Bounds:
    """The most that a process may grow in an hour: MB, or a share of what it has if that is more."""

    rss: float = 10.0
    rss_share: float = 0.05
    files: float = 12.0
    threads: float = 6.0

    def of(self, figure: str, points: Sequence[Point]) -> float:
        if figure != "rss":
            return float(getattr(self, figure))
        return max(self.rss, self.rss_share * statistics.median(point.rss for point in points))


@dataclass(frozen=True)
class Growth:
    """How much of something a process gains in an hour, and the most that it may. The bound is None if none applies."""

    process: str
    figure: str
    per_hour: float
    bound: float | None

    @property
    def too_much(self) -> bool:
        return self.bound is not None and self.per_hour > self.bound


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes between all pairs of points (Theil and Sen); 0 for fewer than two."""
    slopes = [(b - a) / (later - earlier) for (earlier, a), (later, b) in combinations(points, 2) if later != earlier]
    return statistics.median(slopes) if slopes else 0.0


def left_out(minutes: float) -> float:
    """Return the first minutes of so many that are not looked at."""
    return max(minutes * LEFT_OUT, LEAST_LEFT_OUT if minutes >= LEAST_MINUTES else 0.0)


def growths(series: dict[str, list[Point]], minutes: float, bounds: Bounds | None = None) -> list[Growth]:
    """Return the growth of each process over so many minutes without the first ones."""
    bounds, found = bounds or Bounds(), list[Growth]()
    for process, points in series.items():
        looked_at = [point for point in points if point.minute > left_out(minutes)]
        if not looked_at:
            continue
        judged = minutes >= LEAST_MINUTES and process not in NOT_JUDGED
        for figure in ("rss", "files", "threads"):
            per_hour = slope([(point.minute, float(getattr(point, figure))) for point in looked_at]) * 60
            found.append(Growth(process, figure, per_hour, bounds.of(figure, looked_at) if judged else None))
    return found


def told(found: Sequence[Growth], minutes: float, errors: Sequence[str]) -> str:
    """Return the verdict as text: a line for each process of a soak that is long enough, the errors, and one word."""
    lines = _growth_lines(found, minutes) if minutes >= LEAST_SHOWN_MINUTES else []
    if minutes < LEAST_MINUTES:
        lines.append(f"Growth is not judged: that takes {LEAST_MINUTES:.0f} minutes.")
    lines += [f"error: {error}" for error in errors[:MOST_ERRORS]]
    if len(errors) > MOST_ERRORS:
        lines.append(f"and {len(errors) - MOST_ERRORS} other kinds of errors")
    grows = any(growth.too_much for growth in found)
    lines.append("FAILED" if errors or grows else "steady" if minutes >= LEAST_MINUTES else "no errors")
    return "\n".join(lines)


def _growth_lines(found: Sequence[Growth], minutes: float) -> list[str]:
    lines = [f"Growth an hour, by the last {minutes - left_out(minutes):.3g} of {minutes:.3g} minutes:"]
    for process in dict.fromkeys(growth.process for growth in found):
        of_it = [growth for growth in found if growth.process == process]
        figures = ", ".join(_figure(growth) for growth in of_it)
        lines.append(f"  {process:<10} {figures}{'  GROWS' if any(growth.too_much for growth in of_it) else ''}")
    return lines


def _figure(growth: Growth) -> str:
    names = {"rss": "RSS", "files": "open files", "threads": "threads"}
    unit = " MB" if growth.figure == "rss" else ""
    bound = "" if growth.bound is None else f" (at most {growth.bound:.0f})"
    return f"{names[growth.figure]} {growth.per_hour:+.1f}{unit}{bound}"
