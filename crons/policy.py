"""What is done about a due time, and about those that passed unnoticed: pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from crons.models import MisfirePolicy
from crons.schedule import Schedule

# Of the due times that nobody noticed this many have a row each, and one more stands for all others.
MISSED_ROWS = 100


@dataclass(frozen=True)
class Missed:
    due: datetime
    reason: str


@dataclass(frozen=True)
class Plan:
    """Which due time is fired, if any, which are missed, and which comes next."""

    fired: datetime | None
    # A sentence where it is not fired on time.
    reason: str
    missed: list[Missed]
    following: datetime | None


def plan(
    schedule: Schedule,
    first: datetime,
    now: datetime,
    *,
    ends_at: datetime | None,
    policy: str,
    grace: timedelta,
) -> Plan:
    """What to do at `now` about all due times from `first` on; at most the last one is fired.

    It is on time within `grace`. A later one is fired if the policy is to run once and the end has not come.
    """
    following = schedule.next_after(first)
    until = now if ends_at is None else min(now, ends_at)
    is_alone = following is None or following > until
    last = first if is_alone else schedule.last_until(first, until)
    if following is not None and following <= now:
        following = schedule.next_after(now)
    if following is not None and ends_at is not None and following > ends_at:
        following = None
    late = now - last
    earlier = (
        []
        if is_alone
        else _earlier(schedule, first, last, f"Noticed only when a later due time, {_shown(last)}, had come.")
    )
    if late <= grace:
        return Plan(last, "", earlier, following)
    if ends_at is not None and now > ends_at:
        refusal = f"Noticed {_span(late)} late, when the cron's end_time had passed."
    elif policy == MisfirePolicy.SKIP:
        refusal = f"Noticed {_span(late)} late, and the cron's misfire_policy is to skip then."
    else:
        caught_up = f"Fired {_span(late)} late" + ("." if is_alone else f", once for all since {_shown(first)}.")
        return Plan(last, caught_up, earlier, following)
    return Plan(None, "", [*(Missed(one.due, refusal) for one in earlier), Missed(last, refusal)], following)


def _earlier(schedule: Schedule, first: datetime, last: datetime, reason: str) -> list[Missed]:
    """The due times before the last one, all of them or the first and a row that stands for the others."""
    found: list[Missed] = []
    due: datetime | None = first
    while due is not None and due < last:
        if len(found) == MISSED_ROWS:
            found.append(Missed(due, f"{reason} This stands for all due times before that."))
            break
        found.append(Missed(due, reason))
        due = schedule.next_after(due)
    return found


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _span(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return f"{seconds} seconds"
