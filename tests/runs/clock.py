"""A clock for leases that a test sets, so that no test sleeps until a lease is over."""

from datetime import UTC, datetime, timedelta

from django.conf import settings


class SetClock:
    """The clock of all workers that are given it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def advance_leases(self, count: float) -> None:
        """Let as many times of a lease go by."""
        self.advance(settings.LEASE_SECONDS * count)
