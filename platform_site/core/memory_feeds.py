"""Feeds in memory: the logs of a thread's runs in the order in which they began, and readers of all of them.

A feed copies nothing: its readers read the logs themselves, one after the other. So an event costs a run the same
whether its thread is followed or not, and a reader that does not keep up finds what the logs still hold.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Self

from platform_site.core.events import BEGIN, END, Event
from platform_site.core.memory_log import Log, MemorySubscription, Waiter, position_of

Subscribe = Callable[[str, Log, int], MemorySubscription]


@dataclass(frozen=True, slots=True)
class Entry:
    """A log in its feed. Numbers increase over all feeds."""

    number: int
    name: str
    log: Log
    is_run: bool


class Feed:
    """What is kept of one feed, and who follows it."""

    __slots__ = ("ended", "entries", "followers", "last_words", "waiting")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.followers = 0
        self.waiting: list[Waiter] = []
        self.ended = False
        # What followers are told before the end, unless their run has told them.
        self.last_words: Event | None = None

    def after(self, number: int) -> Iterator[Entry]:
        """The entries behind `number`, in order."""
        behind = []
        for entry in reversed(self.entries.values()):
            if entry.number <= number:
                break
            behind.append(entry)
        return reversed(behind)

    def last_id(self) -> tuple[int, int]:
        """The newest id of the newest log."""
        if not self.entries:
            return 0, 0
        log = next(reversed(self.entries.values())).log
        with log.lock:
            return log.last_ms, log.last_n


class Feeds:
    """All feeds of a process. Its lock is taken before a log's, never inside one."""

    def __init__(self, subscribe: Subscribe) -> None:
        self.lock = threading.Lock()
        self.subscribe = subscribe
        self._feeds: dict[str, Feed] = {}
        self._numbers = count(1)
        self._newest = 0

    def next_number(self) -> int:
        return next(self._numbers)

    def add(self, name: str, run_id: str, log: Log, *, is_run: bool = True) -> None:
        """Put a log at the end of its feed; one that is there already stays where it is."""
        with self.lock:
            feed = self._feeds.get(name)
            if feed is None:
                feed = self._feeds[name] = Feed()
            known = feed.entries.get(run_id)
            if known is not None and known.log is log:
                return
            last = feed.last_id()
            with log.lock:
                # Ids increase over the whole feed, even where two runs share a millisecond.
                log.last_ms, log.last_n = max(last, (log.last_ms, log.last_n))
                log.feed = name
            self._newest = self.next_number()
            feed.entries[run_id] = Entry(self._newest, run_id, log, is_run)
            waiting, feed.waiting = feed.waiting, []
        for waiter in waiting:
            waiter.wake()

    def forget(self, run_id: str, log: Log) -> None:
        """The log is not kept any longer."""
        if log.feed is None:
            return
        with self.lock:
            feed = self._feeds.get(log.feed)
            known = feed.entries.get(run_id) if feed else None
            if feed is not None and known is not None and known.log is log:
                del feed.entries[run_id]
                self._remove_empty(log.feed, feed)

    def _remove_empty(self, name: str, feed: Feed) -> None:
        if not feed.entries and not feed.followers and self._feeds.get(name) is feed:
            del self._feeds[name]

    def has_followers(self, name: str) -> bool:
        feed = self._feeds.get(name)
        return feed is not None and feed.followers > 0

    def follow(self, name: str, after: str | None) -> "FeedSubscription":
        """A reader from `after` on, which is known to be a position."""
        with self.lock:
            feed = self._feeds.get(name)
            current: dict[str, MemorySubscription] = {}
            for entry in feed.entries.values() if feed else ():
                with entry.log.lock:
                    if not entry.log.closed:
                        current[entry.name] = self.subscribe(entry.name, entry.log, entry.log.position(None))
            return FeedSubscription(self, name, after, self._newest, current)

    def enter(self, name: str) -> Feed:
        with self.lock:
            feed = self._feeds.get(name)
            if feed is None:
                feed = self._feeds[name] = Feed()
            feed.followers += 1
            return feed

    def leave(self, name: str, feed: Feed) -> None:
        with self.lock:
            feed.followers -= 1
            self._remove_empty(name, feed)

    def end(self, name: str) -> None:
        """End the followers of one feed."""
        with self.lock:
            feed = self._feeds.pop(name, None)
        if feed is not None:
            self._end(feed, None)

    def end_all(self, name: str, data: bytes) -> None:
        """End all followers, with these last words."""
        with self.lock:
            feeds = list(self._feeds.values())
            self._feeds.clear()
        for feed in feeds:
            ms, n = feed.last_id()
            self._end(feed, Event(f"{ms}-{n + 1}", name, data))

    def _end(self, feed: Feed, last_words: Event | None) -> None:
        with self.lock:
            feed.ended, feed.last_words = True, last_words
            waiting, feed.waiting = feed.waiting, []
        for waiter in waiting:
            waiter.wake()


class FeedSubscription:
    """A reader of one feed: a `Subscription` to the logs of its runs, one after the other."""

    outcome: bytes | None = None

    def __init__(
        self, feeds: Feeds, name: str, after: str | None, joined: int, current: dict[str, MemorySubscription]
    ) -> None:
        """`joined`: the newest entry when it began; `current`: readers from then on of the logs that were open."""
        self._feeds = feeds
        self._name = name
        self._after = after
        self._joined = joined
        self._current = current
        self._seen = 0 if after is not None or current else joined
        self._feed: Feed | None = None
        self._reading: tuple[Entry, MemorySubscription] | None = None
        self._was_told = False

    async def locate(self) -> None:
        """It was when this was made."""

    async def __aenter__(self) -> Self:
        self._feed = self._feeds.enter(self._name)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._feed is not None
        self._feeds.leave(self._name, self._feed)

    async def batch(self, timeout: float | None) -> list[Event] | None:
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while True:
            if self._reading is None:
                waiter = self._advance()
                if waiter is not None:
                    if not await self._wait(waiter, deadline):
                        return []
                    continue
            if self._reading is None:
                return self._last_words()
            entry, subscription = self._reading
            events = await subscription.batch(timeout)
            if events is None:
                self._reading = None
                self._was_told = entry.is_run and not entry.log.done
                if entry.is_run and entry.log.done:
                    return [Event(entry.log.end_id, END, entry.name.encode())]
                continue
            if not events and self._is_overtaken(entry):
                # Its process has lost it: nobody here will end it, and its thread has gone on.
                self._reading = None
            return events

    def _advance(self) -> Waiter | None:
        """Go on to the next log. A waiter if there is none yet, nothing at all at the feed's end."""
        feed = self._feed
        assert feed is not None
        with self._feeds.lock:
            for entry in feed.after(self._seen):
                self._seen = entry.number
                subscription = self._reader(entry)
                if subscription is not None:
                    self._reading = entry, subscription
                    return None
            if feed.ended:
                return None
            waiter = Waiter()
            feed.waiting.append(waiter)
            return waiter

    def _reader(self, entry: Entry) -> MemorySubscription | None:
        """Where to begin in a log, if at all."""
        log = entry.log
        with log.lock:
            if entry.number > self._joined:
                return self._feeds.subscribe(entry.name, log, log.first)
            if self._after is None or not log.resumable or not entry.is_run:
                return self._current.pop(entry.name, None)
            if log.closed and self._after != BEGIN and position_of(log.end_id) <= position_of(self._after):
                return None
            return self._feeds.subscribe(entry.name, log, log.position(self._after))

    async def _wait(self, waiter: Waiter, deadline: float | None) -> bool:
        try:
            await waiter.wait(deadline)
        finally:
            feed = self._feed
            assert feed is not None
            with self._feeds.lock:
                silent = waiter in feed.waiting
                if silent:
                    feed.waiting.remove(waiter)
        return not silent

    def _last_words(self) -> list[Event] | None:
        feed = self._feed
        assert feed is not None
        words, was_told = feed.last_words, self._was_told
        self._was_told = True
        return None if words is None or was_told else [words]

    def _is_overtaken(self, entry: Entry) -> bool:
        assert self._feed is not None
        with self._feeds.lock:
            return any(later.is_run and later.log.events for later in self._feed.after(entry.number))
