"""The answer to a webhook, what it means for its delivery, and when a delivery that failed is sent again."""

import random
from dataclasses import dataclass, field
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


@dataclass
class Answer:
    """What came of a request. Without a `status` there was no answer, and `error` says why."""

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    error: str = ""
    milliseconds: int = 0

    def header(self, name: str) -> str | None:
        """Return the value of the first header of this lower-case name, or None."""
        return next((value for found, value in self.headers if found == name), None)


class Verdict(Enum):
    """What an attempt means for its delivery."""

    DELIVERED = auto()
    RETRY = auto()
    # The receiver does not want it.
    STOP = auto()


def verdict(status: int | None) -> Verdict:
    """Return the verdict on an answer's status, which is None if there was no answer."""
    if status is not None and 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.STOP if status == GONE else Verdict.RETRY


def reason(status: int) -> str:
    """Return as a sentence why an answer with this status is no delivery."""
    if 300 <= status < 400:
        return f"The receiver answered {status}, a redirect; redirects are never followed."
    if status == GONE:
        return "The receiver answered 410: it does not want this any more."
    return f"The receiver answered {status}."


def retry_after(status: int | None, value: str | None, now: datetime) -> timedelta:
    """Return how long a receiver that is overloaded asks to be left alone, by its header `Retry-After`."""
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
    """Return when a delivery that has failed `failures` times since `failing_since` is sent again, or None if never.

    The pause is not shorter than the receiver's `patience`. The last attempt comes when WEBHOOK_RETRY_HOURS are over.
    `dice` is from 0 to 1 and spreads the pauses.
    """
    deadline = failing_since + timedelta(hours=settings.WEBHOOK_RETRY_HOURS)
    if now >= deadline:
        return None
    longest = LONGEST_PAUSE.total_seconds()
    # The exponent is bounded: floats are.
    pause = min(settings.WEBHOOK_FIRST_RETRY_SECONDS * GROWTH ** min(failures - 1, 30), longest)
    pause *= 1 + JITTER * (2 * (random.random() if dice is None else dice) - 1)
    return min(now + max(timedelta(seconds=pause), patience), deadline)
