"""When a webhook that failed is sent again, and what an answer means for it."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from django.conf import settings

# Each pause is four times the one before, at most six hours; by default eleven attempts in a day.
GROWTH = 4
LONGEST_PAUSE = timedelta(hours=6)
JITTER = 0.2
GONE = 410
_ASKS_FOR_PATIENCE = (429, 503)


class Verdict(Enum):
    """What an attempt means for its delivery."""

    DELIVERED = auto()
    RETRY = auto()
    # The receiver does not want it.
    STOP = auto()


def verdict(status: int | None) -> Verdict:
    """The verdict on an answer's status; None: there was no answer."""
    if status is not None and 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.STOP if status == GONE else Verdict.RETRY


def reason(status: int) -> str:
    """Why an answer is no delivery, as a sentence."""
    if 300 <= status < 400:
        return f"The receiver answered {status}, a redirect; redirects are never followed."
    if status == GONE:
        return "The receiver answered 410: it does not want this any more."
    return f"The receiver answered {status}."


def retry_after(status: int | None, value: str | None, now: datetime) -> timedelta:
    """How long a receiver that is overloaded wants to be left alone."""
    if status not in _ASKS_FOR_PATIENCE or not value:
        return timedelta()
    try:
        seconds = float(value) if value.isdecimal() else (_moment(value) - now).total_seconds()
    except (ValueError, OverflowError):
        return timedelta()
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_PAUSE.total_seconds()))


def _moment(value: str) -> datetime:
    found = parsedate_to_datetime(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def next_attempt(
    now: datetime,
    *,
    failures: int,
    failing_since: datetime,
    patience: timedelta = timedelta(),
    dice: float | None = None,
) -> datetime | None:
    """When a delivery that has failed `failures` times since `failing_since` is tried again; None: not any more.

    Not before the receiver's `patience`; the last attempt comes when the time is up. `dice` is from 0 to 1.
    """
    deadline = failing_since + timedelta(hours=settings.WEBHOOK_RETRY_HOURS)
    if now >= deadline:
        return None
    longest = LONGEST_PAUSE.total_seconds()
    # The exponent is bounded: floats are.
    pause = min(settings.WEBHOOK_FIRST_RETRY_SECONDS * GROWTH ** min(failures - 1, 30), longest)
    pause *= 1 + JITTER * (2 * (random.random() if dice is None else dice) - 1)
    return min(now + max(timedelta(seconds=pause), patience), deadline)
