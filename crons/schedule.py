"""When a schedule is due: pure functions of an expression, a time zone and a moment.

What the clock of a zone does twice a year is decided here:
- A schedule that names hours (`30 2 * * *`, `0 */6 * * *`) is about times of day. A time that the clock jumps over in
  spring is due at the moment of the jump; one that the clock shows twice in autumn is due the first time only.
- A schedule of every hour (`*/5 * * * *`, `0 * * * *`) is about time that passes. It goes on through both changes: what
  the clock jumps over is left out, what it shows twice is due twice.
"""

import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from croniter import CroniterBadDateError, CroniterError, croniter
from croniter.croniter import HOUR_FIELD

# Longer than any list of all minutes, hours and days.
LONGEST = 500
_QUOTED = 100
_SECOND = timedelta(seconds=1)
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)
# Not zones of the IANA: what this machine is set to, and a placeholder.
_NO_ZONES = {"localtime", "Factory"}
_NO_CRON = (
    "Invalid cron schedule. Ensure the schedule uses the standard cron format (minute hour day_of_month month "
    "day_of_week). Example: '*/5 * * * *' for every 5 minutes."
)
# Croniter's own `h` and `r`: drawn anew whenever they are read.
_DRAWN = re.compile(r"[hr](\(|/|$)", re.IGNORECASE)


class ScheduleError(ValueError):
    """A schedule or a time zone that is none; the text is for the client."""


def _bad(expression: str, reason: object) -> ScheduleError:
    shown = expression if len(expression) <= _QUOTED else expression[:_QUOTED] + "…"
    return ScheduleError(f"Invalid cron schedule: '{shown}'. Reason: {reason}")


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() - _NO_ZONES)


def zone_of(name: str | None) -> zoneinfo.ZoneInfo:
    """The time zone of an IANA name, UTC for None. Raises `ScheduleError`."""
    if name is None:
        return zoneinfo.ZoneInfo("UTC")
    if name not in _zones():
        shown = name if len(name) <= _QUOTED else name[:_QUOTED] + "…"
        raise ScheduleError(f"Invalid timezone: '{shown}'. Use IANA timezone format (e.g. 'America/New_York').")
    return zoneinfo.ZoneInfo(name)


@dataclass(frozen=True)
class Schedule:
    """A valid expression in a time zone. It is due at whole seconds."""

    expression: str
    zone: zoneinfo.ZoneInfo
    # Whether it is about time that passes, not about times of day.
    is_elapsing: bool

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due time after `moment`, in UTC; None if there is none within fifty years."""
        return self._next_elapsing(moment) if self.is_elapsing else self._next_of_day(moment)

    def last_until(self, first: datetime, moment: datetime) -> datetime:
        """The last due time that is not after `moment`; `first` is a due time that is not."""
        low, high = first, moment
        while high - low >= _SECOND:
            middle = low + (high - low) / 2
            due = self.next_after(middle)
            if due is not None and due <= moment:
                low = due
            else:
                high = middle
        return low

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """What the clock on the wall shows at due times, ascending."""
        times = croniter(self.expression, after, ret_type=datetime)
        try:
            while True:
                yield times.get_next()
        except CroniterBadDateError:
            return

    def _wall(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _moments(self, wall: datetime) -> list[datetime]:
        """The moments at which the clock shows this: none, one or two."""
        both = [wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        return sorted({moment for moment in both if self._wall(moment) == wall})

    def _jump(self, low: datetime, high: datetime) -> datetime:
        """The moment between the two at which the offset of the zone changes."""
        before = low.astimezone(self.zone).utcoffset()
        while high - low > _SECOND:
            middle = low + (high - low) / 2
            if middle.astimezone(self.zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        return high.replace(microsecond=0)

    def _next_of_day(self, after: datetime) -> datetime | None:
        for wall in self._walls(self._wall(after)):
            if moments := self._moments(wall):
                due = moments[0]
            else:
                early, late = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (1, 0))
                due = self._jump(early, late)
            if due > after:
                return due
        return None

    def _next_elapsing(self, after: datetime) -> datetime | None:
        wall = self._wall(after)
        later = (moment for shown in self._walls(wall) for moment in self._moments(shown) if moment > after)
        forward = next(later, None)
        shown_at = self._moments(wall.replace(microsecond=0))
        if len(shown_at) < 2 or after >= shown_at[1]:
            return forward
        # The clock will be set back and show again what it has shown: the due times of that come before all others.
        back = self._jump(after, shown_at[1])
        if forward is not None and forward < back:
            return forward
        again = next(self._walls(self._wall(back) - _SECOND), None)
        repeated = self._moments(again)[-1:] if again is not None else []
        return min([*repeated, *([forward] if forward is not None else [])], default=None)


@lru_cache(maxsize=4096)
def parse(expression: str, timezone: str | None = None) -> Schedule:
    """The schedule of 5 fields, of 6 with the seconds last, or of a name like `@daily`.

    Raises `ScheduleError`, also for a schedule that is never due.
    """
    if len(expression) > LONGEST:
        raise _bad(expression, f"it has more than {LONGEST} characters")
    fields = expression.split()
    if len(fields) not in (5, 6) and not expression.startswith("@"):
        raise _bad(expression, _NO_CRON)
    if any(_DRAWN.match(field) for field in fields):
        raise _bad(expression, "`h` and `r`, values drawn at random, are not supported")
    zone = zone_of(timezone)
    try:
        parsed = croniter(expression)
    except (CroniterError, ValueError) as error:
        raise _bad(expression, _NO_CRON if "columns" in str(error) else error) from None
    schedule = Schedule(expression, zone, is_elapsing=parsed.expanded[HOUR_FIELD] == ["*"])
    if schedule.next_after(_ANY_DAY) is None:
        raise _bad(expression, "it is never due")
    return schedule
