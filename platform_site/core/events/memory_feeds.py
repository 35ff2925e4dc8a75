"""Feeds in memory: the logs of a thread's runs in the order in which they began, and readers of all of them.

A feed copies nothing: its readers read the logs themselves, one after the other. So an event costs a run the same
whether its thread is followed or not, and a reader that does not keep up finds what the logs still hold.
"""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol, Self

from platform_site.core.events.interface import BEGIN, END, Event, EventsLost
from platform_site.core.events.memory_log import Log, MemorySubscription, id_text, packed_id
from platform_site.core.events.waiting import Waiter

# Of so many feeds that nothing is kept of, it is known what they have lost.
_REMEMBERED = 1000


class Subscribe(Protocol):
    """Makes a reader of a run's log from an absolute position on."""

    def __call__(self, run_id: str, log: Log, position: int, *, begun: bool) -> MemorySubscription: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A log in its feed. Numbers increase over all feeds."""

    number: int
    name: str
    log: Log
    is_run: bool


class Reading(NamedTuple):
    """A reader's place in one log of its feed."""

    entry: Entry
    subscription: MemorySubscription


class Feed:
    """What is kept of one feed, and who follows it."""

    __slots__ = ("ended", "entries", "followers", "last", "last_words", "lost", "lost_number", "waiting")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.followers = 0
        self.waiting: list[Waiter] = []
        self.ended = False
        # The newest log that is not kept any more, as the number of its entry, and the newest id of resumable runs that
        # are not kept any more.
        self.lost_number = 0
        self.lost = 0
        # The newest id of all logs that are not kept any more: later ones come after it, whatever the clock shows.
        self.last = 0
        # What followers are told before the end, unless their run has told them.
        self.last_words: Event | None = None

    def after(self, number: int) -> Iterator[Entry]:
        """Return the entries behind `number`, in order."""
        behind = []
        for entry in reversed(self.entries.values()):
            if entry.number <= number:
                break
            behind.append(entry)
        return reversed(behind)

    def last_id(self) -> int:
        """Return the newest id of the newest log, or of those that are not kept any more."""
        if not self.entries:
            return self.last
        log = next(reversed(self.entries.values())).log
        with log.lock:
            return max(log.last, self.last)

    def remove(self, entry: Entry) -> None:
        """Remove an entry, and remember what readers lose with it."""
        del self.entries[entry.name]
        log = entry.log
        with log.lock:
            self.last = max(self.last, log.last)
            if log.discarded or not (log.end or log.done):
                return
            self.lost_number = max(self.lost_number, entry.number)
            if entry.is_run and log.resumable:
                self.lost = max(self.lost, log.told_last)


class Feeds:
    """All feeds of a process. Its lock is taken before a log's, never inside one."""

    def __init__(self, subscribe: Subscribe) -> None:
        self.lock = threading.Lock()
        self.subscribe = subscribe
        self._feeds: dict[str, Feed] = {}
        # What feeds have lost of which nothing is kept, those that were used last.
        self._lost: dict[str, int] = {}
        self._numbers = count(1)
        self._newest = 0

    def next_number(self) -> int:
        return next(self._numbers)

    def add(self, name: str, run_id: str, log: Log, *, is_run: bool = True) -> None:
        """Put a log at the end of its feed; one that is there already stays where it is."""
        with self.lock:
            feed = self._feed(name)
            known = feed.entries.get(run_id)
            if known is not None and known.log is log:
                return
            last = feed.last_id()
            with log.lock:
                # Ids increase over the whole feed, even where two runs share a millisecond.
                log.last = max(last, log.last)
                log.feed = name
            self._newest = self.next_number()
            feed.entries[run_id] = Entry(self._newest, run_id, log, is_run)
            waiting, feed.waiting = feed.waiting, []
        for waiter in waiting:
            waiter.wake()

    def forget(self, run_id: str, log: Log) -> None:
        """Remove a log that is not kept any longer from its feed."""
        if log.feed is None:
            return
        with self.lock:
            feed = self._feeds.get(log.feed)
            known = feed.entries.get(run_id) if feed else None
            if feed is not None and known is not None and known.log is log:
                feed.remove(known)
                self._remove_empty(log.feed, feed)

    def _remove_empty(self, name: str, feed: Feed) -> None:
        if not feed.entries and not feed.followers and self._feeds.get(name) is feed:
            del self._feeds[name]
            if feed.lost:
                self._lost[name] = feed.lost
                if len(self._lost) > _REMEMBERED:
                    del self._lost[next(iter(self._lost))]

    def has_followers(self, name: str) -> bool:
        feed = self._feeds.get(name)
        return feed is not None and feed.followers > 0

    def follow(self, name: str, after: str | None) -> "FeedSubscription":
        """Return a reader from `after` on, which is known to be a position."""
        with self.lock:
            feed = self._feeds.get(name)
            current: list[Reading] = []
            for entry in feed.entries.values() if feed else ():
                with entry.log.lock:
                    if not entry.log.closed:
                        now = self.subscribe(entry.name, entry.log, entry.log.end, begun=True)
                        current.append(Reading(entry, now))
            return FeedSubscription(self, name, after, self._newest, current)

    def enter(self, name: str) -> Feed:
        with self.lock:
            feed = self._feed(name)
            feed.followers += 1
            return feed

    def _feed(self, name: str) -> Feed:
        feed = self._feeds.get(name)
        if feed is None:
            feed = self._feeds[name] = Feed()
            feed.last = feed.lost = self._lost.pop(name, 0)
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
            self._end(feed, Event(id_text(feed.last_id() + 1), name, data))

    def _end(self, feed: Feed, last_words: Event | None) -> None:
        with self.lock:
            feed.ended, feed.last_words = True, last_words
            waiting, feed.waiting = feed.waiting, []
        for waiter in waiting:
            waiter.wake()


class FeedSubscription:
    """A reader of one feed: a `Subscription` to the logs of its runs, one after the other."""

    outcome: bytes | None = None

    def __init__(self, feeds: Feeds, name: str, after: str | None, joined: int, current: list[Reading]) -> None:
        """Begin behind the entry `joined`. `current` are readers, from then on, of the logs that were open."""
        self._feeds = feeds
        self._name = name
        self._joined = joined
        self._current = {reading.entry.name: reading for reading in current}
        self._after = after
        # Where the logs began that were kept when a reader from the beginning came.
        self._begins: dict[str, int] = {}
        # The newest id that the reader has, or that it knows to be lost, and the newest lost entry that it knows of.
        self._place = 0
        self._known_lost = 0
        self._seen = 0 if after is not None or current else joined
        self._feed: Feed | None = None
        self._reading: Reading | None = None
        self._was_told = False

    async def locate(self) -> None:
        """Do nothing: an in-memory reader fixes its place when it is created."""

    async def __aenter__(self) -> Self:
        self._feed = self._feeds.enter(self._name)
        self._settle(self._feed)
        return self

    def _settle(self, feed: Feed) -> None:
        """Settle from where on events are wanted: the beginning is the oldest event that is kept."""
        with self._feeds.lock:
            if self._after is None:
                self._place = feed.last_id()
            elif self._after == BEGIN:
                self._place = feed.lost
                self._begins = {entry.name: entry.log.first for entry in feed.entries.values()}
            else:
                self._place = packed_id(self._after)

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
                    self._has_read(entry.log.end_id)
                    return [Event(id_text(entry.log.end_id), END, entry.name.encode())]
                continue
            if events:
                self._has_read(packed_id(events[-1].id))
            elif self._is_overtaken(entry):
                # Its process has lost it: nobody here will end it, and its thread has gone on.
                self._reading = None
            return events

    def _has_read(self, event_id: int) -> None:
        self._place = max(self._place, event_id)

    def _advance(self) -> Waiter | None:
        """Go on to the next log. Return a waiter if there is none yet, and None at the feed's end.

        Raise `EventsLost` if a log that was to be read is not kept any more.
        """
        feed = self._feed
        assert feed is not None
        with self._feeds.lock:
            self._look_for_losses(feed)
            self._reading = self._gone_since(feed)
            for entry in feed.after(self._seen) if self._reading is None else ():
                self._seen = entry.number
                self._reading = self._reader(entry)
                if self._reading is not None:
                    break
            if self._reading is not None:
                return None
            if feed.ended:
                return None
            waiter = Waiter()
            feed.waiting.append(waiter)
            return waiter

    def _look_for_losses(self, feed: Feed) -> None:
        # Of the runs that began since it came, a reader wants each, of those before only later ones of resumable runs.
        is_new = feed.lost_number > max(self._joined, self._seen, self._known_lost)
        is_replayed = feed.lost > self._place and self._after is not None and self._seen < self._joined
        if is_new or is_replayed:
            resumable = feed.lost > self._place
            self._known_lost, self._place = feed.lost_number, max(self._place, feed.lost)
            raise EventsLost(id_text(self._place), resumable=resumable)

    def _gone_since(self, feed: Feed) -> Reading | None:
        """Return the log that was open when this reader came, if the feed does not have that log any more."""
        for name, reading in self._current.items():
            known = feed.entries.get(name)
            if known is None or known.log is not reading.entry.log:
                return self._current.pop(name)
        return None

    def _reader(self, entry: Entry) -> Reading | None:
        """Return where to begin in a log, or None if this reader wants nothing of it."""
        log = entry.log
        with log.lock:
            if entry.number > self._joined:
                return Reading(entry, self._feeds.subscribe(entry.name, log, 0, begun=True))
            current = self._current.pop(entry.name, None)
            if self._after is None or not log.resumable or not entry.is_run:
                return current
            if self._after == BEGIN:
                position = self._begins.get(entry.name, 0)
            elif log.closed and log.end_id <= packed_id(self._after):
                return None
            else:
                position = log.position(self._after)
            return Reading(entry, self._feeds.subscribe(entry.name, log, position, begun=True))

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
            return any(later.is_run and later.log.datas for later in self._feed.after(entry.number))
