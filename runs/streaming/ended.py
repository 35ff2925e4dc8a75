"""Readers of runs that have ended while their logs do not say so: just now, or long ago."""

from typing import Self

from platform_site.core.events.interface import Event, EventsLost, Subscription

# A run ends with a commit, and its log right after. A log that is silent for so long is not the run's: it is gone.
_PATIENCE_SECONDS = 1.0


class EndedRun:
    """A subscription to a run that has just ended. Its log is closed in a moment, unless it is gone already."""

    def __init__(self, subscription: Subscription, after: str | None) -> None:
        """Go on from the id `after`; a reader with None takes what there is."""
        self._subscription = subscription
        self._after = after
        self._has_read = False

    @property
    def outcome(self) -> bytes | None:
        return self._subscription.outcome

    async def __aenter__(self) -> Self:
        await self._subscription.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._subscription.__aexit__(*exc)

    async def batch(self, timeout: float | None) -> list[Event] | None:
        if timeout == 0:
            return await self._subscription.batch(0)
        events = await self._subscription.batch(_PATIENCE_SECONDS)
        if events:
            self._has_read = True
            return events
        if events is not None and self._after is not None and not self._has_read:
            raise EventsLost(self._after, resumable=False)
        return None


class LostRun:
    """A subscription to a run that ended and whose log is gone: whatever came after an event is lost."""

    outcome: bytes | None = None

    def __init__(self, after: str) -> None:
        self._after = after

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def batch(self, timeout: float | None) -> list[Event] | None:
        raise EventsLost(self._after, resumable=False)
