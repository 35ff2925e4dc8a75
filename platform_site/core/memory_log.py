"""One log of events in memory, and a reader's place in it.

A burst costs a waiting reader one wake-up, a busy reader none.
"""

import asyncio
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from platform_site.core.events import BEGIN, Event
from platform_site.core.wire import keep

# What one kept event weighs in memory besides its data: a tuple and two short strings.
EVENT_OVERHEAD = 200
# About what one batch holds. It stays in memory until its reader's client has read it, the log's bound or not.
BATCH_BYTES = 500_000


class Waiter:
    """One wait of one reader; woken at most once."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def wake(self) -> None:
        """From any thread."""
        # A closed loop refuses: its reader is gone.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.resolve)

    async def wait(self, deadline: float | None) -> None:
        """Return when woken, or at the deadline."""
        timer = None if deadline is None else self.loop.call_at(deadline, self.resolve)
        try:
            await self.future
        finally:
            if timer is not None:
                timer.cancel()


class Log:
    """The events of one run. Whoever touches a field holds the lock."""

    __slots__ = (
        "closed", "done", "dropped", "end_id", "events", "expires_at", "feed", "first", "last_ms", "last_n", "lock",
        "outcome", "resumable", "size", "touched_at", "waiting", "weight",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.lock = threading.Lock()
        self.events: list[Event] = []
        # How many events were trimmed: the absolute position of `events[0]`.
        self.first = 0
        self.size = 0
        self.last_ms = 0
        self.last_n = 0
        self.resumable = False
        self.closed = False
        # Closed because the run has ended, with an id for that end.
        self.done = False
        self.end_id = ""
        self.outcome: bytes | None = None
        # The feed that it is a part of.
        self.feed: str | None = None
        self.expires_at: float | None = None
        self.weight = 0
        # Removed while open, as nobody seemed to use it; who still holds it looks the run up again.
        self.dropped = False
        self.touched_at = now
        self.waiting: list[Waiter] = []

    @classmethod
    def after(cls, log: "Log", now: float) -> "Log":
        """A log for the next attempt at the run of a closed one: its ids come later."""
        with log.lock:
            made = cls(now)
            made.last_ms, made.last_n, made.resumable = log.last_ms, log.last_n, log.resumable
            return made

    def next_id(self) -> str:
        """The id of what happens now."""
        now = time.time_ns() // 1_000_000
        if now > self.last_ms:
            self.last_ms, self.last_n = now, 0
        else:
            self.last_n += 1
        return f"{self.last_ms}-{self.last_n}"

    def add(self, name: str, data: bytes, max_bytes: int) -> None:
        self.events.append(Event(self.next_id(), name, keep(data)))
        self.size += len(data) + EVENT_OVERHEAD
        if self.size > max_bytes:
            self._trim(max_bytes)

    def _trim(self, max_bytes: int) -> None:
        # A tenth more than needed, so that moving the rest of the list is rare.
        target, count = max_bytes * 9 // 10, 0
        while self.size > target and count < len(self.events) - 1:
            self.size -= len(self.events[count].data) + EVENT_OVERHEAD
            count += 1
        del self.events[:count]
        self.first += count

    def portion(self, start: int) -> list[Event]:
        """Return the events from an index on, as many as `BATCH_BYTES` hold, but at least one."""
        if self.size <= BATCH_BYTES:
            return self.events[start:]
        end, size = start, 0
        while end < len(self.events) and (size < BATCH_BYTES or end == start):
            size += len(self.events[end].data) + EVENT_OVERHEAD
            end += 1
        return self.events[start:end]

    def forget_events(self) -> None:
        self.first += len(self.events)
        self.events = []
        self.size = 0
        self.outcome = None

    def position(self, after: str | None) -> int:
        """Where to read on: None is now, `BEGIN` the oldest event kept. Raises ValueError for what is no event id."""
        if after is None:
            return self.first + len(self.events)
        if after == BEGIN:
            return self.first
        return self.first + bisect_right(self.events, position_of(after), key=lambda event: position_of(event.id))


class MemorySubscription:
    """A position in a log in memory. It holds nothing that the log must free: a reader may just go away."""

    def __init__(self, log: Log, position: int, reopen: Callable[[], Log], clock: Callable[[], float]) -> None:
        """`reopen` gives the log anew if this one was dropped under a reader."""
        self._log = log
        self._position = position
        self._reopen = reopen
        self._clock = clock

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
                # A reader that fell behind the trimming goes on with the oldest event left.
                start = max(self._position - log.first, 0)
                if start < len(log.events):
                    events = log.portion(start)
                    self._position = log.first + start + len(events)
                    return events
                if log.closed:
                    return None
                if not log.dropped:
                    waiter = Waiter()
                    # Looked and registered under one lock: what is appended or closed from here on wakes.
                    log.waiting.append(waiter)
            if waiter is None:
                self._log, self._position = self._reopen(), 0
                continue
            if timeout is not None and deadline is None:
                deadline = waiter.loop.time() + timeout
            if not await self._wait(log, waiter, deadline):
                return []

    async def _wait(self, log: Log, waiter: Waiter, deadline: float | None) -> bool:
        """Whether something happened before the deadline."""
        try:
            await waiter.wait(deadline)
        finally:
            with log.lock:
                silent = waiter in log.waiting
                if silent:
                    log.waiting.remove(waiter)
                    log.touched_at = self._clock()
        return not silent


def position_of(event_id: str) -> tuple[int, int]:
    """An event id as numbers that compare. Raises ValueError."""
    ms, dash, n = event_id.partition("-")
    if not (dash and ms.isascii() and ms.isdigit() and n.isascii() and n.isdigit()):
        raise ValueError(f"{event_id!r} is not an event id")
    return int(ms), int(n)
