"""Charts as data for SVG: geometry in attributes, so that the content security policy stays strict."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 400.0, 76.0
# Room above the highest value.
HEADROOM = 0.12


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    kind: str


def _top(values: Sequence[float]) -> float:
    return max(values, default=0) * (1 + HEADROOM) or 1.0


def line(values: Sequence[float | None], top: float | None = None) -> str:
    """The path of a line over the full width; moments without a value interrupt it, a lone value is a short dash."""
    scale = top or _top([value for value in values if value is not None])
    step = WIDTH / max(1, len(values) - 1)
    path, pen_down = [], False
    for index, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        x, y = index * step, HEIGHT - HEIGHT * value / scale
        alone = not pen_down and (index + 1 == len(values) or values[index + 1] is None)
        if alone:
            path.append(f"M{max(0.0, x - 1.5):.1f} {y:.1f}H{min(WIDTH, x + 1.5):.1f}")
        else:
            path.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}")
        pen_down = not alone
    return "".join(path)


def area(values: Sequence[float]) -> str:
    return f"{line(values)}V{HEIGHT:.0f}H0Z"


def shared_top(*series: Sequence[float | None]) -> float:
    return _top([value for values in series for value in values if value is not None])


def stacked(lower: Sequence[float], upper: Sequence[float]) -> list[Bar]:
    """Two values a moment, one upon the other."""
    top = _top([a + b for a, b in zip(lower, upper, strict=True)])
    slot = WIDTH / max(1, len(lower))
    bars = []
    for index, (low, high) in enumerate(zip(lower, upper, strict=True)):
        x, width = index * slot + slot * 0.14, slot * 0.72
        low_height, high_height = HEIGHT * low / top, HEIGHT * high / top
        if low:
            bars.append(Bar(x, HEIGHT - low_height, width, low_height, "c-bar"))
        if high:
            bars.append(Bar(x, HEIGHT - low_height - high_height, width, high_height, "c-bar-2"))
    return bars


def spark(runs: Sequence[int], errors: Sequence[int], bars: int = 23) -> list[Bar]:
    """A small chart of 92 x 22: runs, and on each bar's foot the failed ones."""
    size = -(-len(runs) // bars)
    groups = [
        (sum(runs[start : start + size]), sum(errors[start : start + size])) for start in range(0, len(runs), size)
    ]
    top = max((count for count, _ in groups), default=0) or 1
    slot = 92 / len(groups)
    found = []
    for index, (count, bad) in enumerate(groups):
        for value, kind in ((count, "c-bar-2"), (bad, "c-bar-bad")):
            if value:
                height = max(1.5, 20.0 * value / top)
                found.append(Bar(index * slot, 22 - height, slot * 0.75, height, kind))
    return found


def axis(begin: datetime, end: datetime) -> list[str]:
    """Five words under a chart, the last one `now`."""
    length = end - begin
    form = "%a %H:%M" if length > timedelta(days=1) else "%H:%M"
    return [*(f"{begin + length * quarter / 4:{form}}" for quarter in range(4)), "now"]
