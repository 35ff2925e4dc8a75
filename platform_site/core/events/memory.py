"""The event logs of one process, in its memory.

Events are appended on the run loop's thread and read on the HTTP server's loop.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable

from platform_site.core.background.rounds import Task
from platform_site.core.events.interface import BEGIN, FeedReader, Subscription, check_place
from platform_site.core.events.memory_budget import Budget, cut_level
from platform_site.core.events.memory_feeds import Feeds
from platform_site.core.events.memory_log import LOG_OVERHEAD, Log, MemorySubscription
from platform_site.core.telemetry import metrics, process_memory
from platform_site.core.wire import keep

# How long a log without events is kept at least: it may be that of a run which is just being made.
_BIRTH_SECONDS = 10
# How often logs are looked at where nobody uses any. What they have freed goes back to the system as late as that.
_EXPIRY_SECONDS = 60.0
# A budget where nobody names one.
_BUDGET_BYTES = 128_000_000
# A round that gave memory back is followed by a pause at least as long as this.
_PAUSE_AFTER_SECONDS = 10.0


def event_tasks(log: "MemoryEventLog", give_back: Callable[[], None] = process_memory.give_back) -> list[Task]:
    """Return the background task that removes logs whose time is over, also where nobody uses any.

    Where the logs have freed much, the task has the C library give memory back to the system, at most once a round.
    """
    metrics.EVENT_LOGS.set_function(lambda: log.kept)

    async def expire() -> float:
        pause = max(1.0, log.expire())
        if log.has_freed_much():
            # On a thread of its own: this takes milliseconds, during which the loop goes on.
            await asyncio.to_thread(give_back)
            pause = max(pause, _PAUSE_AFTER_SECONDS)
        return pause

    return [Task("events", expire, _EXPIRY_SECONDS)]


class MemoryEventLog:
    """Event logs in this process's memory.

    A log holds at most `max_bytes`, its newest event excepted; older events are dropped first. Finished logs are kept
    for `ttl` or `resumable_ttl` seconds. Each use clears away a part of what has expired, `expire` all of it.

    All logs together hold at most `budget` bytes, and the event that was just appended. Should they hold more, finished
    logs that nobody reads go first, the oldest first, those of resumable runs after all others. They also go when
    finished logs hold more than half of the budget. What is then still too much is cut from the oldest events of the
    largest logs. A log that has gone is not there for those who come later;
    who has a place in it is told that events are lost, and still gets its outcome.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        ttl: float,
        resumable_ttl: float,
        abandoned_after: float,
        budget: int = _BUDGET_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._budget = Budget(budget)
        self._granule = self._budget.granule
        self._max_bytes = min(max_bytes, budget)
        self._ttl = ttl
        self._resumable_ttl = resumable_ttl
        self._abandoned_after = abandoned_after
        self._logs: dict[str, Log] = {}
        # Guards the dictionary's changes and what follows. Taken before the feeds' lock and a log's, never inside one.
        self._lock = threading.Lock()
        self._feeds = Feeds(self._subscription)
        # Finished logs in the order in which they expire.
        self._finished: deque[tuple[str, Log]] = deque()
        self._finished_resumable: deque[tuple[str, Log]] = deque()
        # Logs that are not there for anybody else, but still read by those who came in time.
        self._read_on: list[Log] = []
        self._next_sweep = 0.0
        self._next_search = clock() + max(ttl, 10)

    def append(self, run_id: str, name: str, data: bytes) -> None:
        while True:
            log = self._logs.get(run_id) or self.open(run_id)
            with log.lock:
                if log.dropped:
                    continue
                if log.closed:
                    return
                log.add(name, data, self._max_bytes)
                log.touched_at = self.clock()
                waiting = log.waiting
                if waiting:
                    log.waiting = []
                is_due = abs(log.size + LOG_OVERHEAD - log.counted) > self._granule
            for waiter in waiting:
                waiter.wake()
            if is_due:
                self._count(run_id, log)
            if log.touched_at >= self._next_sweep:
                self._sweep(log.touched_at)
            return

    def open(self, run_id: str) -> Log:
        """Return the log of the run, begun if there is none or only an expired one."""
        now = self.clock()
        with self._lock:
            log = self._logs.get(run_id)
            if log is not None and log.expires_at is not None and log.expires_at <= now:
                self._feeds.forget(run_id, log)
                log = None
            return log or self._made(run_id, Log(now))

    def _made(self, run_id: str, log: Log) -> Log:
        """Put a new log in the run's place. The caller holds the lock."""
        # Before others find it.
        self._budget.count(log)
        self._logs[run_id] = log
        return log

    def _mark_resumable(self, run_id: str) -> None:
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
        self._end(run_id, outcome)

    def pause(self, run_id: str) -> None:
        # The log is open, and the next attempt is made in this process.
        pass

    def leave(self, run_id: str, name: str, data: bytes, outcome: bytes) -> None:
        self.append(run_id, name, data)
        self._end(run_id, outcome, done=False)

    def close_all(self, name: str, data: bytes, outcome: bytes) -> None:
        for run_id in list(self._logs):
            self.leave(run_id, name, data, outcome)
        self._feeds.end_all(name, data)

    def discard(self, run_id: str) -> None:
        # The log stays, closed and empty, for its time: a late event of the deleted run meets it and is ignored.
        self._end(run_id, None, forget=True)

    def _end(self, run_id: str, outcome: bytes | None, *, done: bool = True, forget: bool = False) -> None:
        now = self.clock()
        with self._lock:
            log = self._logs.get(run_id) or self._made(run_id, Log(now))
            with log.lock:
                newly = not log.closed
                if newly:
                    log.closed, log.done = True, done
                    log.end_id = log.next_id()
                    log.outcome = None if outcome is None else keep(outcome)
                    log.expires_at = now + (self._resumable_ttl if log.resumable else self._ttl)
                if forget:
                    log.discard()
                self._budget.count(log)
                waiting, log.waiting = log.waiting, []
            if newly:
                (self._finished_resumable if log.resumable else self._finished).append((run_id, log))
            if self._budget.held > self._budget.limit or self._budget.finished > self._budget.finished_limit:
                self._cut(log)
        for waiter in waiting:
            waiter.wake()
        self._sweep(now)

    def subscribe(self, run_id: str, after: str | None) -> Subscription:
        check_place(after)
        while True:
            log = self.open(run_id)
            with log.lock:
                if log.dropped:
                    continue
                log.touched_at = self.clock()
                return self._subscription(run_id, log, log.position(after), begun=after != BEGIN)

    def _subscription(self, run_id: str, log: Log, position: int, *, begun: bool) -> MemorySubscription:
        return MemorySubscription(log, position, lambda: self.open(run_id), self.clock, begun=begun)

    def withdraw(self, run_id: str) -> None:
        with self._lock:
            log = self._logs.get(run_id)
            if log is not None and not log.closed and not log.end:
                self._remove(run_id, log)

    async def is_closed(self, run_id: str) -> bool:
        log = self._logs.get(run_id)
        return log is not None and log.expires_at is not None and log.expires_at > self.clock()

    # --- Feeds ----------------------------------------------------------------------------------------

    def begin(self, run_id: str, feed: str | None, *, attempt: int = 1, resumable: bool = False) -> None:
        self._make_live(run_id)
        if resumable:
            self._mark_resumable(run_id)
        if feed is not None:
            self._feeds.add(feed, run_id, self.open(run_id))

    def _make_live(self, run_id: str) -> None:
        """Put a new log in the place of one that an earlier attempt has left; its readers have been told and are gone.

        The log of a run that has ended, or was deleted, stays closed.
        """
        log = self._logs.get(run_id)
        if log is None or not log.closed or log.done:
            return
        with self._lock:
            if self._logs.get(run_id) is log:
                self._feeds.forget(run_id, log)
                self._made(run_id, Log.after(log, self.clock()))

    def post(self, feed: str, name: str, data: bytes) -> None:
        if not self._feeds.has_followers(feed):
            return
        # A log of its own, with the lifetime of any other.
        own = f"{feed}#{self._feeds.next_number()}"
        self._feeds.add(feed, own, self.open(own), is_run=False)
        self.append(own, name, data)
        self._end(own, b"", done=False)

    def has_followers(self, feed: str) -> bool:
        return self._feeds.has_followers(feed)

    def follow(self, feed: str, after: str | None) -> FeedReader:
        check_place(after)
        return self._feeds.follow(feed, after)

    def end_feed(self, feed: str) -> None:
        self._feeds.end(feed)

    # --- Bounds ---------------------------------------------------------------------------------------

    @property
    def kept(self) -> int:
        """How many logs there are."""
        return len(self._logs)

    @property
    def budget_bytes(self) -> int:
        """How many bytes all logs together may hold."""
        return self._budget.bytes

    @property
    def held_bytes(self) -> int:
        """How many bytes all logs together hold: events, outcomes and what keeps them.

        The newest events of an open log may be missing in it, eight kilobytes at most.
        """
        return self._budget.held

    def has_freed_much(self) -> bool:
        """Return whether giving memory back to the system is worth it since the last time that it was."""
        with self._lock:
            return self._budget.has_freed_much()

    def _count(self, run_id: str, log: Log) -> None:
        """Tell the budget how much a log has grown, and cut the logs if all of them hold too much."""
        with self._lock:
            with log.lock:
                if log.dropped or self._logs.get(run_id) is not log:
                    return
                self._budget.count(log)
            if self._budget.held > self._budget.limit:
                self._cut(log)

    def _cut(self, growing: Log) -> None:
        """Free a part of the budget: a cut costs at most a look at all logs, and pays for thousands of appends.

        The newest event of the log that is `growing` stays: its readers have not had it.
        """
        budget = self._budget
        # Where only finished logs hold too much, the others keep what they have.
        target = budget.target if budget.held > budget.limit else budget.bytes
        self._cut_finished(target, growing)
        if budget.held > target:
            self._cut_largest(growing)
        budget.was_cut()

    def _cut_finished(self, target: int, growing: Log | None) -> None:
        """Give up finished logs that nobody reads until the budget holds, the oldest first."""
        budget = self._budget
        for queue in (self._finished, self._finished_resumable):
            stay: list[tuple[str, Log]] = []
            while queue and (budget.held > target or budget.finished > budget.finished_target):
                run_id, log = queue.popleft()
                if log is growing or _is_read(log):
                    stay.append((run_id, log))
                elif log.resumable and queue is self._finished:
                    self._finished_resumable.append((run_id, log))
                else:
                    self._give_up(run_id, log)
            queue.extendleft(reversed(stay))

    def _cut_what_was_read(self) -> None:
        """Cut finished logs that only their readers had kept from being cut, once these readers have gone.

        The budget then holds again, also if no run goes on. Open logs are left to their next event.
        """
        with self._lock:
            if self._budget.held > self._budget.bytes:
                self._cut_finished(self._budget.target, None)
            if self._budget.is_strained:
                self._budget.was_cut()

    def _give_up(self, run_id: str, log: Log) -> None:
        """Forget a finished log as a whole. Its outcome stays for those who have a place in it."""
        with log.lock:
            log.given_up = True
            log.cut(0)
            self._budget.count(log)
        self._remove(run_id, log)

    def _cut_largest(self, growing: Log) -> None:
        logs = {id(log): log for log in [*self._logs.values(), *self._read_on]}.values()
        for log in logs:
            with log.lock:
                self._budget.count(log)
        level = cut_level([log.counted for log in logs], self._budget.held - self._budget.target)
        for log in logs:
            if log.counted > level:
                with log.lock:
                    log.cut(max(log.size - (log.weight - level), 0), keeping=1 if log is growing else 0)
                    self._budget.count(log)

    def expire(self) -> float:
        """Forget all logs whose time is over and cut what was too much but read; return the seconds until the next."""
        now = self.clock()
        while self._sweep(now):
            # A part at a time: others append meanwhile.
            pass
        self._cut_what_was_read()
        with self._lock:
            finished = [queue[0][1].expires_at for queue in (self._finished, self._finished_resumable) if queue]
            return min([self._next_search, *(end for end in finished if end is not None)]) - now

    def _sweep(self, now: float) -> bool:
        """Remove some of the finished logs whose time is over, and now and then the abandoned open ones.

        Return whether more may be left.
        """
        more = False
        with self._lock:
            self._next_sweep = now + 1
            self._let_go_of_read()
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
                    if not expired:
                        break
                    queue.popleft()
                    self._remove(run_id, log)
                else:
                    more = True
            if now >= self._next_search:
                self._next_search = now + max(self._ttl, 10)
                self._drop_abandoned(now)
        return more

    def _drop_abandoned(self, now: float) -> None:
        """Remove open logs that nobody has written to or read from for long: nobody will close them any more."""
        for run_id, log in list(self._logs.items()):
            with log.lock:
                keeps = bool(log.datas) or log.resumable
                idle = now - log.touched_at
                longest = self._abandoned_after if keeps else max(self._ttl, _BIRTH_SECONDS)
                if log.closed or log.waiting or idle < longest:
                    continue
                log.dropped = True
            self._remove(run_id, log)

    def _remove(self, run_id: str, log: Log) -> None:
        """Let go of a log. It counts for as long as somebody reads it."""
        self._feeds.forget(run_id, log)
        if self._logs.get(run_id) is log:
            del self._logs[run_id]
        if _is_read(log):
            self._read_on.append(log)
        else:
            self._budget.release(log)

    def _let_go_of_read(self) -> None:
        """Release the logs whose last reader has gone."""
        still_read = []
        for log in self._read_on:
            if _is_read(log):
                still_read.append(log)
            else:
                self._budget.release(log)
        self._read_on = still_read


def _is_read(log: Log) -> bool:
    with log.lock:
        return log.is_read()
