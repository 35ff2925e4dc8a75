"""How pages write numbers, times and ids."""

from datetime import datetime, tzinfo
from typing import Any

from django.utils import timezone

NONE = "–"
TOO_DEEP = "It is nested too deep to be stored."


def number(value: float | None) -> str:
    """`4,812`; an en dash for nothing."""
    return NONE if value is None else f"{value:,.0f}"


def compact(value: float) -> tuple[str, str]:
    """A large number as figure and unit: `("8.61", "M")`, `("4,812", "")`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f}", unit
    return f"{value:,.0f}", ""


def percent(part: float, whole: float) -> str:
    return NONE if not whole else f"{100 * part / whole:.1f} %"


def took(seconds: float | None) -> str:
    """A span of time: `0.6 ms`, `0.31 s`, `18.7 s`, `3 min 2 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return NONE
    seconds = max(0.0, seconds)
    if seconds < 0.00005:
        return "0 s"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def whole_took(seconds: float) -> str:
    """A span of time in whole seconds: `2 s`, `3 min 2 s`."""
    return took(round(seconds)) if round(seconds) >= 60 else f"{round(seconds)} s"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago: `now`, `12 s ago`, `6 min ago`, `3 h ago`, then the date."""
    if moment is None:
        return NONE
    seconds = ((now or timezone.now()) - moment).total_seconds()
    if seconds < -1:
        return f"in {whole_took(-seconds)}"
    if seconds < 1:
        return "now"
    if seconds < 60:
        return f"{int(seconds)} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    if seconds < 30 * 86400:
        return f"{int(seconds // 86400)} d ago"
    return f"{moment:%-d %b %Y}"


def local_time(moment: datetime, zone: tzinfo, seconds: bool = False, now: datetime | None = None) -> str:
    """What the clock of a zone shows: `Mon 23 Nov 08:30`, with `seconds` and year also where they tell something."""
    there, today = moment.astimezone(zone), (now or timezone.now()).astimezone(zone)
    year = f" {there:%Y}" if there.year != today.year else ""
    return (
        f"{there:%a %-d %b}{year} {there:%H:%M:%S}"
        if seconds or there.second
        else f"{there:%a %-d %b}{year} {there:%H:%M}"
    )


def size(count: int) -> str:
    """Bytes as people read them: `212 kB`, `8.3 GB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.{0 if count >= 10 * limit else 1}f} {unit}"
    return f"{count} B"


def short_id(value: Any) -> str:
    """The last eight characters of an id: the first ones of a version 7 UUID are the clock, alike for a minute."""
    return str(value)[-8:]


def initials(name: str) -> str:
    words = name.replace(".", " ").replace("_", " ").split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper() or "?"
