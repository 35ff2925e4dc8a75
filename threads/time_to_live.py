"""How long a thread lives: what it was given, and when its time is over.

The clock is the thread's `updated_at`: whatever moves that (a run that begins or ends, a change of state or metadata, a
message) starts the time anew and writes nothing for it. `expires_at` in the row is when the sweep looks at the thread
next, which is never later than its end.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from platform_site.core.config import config
from platform_site.core.database.access import moment, moment_param
from platform_site.core.errors import Unprocessable
from platform_site.core.wire import timestamp
from threads.models import TTLStrategy
from threads.schemas import ThreadTTL


@dataclass(frozen=True)
class TimeToLive:
    """`minutes` after the last activity `strategy` is applied."""

    minutes: float
    strategy: str

    def end(self, since: datetime) -> datetime:
        return since + timedelta(minutes=self.minutes)


def default_time_to_live() -> TimeToLive | None:
    """What `checkpointer.ttl` of `langgraph.json` gives every thread."""
    checkpointer = config().checkpointer
    if checkpointer is None or checkpointer.ttl is None or checkpointer.ttl.default_ttl is None:
        return None
    return TimeToLive(checkpointer.ttl.default_ttl, checkpointer.ttl.strategy)


@dataclass(frozen=True)
class Sweep:
    """How often threads are swept, in seconds, and how many at most at a time."""

    interval: float = 300
    limit: int = 1000


def default_sweep() -> Sweep:
    """What `checkpointer.ttl` of `langgraph.json` says of the sweep."""
    checkpointer = config().checkpointer
    ttl = checkpointer.ttl if checkpointer else None
    interval = ttl.sweep_interval_minutes if ttl else None
    limit = ttl.sweep_limit if ttl else None
    return Sweep(60 * interval if interval else Sweep.interval, limit or Sweep.limit)


def time_to_live(asked: ThreadTTL, current: TimeToLive | None) -> TimeToLive | None:
    """What a thread has that `asked` for this and had `current`; None: it lives for ever.

    Raises `Unprocessable` for a strategy without a time.
    """
    default = current or default_time_to_live()
    if not asked.is_given:
        return default
    minutes = asked.ttl or (default.minutes if default else None)
    if minutes is None:
        raise Unprocessable('`ttl` needs the minutes in its field "ttl": this server has no default for them')
    return TimeToLive(minutes, asked.strategy or (current.strategy if current else TTLStrategy.DELETE.value))


def ttl_params(ttl: TimeToLive | None, now: datetime) -> list[Any]:
    """Parameters for the columns `ttl_minutes`, `ttl_strategy` and `expires_at` of a thread that is used now."""
    if ttl is None:
        return [None, TTLStrategy.DELETE.value, None]
    return [ttl.minutes, ttl.strategy, moment_param(ttl.end(now))]


def ttl_if_none(ttl: TimeToLive | None, now: datetime) -> tuple[str, list[Any]]:
    """What makes an UPDATE give `ttl` to a thread that has none: further assignments, and their parameters."""
    if ttl is None:
        return "", []
    minutes, strategy, end = ttl_params(ttl, now)
    assignments = (
        ", ttl_strategy = CASE WHEN ttl_minutes IS NULL THEN %s ELSE ttl_strategy END"
        ", ttl_minutes = coalesce(ttl_minutes, %s), expires_at = coalesce(expires_at, %s)"
    )
    return assignments, [strategy, minutes, end]


def ttl_of(minutes: float | None, strategy: str) -> TimeToLive | None:
    """What the row says."""
    return None if minutes is None else TimeToLive(minutes, strategy)


def ttl_end(ttl: TimeToLive, updated_at: datetime, expires_at: datetime) -> datetime:
    """When the time of a thread is over."""
    return max(ttl.end(moment(updated_at)), moment(expires_at))


def ttl_wire(ttl: TimeToLive, end: datetime) -> dict[str, Any]:
    """The field `ttl` of a thread."""
    minutes = int(ttl.minutes) if ttl.minutes == int(ttl.minutes) else ttl.minutes
    return {"strategy": ttl.strategy, "ttl_minutes": minutes, "expires_at": timestamp(end)}
