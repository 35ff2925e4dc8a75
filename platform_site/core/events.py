"""The event log of a run: appended by whoever executes it, read from any position by any number of streams.

`MemoryEventLog` serves one process. Events are appended on the run loop's thread and read on the HTTP server's loop;
a burst costs a waiting reader one wake-up, a busy reader none (SPIKES 5).
"""

import asyncio
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import NamedTuple, Protocol, Self

from django.conf import settings

# The position before the first event.
BEGIN = "0"

# What one kept event weighs in memory besides its data: a tuple and two short strings.
_EVENT_OVERHEAD = 200
# What a log weighs without its events.
_LOG_OVERHEAD = 1000
# Finished logs together may weigh as much as this many full logs; then the oldest go before their time.
_FINISHED_FULL_LOGS = 8


class Event(NamedTuple):
    """One event of a run. Ids have the form `<ms>-<n>` and increase strictly within a log."""

    id: str
    name: str
    data: bytes


class Subscription(Protocol):
    """A reader's place in a log. Leaving it as a context manager gives up the place."""

    @property
    def outcome(self) -> bytes | None:
        """The body that the log was closed with; None while it is open or if it was discarded."""

    async def batch(self, timeout: float | None) -> list[Event] | None:
        """Every event that waits, at once; `[]` after `timeout` seconds of silence; None after the last event of a
        closed log. One caller at a time."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...


class EventLog(Protocol):
    """The logs of all runs. Every method may be called from any thread and none of them waits for a reader."""

    def append(self, run_id: str, name: str, data: bytes) -> None:
        """Add an event; ignored once the log is closed."""

    def mark_resumable(self, run_id: str) -> None:
        """Keep the log for `EVENT_TTL_RESUMABLE_SECONDS` after its end instead of `EVENT_TTL_SECONDS`."""

    def close(self, run_id: str, outcome: bytes) -> None:
        """End the log with the JSON body that `wait` answers; a second call changes nothing."""

    def close_all(self, name: str, data: bytes, outcome: bytes) -> None:
        """Add a last event to every open log of this process and end it: the process is going, its runs are not."""

    def subscribe(self, run_id: str, after: str | None) -> Subscription:
        """A reader of what follows `after`: None is now, `BEGIN` everything kept, an event id what came later. Raises
        ValueError for any other text.

        A log that is not there is begun, so a stream may be opened before its run. The log of a run that ended long ago
        is not there either: subscribe first, then look at the run, and wait only for runs that have not ended.
        """

    def is_closed(self, run_id: str) -> bool:
        """Whether the log has ended and is still kept."""

    def discard(self, run_id: str) -> None:
        """Forget all events, end every reader without an outcome, and ignore late events: the run was deleted."""


class _Log:
    __slots__ = (
        "closed", "dropped", "events", "expires_at", "first", "last_ms", "last_n", "lock", "outcome", "resumable",
        "size", "touched_at", "waiting", "weight",
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
        self.outcome: bytes | None = None
        self.expires_at: float | None = None
        self.weight = 0
        # Removed while open, as nobody seemed to use it; who still holds it looks the run up again.
        self.dropped = False
        self.touched_at = now
        self.waiting: list[_Waiter] = []


class _Waiter:
    """One wait of one reader; woken at most once."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def wake(self) -> None:
        # A closed loop refuses: its reader is gone.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.resolve)


class MemorySubscription:
    """A position in a log in memory. It holds nothing that the log must free: a reader may just go away."""

    def __init__(self, logs: "MemoryEventLog", run_id: str, log: _Log, position: int) -> None:
        self._logs = logs
        self._run_id = run_id
        self._log = log
        self._position = position

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
            waiter: _Waiter | None = None
            with log.lock:
                # A reader that fell behind the trimming goes on with the oldest event left.
                start = max(self._position - log.first, 0)
                if start < len(log.events):
                    events = log.events[start:]
                    self._position = log.first + len(log.events)
                    return events
                if log.closed:
                    return None
                if not log.dropped:
                    waiter = _Waiter()
                    # Looked and registered under one lock: what is appended or closed from here on wakes.
                    log.waiting.append(waiter)
            if waiter is None:
                self._log, self._position = self._logs.open(self._run_id), 0
                continue
            if timeout is not None and deadline is None:
                deadline = waiter.loop.time() + timeout
            if not await self._wait(log, waiter, deadline):
                return []

    async def _wait(self, log: _Log, waiter: _Waiter, deadline: float | None) -> bool:
        """Whether something happened before the deadline."""
        timer = None if deadline is None else waiter.loop.call_at(deadline, waiter.resolve)
        try:
            await waiter.future
        finally:
            if timer is not None:
                timer.cancel()
            with log.lock:
                silent = waiter in log.waiting
                if silent:
                    log.waiting.remove(waiter)
                    log.touched_at = self._logs.clock()
        return not silent


class MemoryEventLog:
    """Event logs in this process's memory.

    A log weighs at most `max_bytes`, its newest event excepted; older events are dropped first. Finished logs are kept
    for `ttl` or `resumable_ttl` seconds, and together at most eight full logs' worth. There is no thread of its own:
    each use clears away a part of what has expired.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        ttl: float,
        resumable_ttl: float,
        abandoned_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._resumable_ttl = resumable_ttl
        self._abandoned_after = abandoned_after
        self._logs: dict[str, _Log] = {}
        # Guards the dictionary's changes and what follows. Taken before a log's own lock, never inside one.
        self._lock = threading.Lock()
        # Finished logs in the order in which they expire.
        self._finished: deque[tuple[str, _Log]] = deque()
        self._finished_resumable: deque[tuple[str, _Log]] = deque()
        self._finished_weight = 0
        self._next_sweep = 0.0
        self._next_search = clock() + max(ttl, 10)

    def append(self, run_id: str, name: str, data: bytes) -> None:
        now = time.time_ns() // 1_000_000
        while True:
            log = self._logs.get(run_id) or self.open(run_id)
            with log.lock:
                if log.dropped:
                    continue
                if log.closed:
                    return
                if now > log.last_ms:
                    log.last_ms, log.last_n = now, 0
                else:
                    log.last_n += 1
                log.events.append(Event(f"{log.last_ms}-{log.last_n}", name, data))
                log.size += len(data) + _EVENT_OVERHEAD
                if log.size > self._max_bytes:
                    self._trim(log)
                log.touched_at = self.clock()
                waiting = log.waiting
                if waiting:
                    log.waiting = []
            for waiter in waiting:
                waiter.wake()
            if log.touched_at >= self._next_sweep:
                self._sweep(log.touched_at)
            return

    def _trim(self, log: _Log) -> None:
        # A tenth more than needed, so that moving the rest of the list is rare.
        target, count = self._max_bytes * 9 // 10, 0
        while log.size > target and count < len(log.events) - 1:
            log.size -= len(log.events[count].data) + _EVENT_OVERHEAD
            count += 1
        del log.events[:count]
        log.first += count

    def open(self, run_id: str) -> _Log:
        """The log of the run, begun if there is none or only an expired one."""
        now = self.clock()
        with self._lock:
            log = self._logs.get(run_id)
            if log is not None and log.expires_at is not None and log.expires_at <= now:
                log = None
            if log is None:
                log = self._logs[run_id] = _Log(now)
            return log

    def mark_resumable(self, run_id: str) -> None:
        while True:
            log = self.open(run_id)
            with log.lock:
                if log.dropped:
                    continue
                if not log.resumable:
                    log.resumable = True
                    if log.expires_at is not None:
                        log.expires_at += self._resumable_ttl - self._ttl
                return

    def close(self, run_id: str, outcome: bytes) -> None:
        self._end(run_id, outcome, forget=False)

    def close_all(self, name: str, data: bytes, outcome: bytes) -> None:
        for run_id in list(self._logs):
            self.append(run_id, name, data)
            self.close(run_id, outcome)

    def discard(self, run_id: str) -> None:
        # The log stays, closed and empty, for its time: a late event of the deleted run meets it and is ignored.
        self._end(run_id, None, forget=True)

    def _end(self, run_id: str, outcome: bytes | None, *, forget: bool) -> None:
        now = self.clock()
        with self._lock:
            log = self._logs.get(run_id)
            if log is None:
                log = self._logs[run_id] = _Log(now)
            with log.lock:
                newly = not log.closed
                if newly:
                    log.closed = True
                    log.outcome = outcome
                    log.expires_at = now + (self._resumable_ttl if log.resumable else self._ttl)
                if forget:
                    log.first += len(log.events)
                    log.events = []
                    log.size = 0
                    log.outcome = None
                weight = log.size + len(log.outcome or b"") + _LOG_OVERHEAD
                waiting, log.waiting = log.waiting, []
            # A closed log that was discarded later weighs less; one that is gone from the queues has no weight.
            if newly:
                (self._finished_resumable if log.resumable else self._finished).append((run_id, log))
            if newly or log.weight:
                self._finished_weight += weight - log.weight
                log.weight = weight
        for waiter in waiting:
            waiter.wake()
        self._sweep(now)

    def subscribe(self, run_id: str, after: str | None) -> Subscription:
        wanted = None if after is None or after == BEGIN else _position(after)
        while True:
            log = self.open(run_id)
            with log.lock:
                if log.dropped:
                    continue
                log.touched_at = self.clock()
                if after is None:
                    position = log.first + len(log.events)
                elif wanted is None:
                    position = log.first
                else:
                    position = log.first + bisect_right(log.events, wanted, key=lambda event: _position(event.id))
            return MemorySubscription(self, run_id, log, position)

    def is_closed(self, run_id: str) -> bool:
        log = self._logs.get(run_id)
        return log is not None and log.expires_at is not None and log.expires_at > self.clock()

    def _sweep(self, now: float) -> None:
        """Remove some of the finished logs whose time is over, and now and then the abandoned open ones."""
        with self._lock:
            self._next_sweep = now + 1
            limit = self._max_bytes * _FINISHED_FULL_LOGS
            for queue in (self._finished, self._finished_resumable):
                for _ in range(100):
                    if not queue:
                        break
                    run_id, log = queue[0]
                    expired = log.expires_at is not None and log.expires_at <= now
                    if queue is self._finished and log.resumable and not expired:
                        # Marked after its end: it has longer to live.
                        self._finished_resumable.append(queue.popleft())
                        continue
                    if not expired and self._finished_weight <= limit:
                        break
                    queue.popleft()
                    self._finished_weight -= log.weight
                    log.weight = 0
                    if self._logs.get(run_id) is log:
                        del self._logs[run_id]
            if now >= self._next_search:
                self._next_search = now + max(self._ttl, 10)
                self._drop_abandoned(now)

    def _drop_abandoned(self, now: float) -> None:
        """Remove open logs that nobody has written to or read from for long: nobody will close them any more."""
        for run_id, log in list(self._logs.items()):
            with log.lock:
                keeps = bool(log.events) or log.resumable
                idle = now - log.touched_at
                if log.closed or log.waiting or idle < (self._abandoned_after if keeps else self._ttl):
                    continue
                log.dropped = True
                del self._logs[run_id]


def _position(event_id: str) -> tuple[int, int]:
    ms, dash, n = event_id.partition("-")
    if not (dash and ms.isascii() and ms.isdigit() and n.isascii() and n.isdigit()):
        raise ValueError(f"{event_id!r} is not an event id")
    return int(ms), int(n)


@cache
def event_log() -> EventLog:
    """The event log of this process."""
    return MemoryEventLog(
        max_bytes=settings.EVENT_LOG_MAX_BYTES,
        ttl=settings.EVENT_TTL_SECONDS,
        resumable_ttl=settings.EVENT_TTL_RESUMABLE_SECONDS,
        # No run works for longer than its time limit without an event or an end.
        abandoned_after=settings.RUN_TIME_LIMIT_SECONDS * settings.MAX_ATTEMPTS + settings.EVENT_TTL_RESUMABLE_SECONDS,
    )
