"""The stream of a thread: what all of its runs stream, when they begin and end, and changes of its state."""

from collections.abc import Callable, Iterable
from typing import Any, Self
from uuid import UUID

from django.db import transaction

from platform_site.core.database.access import encode_shown
from platform_site.core.errors import Unprocessable
from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import BEGIN, END, Event, FeedReader, feed_of
from platform_site.core.wire import encode
from threads.models import Thread

STATE_UPDATE = "state_update"
MODES = ("run_modes", "lifecycle", "state_update")


class Wanted:
    """The kinds of events that stream modes let through; `run_modes` if there are none. Raises `Unprocessable`."""

    def __init__(self, modes: Iterable[str]) -> None:
        self._modes = set(modes) or {"run_modes"}
        for mode in self._modes:
            if mode not in MODES:
                raise Unprocessable(f"Invalid stream mode: {mode}")

    def __contains__(self, kind: object) -> bool:
        if kind == STATE_UPDATE:
            return "state_update" in self._modes
        return "run_modes" in self._modes or ("lifecycle" in self._modes and kind == "metadata")


class ThreadEvents:
    """A subscription to a thread's feed, with the ends of runs as the wire tells them."""

    outcome: bytes | None = None

    def __init__(self, workspace_id: int, thread_id: UUID, after: str | None) -> None:
        """From now on, or after the id of an event: `-` is before the first. Raises `Unprocessable`."""
        try:
            position = BEGIN if after == "-" else after
            self._events: FeedReader = event_log().follow(feed_of(workspace_id, thread_id), position)
        except ValueError:
            raise Unprocessable("Invalid last-event-id: must be a valid Redis stream ID") from None

    async def locate(self) -> None:
        """Settle what is told: whatever comes after this call."""
        await self._events.locate()

    async def __aenter__(self) -> Self:
        await self._events.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._events.__aexit__(*exc)

    async def batch(self, timeout: float | None) -> list[Event] | None:
        events = await self._events.batch(timeout)
        return events and [_told(event) if event.name == END else event for event in events]


def _told(end: Event) -> Event:
    return Event(end.id, "metadata", encode({"status": "run_done", "run_id": end.data.decode()}))


def state_posted(workspace_id: int, thread_id: UUID, state: Callable[[], dict[str, Any]]) -> None:
    """Tell those who follow the thread its new state."""
    feed = feed_of(workspace_id, thread_id)
    if event_log().has_followers(feed):
        event_log().post(feed, STATE_UPDATE, encode_shown({"state": state(), "thread_id": thread_id}))


def end_unbegun(workspace_id: int, thread_id: UUID, run_id: UUID) -> None:
    """End the stream of a run that was cancelled before it began, and tell those who follow its thread."""
    event_log().begin(str(run_id), feed_of(workspace_id, thread_id))
    event_log().close(str(run_id), b"{}")


def end_streams(thread_ids: list[UUID]) -> None:
    """End the streams of threads that are being deleted, once they are gone."""
    owners = list(Thread.objects.filter(thread_id__in=thread_ids).values_list("workspace_id", "thread_id"))
    feeds = [feed_of(workspace_id, thread_id) for workspace_id, thread_id in owners]

    def end() -> None:
        for feed in feeds:
            event_log().end_feed(feed)

    transaction.on_commit(end, robust=True)
