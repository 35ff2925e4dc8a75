"""The event log of a run: appended by whoever executes it, read from any position by any number of streams.

The logs of runs that belong together, those of a thread, are also read one after the other, as a *feed*.
"""

from typing import NamedTuple, Protocol, Self
from uuid import UUID

# The position before the first event.
BEGIN = "0"
# In a feed: the run whose id is the data has ended.
END = "end"


def feed_of(workspace_id: int, thread_id: UUID) -> str:
    """Return the name of the thread's feed. It holds the workspace, so no other one reaches it by the id."""
    return f"{workspace_id}/{thread_id}"


def position_of(event_id: str) -> tuple[int, int]:
    """Return an event id as numbers that compare. Raise ValueError for any other text."""
    ms, dash, n = event_id.partition("-")
    if not (dash and ms.isascii() and ms.isdigit() and n.isascii() and n.isdigit()):
        raise ValueError(f"{event_id!r} is not an event id")
    return int(ms), int(n)


def check_place(after: str | None) -> None:
    """Raise ValueError unless `after` says where a reader begins: None is now, `BEGIN` everything, else an event id."""
    if after is not None and after != BEGIN:
        position_of(after)


class Event(NamedTuple):
    """One event of a run. Ids have the form `<ms>-<n>` and increase strictly within a log, and within a feed."""

    id: str
    name: str
    data: bytes


class EventsLost(Exception):
    """Events behind a reader's place are not kept any more: the reader was too slow, or came too late."""

    def __init__(self, kept_after: str, *, resumable: bool) -> None:
        """Say that events later than `kept_after` are kept, and by `resumable` whether it may be joined there."""
        super().__init__(f"only events after {kept_after} are kept")
        self.kept_after = kept_after
        self.resumable = resumable


class Subscription(Protocol):
    """A reader's place in a log. Leaving it as a context manager gives up the place."""

    @property
    def outcome(self) -> bytes | None:
        """The body that the log was closed with, or None while the log is open and after it was discarded."""

    async def batch(self, timeout: float | None) -> list[Event] | None:
        """Return the events that wait, as many as one batch holds. For one caller at a time.

        Return `[]` after `timeout` seconds of silence, and None after the last event of a closed log.

        Raise `EventsLost` if the next event is not kept any more. A reader from `BEGIN` gets that once it has begun
        to read. The reader's place is then that of the oldest event kept: it may go on, knowing what it lost.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...


class FeedReader(Subscription, Protocol):
    """A subscription to a feed."""

    async def locate(self) -> None:
        """Settle where it begins: what comes after this call is told. Entering it does so too, if nobody did before."""


class EventLog(Protocol):
    """The logs of all runs. Every method may be called from any thread and none of them waits for a reader."""

    @property
    def held_bytes(self) -> int:
        """Return how many bytes of memory this process's logs hold; in Redis mode, what waits for its readers."""

    @property
    def budget_bytes(self) -> int:
        """Return how many bytes of memory that may be."""

    def append(self, run_id: str, name: str, data: bytes) -> None:
        """Add an event; ignored once the log is closed."""

    def close(self, run_id: str, outcome: bytes) -> None:
        """End the log with the JSON body that `wait` answers; a second call changes nothing."""

    def pause(self, run_id: str) -> None:
        """End an attempt, but not the run: readers stay and get what the next attempt writes, in whatever process."""

    def leave(self, run_id: str, name: str, data: bytes, outcome: bytes) -> None:
        """End an attempt, but not the run, because this process ends.

        Readers whom no other process can serve get this event, and end.
        """

    def close_all(self, name: str, data: bytes, outcome: bytes) -> None:
        """Add a last event to every open log of this process and end it: the process is going, its runs are not."""

    def subscribe(self, run_id: str, after: str | None) -> Subscription:
        """Return a reader of what follows `after`: None is now, `BEGIN` everything kept, an event id what came later.

        Raise ValueError for any other text.

        A log that is not there is begun, so a stream may be opened before its run. The log of a run that ended long ago
        is not there either: subscribe first, then look at the run, and wait only for runs that have not ended.
        """

    def withdraw(self, run_id: str) -> None:
        """Forget the empty log of a run that somebody subscribed to and that was not made after all."""

    async def is_closed(self, run_id: str) -> bool:
        """Return whether the log has ended and is still kept."""

    def discard(self, run_id: str) -> None:
        """Forget all events, end every reader without an outcome, and ignore late events: the run was deleted."""

    def begin(self, run_id: str, feed: str | None, *, attempt: int = 1, resumable: bool = False) -> None:
        """Begin an attempt at the run: from now on its log is the newest of the feed, if it belongs to one.

        The log takes events, whatever became of the attempt before. Only the log of a run that has ended stays closed.
        A resumable run's log is kept for `EVENT_TTL_RESUMABLE_SECONDS` after its end instead of `EVENT_TTL_SECONDS`.
        """

    def post(self, feed: str, name: str, data: bytes) -> None:
        """Add an event between the runs of the feed, for those who follow the feed now."""

    def has_followers(self, feed: str) -> bool:
        """Return whether somebody would get what is posted."""

    def follow(self, feed: str, after: str | None) -> FeedReader:
        """Return a reader of the feed's runs, one after the other, with an `END` after each. It has no outcome.

        `after=None` is now: of a run in progress what comes from here on. Otherwise the events of resumable runs that
        are still kept come first, all of them after `BEGIN`, after an event's id the later ones. Raise ValueError for
        any other text. Follow as a context manager: what is posted reaches only those who have entered.
        """

    def end_feed(self, feed: str) -> None:
        """End all who follow the feed: what it belonged to was deleted."""
