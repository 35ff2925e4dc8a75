"""One log of events in memory, and a reader's place in it.

A burst costs a waiting reader one wake-up, a busy reader none.
"""

import sys
import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Self
from weakref import ref

from platform_site.core.events.interface import BEGIN, Event, EventsLost, position_of
from platform_site.core.events.waiting import Waiter
from platform_site.core.telemetry import metrics
from platform_site.core.wire import keep

# About what one batch holds. It stays in memory until its reader's client has read it, the log's bound or not.
BATCH_BYTES = 500_000
# An event's id inside is one integer that holds its two numbers. The second one rarely gets beyond a few; should it not
# fit, it carries into the first, and ids still increase.
_SECOND_BITS = 22
_SECOND_MASK = (1 << _SECOND_BITS) - 1
# A log with so many readers looks now and then whether they are all still there.
_MANY_READERS = 20
# So many names may stay when their events have gone.
_FEW_NAMES = 30
# What one event holds besides its data: the header of a bytes object, what allocators round up, and a place in each of
# three columns, which lists and arrays make up to an eighth longer than they are.
EVENT_OVERHEAD = sys.getsizeof(b"") + 15 + 3 * 8 * 9 // 8
# What a log holds without its events: the object, its columns, its places in the log's dictionary, its queue and its
# feed. Measured: tests/core/test_event_memory.py.
LOG_OVERHEAD = 1200


# Makes an event of a tuple, without the Python function that is a NamedTuple's own way.
_event: Callable[[tuple[str, str, bytes]], Event] = partial(tuple.__new__, Event)


class Log:
    """The events of one run. Whoever touches a field holds the lock.

    Events are kept in columns and made when they are read. The garbage collector tracks the columns only, not the
    hundreds of thousands of events that a process may hold.
    """

    __slots__ = (
        "_readers", "closed", "counted", "counted_as_finished", "datas", "discarded", "done", "dropped", "end_id",
        "expires_at", "feed", "first", "given_up", "ids", "last", "lock", "lost", "names", "outcome", "resumable",
        "size", "touched_at", "waiting", "words",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.lock = threading.Lock()
        self.ids = array("Q")
        self.names: list[str] = []
        self.datas: list[bytes] = []
        # Each name once: names repeat, and most of them are made anew for each event.
        self.words: dict[str, str] = {}
        # How many events were trimmed: the absolute position of the first one kept.
        self.first = 0
        # The id of the newest trimmed event; 0 if there is none.
        self.lost = 0
        # The bytes that the events hold, and how many bytes the budget knows of.
        self.size = 0
        self.counted = 0
        self.counted_as_finished = False
        # The newest id that was given.
        self.last = 0
        self.resumable = False
        self.closed = False
        # Closed because the run has ended, with an id for that end.
        self.done = False
        self.end_id = 0
        self.outcome: bytes | None = None
        # The run was deleted: nobody misses its events.
        self.discarded = False
        # Cut as a whole: nobody can join it any more.
        self.given_up = False
        # The feed that it is a part of.
        self.feed: str | None = None
        self.expires_at: float | None = None
        # Removed while open, as nobody seemed to use it; who still holds it looks the run up again.
        self.dropped = False
        self.touched_at = now
        self.waiting: list[Waiter] = []
        # Who has a place in it. Nobody gives up a place: whoever goes away is not there any more.
        self._readers: list[ref[MemorySubscription]] = []

    @classmethod
    def after(cls, log: "Log", now: float) -> "Log":
        """Return a log for the next attempt at the run of a closed log. Its ids come later."""
        with log.lock:
            made = cls(now)
            made.last, made.resumable = log.last, log.resumable
            return made

    @property
    def weight(self) -> int:
        """The bytes that the log holds in memory."""
        return LOG_OVERHEAD + self.size + (0 if self.outcome is None else sys.getsizeof(self.outcome))

    @property
    def end(self) -> int:
        """The absolute position behind the newest event."""
        return self.first + len(self.datas)

    @property
    def told_last(self) -> int:
        """The id of the last that readers are told: the end of a run that has ended, else the newest event's."""
        if self.done:
            return self.end_id
        return self.ids[-1] if self.ids else self.lost

    def is_read(self) -> bool:
        """Return whether somebody has a place in the log."""
        self._readers = [reader for reader in self._readers if reader() is not None]
        return bool(self._readers)

    def attend(self, reader: "MemorySubscription") -> None:
        """Remember who has a place in the log."""
        if len(self._readers) >= _MANY_READERS:
            self.is_read()
        self._readers.append(ref(reader))

    def next_id(self) -> int:
        """Return the id of what happens now: later than every id before."""
        now = time.time_ns() // 1_000_000 << _SECOND_BITS
        self.last = now if now > self.last else self.last + 1
        return self.last

    def add(self, name: str, data: bytes, max_bytes: int) -> None:
        """Append an event, and drop the oldest ones of a log that gets heavier than `max_bytes`."""
        shared = self.words.get(name)
        if shared is None:
            shared = self.words[name] = name
            self.size += _weight_of_name(name)
        self.ids.append(self.next_id())
        self.names.append(shared)
        self.datas.append(keep(data))
        self.size += len(data) + EVENT_OVERHEAD
        if self.size > max_bytes:
            # A tenth more than needed, so that moving the rest of the columns is rare.
            self.cut(max_bytes * 9 // 10, keeping=1)

    def cut(self, size: int, *, keeping: int = 0) -> None:
        """Drop the oldest events, to keep a bound, until the rest holds at most `size` bytes.

        The `keeping` newest ones stay in any case.
        """
        metrics.events_cut(self._trim(size, keeping))

    def _trim(self, size: int, keeping: int = 0) -> int:
        """Drop the oldest events until the rest holds at most `size` bytes. Return how many were dropped."""
        count, most = 0, len(self.datas) - keeping
        while self.size > size and count < most:
            self.size -= len(self.datas[count]) + EVENT_OVERHEAD
            count += 1
        if count:
            self._drop(count)
        return count

    def _drop(self, count: int) -> None:
        self.lost = self.ids[count - 1]
        self.first += count
        for column in (self.ids, self.names, self.datas):
            del column[:count]
        if len(self.words) <= _FEW_NAMES:
            return
        used = set(self.names)
        for name in [name for name in self.words if name not in used]:
            self.size -= _weight_of_name(name)
            del self.words[name]

    def discard(self) -> None:
        """Forget all events and the outcome: the run was deleted."""
        self.discarded = True
        self._trim(0)
        self.outcome = None

    def position(self, after: str | None) -> int:
        """Return where to read on: None is now, `BEGIN` the oldest event kept. Raise ValueError for what is no id.

        The position lies before the oldest event kept if events after `after` are not kept any more.
        """
        if after is None:
            return self.end
        if after == BEGIN:
            return self.first
        wanted = packed_id(after)
        if wanted < self.lost:
            return self.first - 1
        return self.first + bisect_right(self.ids, wanted)

    def portion(self, position: int) -> list[Event]:
        """Return the events from an absolute position on, as many as `BATCH_BYTES` hold, but at least one.

        The position is not before the first event kept, and before the log's end.
        """
        start = position - self.first
        part = slice(start, self._portion_end(start))
        # What `id_text` does, without a call for each event.
        ids = [f"{packed >> _SECOND_BITS}-{packed & _SECOND_MASK}" for packed in self.ids[part]]
        return list(map(_event, zip(ids, self.names[part], self.datas[part], strict=True)))

    def _portion_end(self, start: int) -> int:
        if self.size <= BATCH_BYTES:
            return len(self.datas)
        end, size = start, 0
        while end < len(self.datas) and size < BATCH_BYTES:
            size += len(self.datas[end]) + EVENT_OVERHEAD
            end += 1
        return end

    def loss(self) -> EventsLost:
        """Return what a reader is told whose next event is not kept any more."""
        return EventsLost(id_text(self.lost), resumable=self.resumable and not self.given_up)


class MemorySubscription:
    """A position in a log in memory. It holds nothing that the log must free: a reader may just go away."""

    def __init__(
        self, log: Log, position: int, reopen: Callable[[], Log], clock: Callable[[], float], *, begun: bool = True
    ) -> None:
        """Take a place; the caller holds the log's lock.

        `reopen` gives the log anew if this one was dropped under a reader. Until a reader has `begun`, it takes what is
        kept for everything that there is.
        """
        self._log = log
        self._position = position
        self._reopen = reopen
        self._clock = clock
        self._begun = begun
        log.attend(self)

    @property
    def outcome(self) -> bytes | None:
        return self._log.outcome

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def batch(self, timeout: float | None) -> list[Event] | None:
        deadline: float | None = None
        while True:
            log = self._log
            waiter: Waiter | None = None
            with log.lock:
                self._look_for_losses(log)
                if self._position < log.end:
                    events = log.portion(self._position)
                    self._position += len(events)
                    return events
                if log.closed:
                    return None
                if not log.dropped:
                    waiter = Waiter()
                    # Looked and registered under one lock: what is appended or closed from here on wakes.
                    log.waiting.append(waiter)
            if waiter is None:
                self._go_on_in(self._reopen())
                continue
            if timeout is not None and deadline is None:
                deadline = waiter.loop.time() + timeout
            if not await self._wait(log, waiter, deadline):
                return []

    def _look_for_losses(self, log: Log) -> None:
        """Move a place that trimming has overtaken to the oldest event kept. Raise `EventsLost` if that is a loss."""
        begun, self._begun = self._begun, True
        if self._position >= log.first:
            return
        self._position = log.first
        if begun and not log.discarded:
            raise log.loss()

    def _go_on_in(self, log: Log) -> None:
        self._log, self._position = log, 0
        with log.lock:
            log.attend(self)

    async def _wait(self, log: Log, waiter: Waiter, deadline: float | None) -> bool:
        """Wait until something happens. Return False if nothing did before the deadline."""
        try:
            await waiter.wait(deadline)
        finally:
            with log.lock:
                silent = waiter in log.waiting
                if silent:
                    log.waiting.remove(waiter)
                    log.touched_at = self._clock()
        return not silent


def _weight_of_name(name: str) -> int:
    # A string and its places in a dictionary.
    return sys.getsizeof(name) + 100


def id_text(packed: int) -> str:
    """Return an event id as clients see it."""
    return f"{packed >> _SECOND_BITS}-{packed & _SECOND_MASK}"


def packed_id(event_id: str) -> int:
    """Return an event id as one number that compares as the id does. Raise ValueError for any other text."""
    ms, n = position_of(event_id)
    return ms << _SECOND_BITS | min(n, _SECOND_MASK)
