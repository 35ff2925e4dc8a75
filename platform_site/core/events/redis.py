"""The event logs of all processes, in Redis: written by workers, read by web processes.

What is appended is on its way when `append` returns; Redis has it a moment later, and everybody sees it in that order.
"""

import asyncio
import logging
from collections import deque
from typing import Self

from platform_site.core.events.interface import BEGIN, Event, EventsLost, FeedReader
from platform_site.core.events.memory_log import position_of
from platform_site.core.events.redis_budget import StreamBudget
from platform_site.core.events.redis_reader import (
    GONE,
    MAX_BYTES,
    OLDEST,
    Entry,
    RedisReader,
    StreamReader,
    before,
    number,
)
from platform_site.core.redis.link import PREFIX, RedisLink
from platform_site.core.redis.scripts import (
    BEGIN_ATTEMPT,
    CLOSE,
    DISCARD,
    END_FEED,
    PLACES,
    POST,
    entry_of,
    event_id,
    pack,
    unpack,
)
from platform_site.core.redis.writer import Known, Lines, RedisWriter
from platform_site.core.wire import keep

logger = logging.getLogger("switchyard.redis")

# What an entry counts at the least: those of single tokens take more room in Redis than their bytes.
_ENTRY_BYTES = 1000
# How long an end is kept at the least, for those who wait for it.
_SHORTEST_MS = 5_000
# How long a feed that was ended is kept, for its readers to learn of it.
_ENDED_MS = 60_000
# What all streams hold in Redis at the most where nobody has given a bound.
_STREAMS_BYTES = 512_000_000
# The place of a reader that has not begun to read, and of one that wants the log from its very beginning.
_NOWHERE = (0, -1)
_START = (0, 0)


def stream_key(run_id: str) -> str:
    """The stream that holds a run's log."""
    return f"{PREFIX}run:{run_id}"


def state_key(run_id: str) -> str:
    """What is known of a run's log beside its events."""
    return f"{PREFIX}run:{run_id}:state"


def feed_key(feed: str) -> str:
    """The stream that names a feed's runs."""
    return f"{PREFIX}feed:{feed}"


class RedisEventLog:
    """The `EventLog` of scale mode."""

    def __init__(
        self,
        link: RedisLink,
        writer: RedisWriter,
        *,
        max_bytes: int,
        ttl: float,
        resumable_ttl: float,
        abandoned_after: float,
        streams_bytes: int = _STREAMS_BYTES,
        memory_bytes: int = MAX_BYTES,
    ) -> None:
        """`streams_bytes` bounds all logs in Redis, `memory_bytes` what waits for readers in this process."""
        self.link = link
        self.reader = RedisReader(link, memory_bytes)
        self.writer = writer
        self._max_bytes = max_bytes
        self._max_entries = max(max_bytes // _ENTRY_BYTES, 100)
        self.ttl_ms = max(int(ttl * 1000), _SHORTEST_MS)
        self._resumable_ms = max(int(resumable_ttl * 1000), _SHORTEST_MS)
        self._open_ms = int(abandoned_after * 1000)
        # Of the runs that this process works on: where their events go, and their feed.
        self._lines: dict[str, Lines] = {}
        self._feeds: dict[str, str] = {}
        self.commands = link.client()
        self.budget = StreamBudget(link, self.commands, streams_bytes)
        writer.on_streams_bytes = self.budget.seen

    @property
    def held_bytes(self) -> int:
        """The bytes that this process holds: for its readers, and for a Redis that has not taken them yet."""
        return self.reader.held_bytes + self.writer.held_bytes

    @property
    def budget_bytes(self) -> int:
        """The most that `held_bytes` may be for readers, and for Redis as much again while it is away."""
        return self.reader.max_bytes

    async def streams_bytes(self) -> int:
        """Return the bytes that all logs hold in Redis, those of all processes."""
        return await self.budget.held()

    @property
    def streams_budget(self) -> int:
        """The most that all logs may hold in Redis."""
        return self.budget.budget

    # --- Writing --------------------------------------------------------------------------------------

    def begin(self, run_id: str, feed: str | None, *, attempt: int = 1, resumable: bool = False) -> None:
        lines = self._lines[run_id] = self._lines_of(run_id, attempt, resumable=resumable)
        if feed is not None:
            self._feeds[run_id] = feed
        self.writer.call(
            BEGIN_ATTEMPT,
            self._keys(run_id, feed),
            [attempt, int(resumable), max(self._open_ms, 1), run_id, self.writer.name, self._max_bytes],
            lines,
        )

    def append(self, run_id: str, name: str, data: bytes) -> None:
        lines = self._lines.get(run_id) or self._lines_of(run_id, 1)
        self.writer.append(lines, name, data)

    def close(self, run_id: str, outcome: bytes) -> None:
        lines = self._lines.pop(run_id, None) or self._lines_of(run_id, 1)
        feed = self._feeds.pop(run_id, None)
        lives = self.ttl_ms, self._resumable_ms
        self.writer.call(
            CLOSE,
            self._keys(run_id, feed),
            [lines.attempt, outcome, *lives, self.writer.name, run_id, self._max_bytes, int(lines.resumable)],
            lines,
        )

    def pause(self, run_id: str) -> None:
        self._lines.pop(run_id, None)
        self._feeds.pop(run_id, None)

    def leave(self, run_id: str, name: str, data: bytes, outcome: bytes) -> None:
        # Another process serves its readers.
        self.pause(run_id)

    def discard(self, run_id: str) -> None:
        self._lines.pop(run_id, None)
        self._feeds.pop(run_id, None)
        self.writer.call(DISCARD, self._keys(run_id, None), [self.ttl_ms])

    def close_all(self, name: str, data: bytes, outcome: bytes) -> None:
        for reader in self.reader.readers():
            reader.end((name, data, outcome))

    def _lines_of(self, run_id: str, attempt: int, *, resumable: bool = False) -> Lines:
        bounds = self._max_entries, self._max_bytes, self._open_ms
        earlier = self._lines.get(run_id)
        known = Known() if earlier is None else earlier.known
        return Lines(stream_key(run_id), state_key(run_id), attempt, *bounds, resumable, known)

    def _keys(self, run_id: str, feed: str | None) -> list[str]:
        keys = [stream_key(run_id), state_key(run_id)]
        return [*keys, feed_key(feed)] if feed is not None else keys

    # --- Reading --------------------------------------------------------------------------------------

    def subscribe(self, run_id: str, after: str | None) -> "RedisSubscription":
        return self.subscription(run_id, after)

    def subscription(
        self, run_id: str, after: str | None, *, wants_all: bool = False, may_be_gone: bool = False
    ) -> "RedisSubscription":
        """A reader as `RedisSubscription` describes it."""
        return RedisSubscription(self.reader, run_id, after, wants_all=wants_all, may_be_gone=may_be_gone)

    def withdraw(self, run_id: str) -> None:
        # A subscription begins when it is entered.
        pass

    def awaited_runs(self) -> dict[str, set[str | None]]:
        """The runs that somebody in this process waits for, each with how far its readers are."""
        prefix = stream_key("")
        places: dict[str, set[str | None]] = {}
        for reader in self.reader.readers():
            if reader.key.startswith(prefix):
                places.setdefault(reader.key.removeprefix(prefix), set()).add(reader.after)
        return places

    def end_here(self, run_id: str, outcome: bytes | None) -> None:
        """End this process's readers of a run whose end never reached Redis, or was lost there."""
        for reader in self.reader.readers():
            if reader.key == stream_key(run_id):
                reader.end(("", b"", None if outcome is None else keep(outcome)))

    async def is_closed(self, run_id: str) -> bool:
        return await asyncio.wrap_future(self.link.submit(self._is_closed(run_id)))

    async def _is_closed(self, run_id: str) -> bool:
        closed, gone = await self.commands.hmget(state_key(run_id), "closed", "gone")
        return bool(closed and not gone)

    # --- Feeds ----------------------------------------------------------------------------------------

    def post(self, feed: str, name: str, data: bytes) -> None:
        self.writer.call(POST, [feed_key(feed)], [pack(name, data), self.ttl_ms, self._max_bytes])

    def has_followers(self, feed: str) -> bool:
        # They may be in any process.
        return True

    def follow(self, feed: str, after: str | None) -> FeedReader:
        if after is not None and after != BEGIN:
            position_of(after)
        from platform_site.core.events.redis_feeds import RedisFeedSubscription

        return RedisFeedSubscription(self, feed, after)

    def end_feed(self, feed: str) -> None:
        self.writer.call(END_FEED, [feed_key(feed)], [_ENDED_MS])


class RedisSubscription:
    """A reader's place in the log of one run. Enter it before it is read."""

    def __init__(
        self, reader: RedisReader, run_id: str, after: str | None, *, wants_all: bool = False, may_be_gone: bool = False
    ) -> None:
        """With `wants_all`, a reader from the beginning is told what is not kept of it; `may_be_gone` has it look first
        whether the log is there, as a reader after an event always does."""
        self.run_id = run_id
        self.outcome: bytes | None = None
        # The id of the log's end, once it is reached.
        self.end_id = ""
        self._closed = False
        self._after = _START if wants_all else _NOWHERE
        place: str | None = OLDEST
        if after is None:
            place = None
        elif after != BEGIN:
            self._after = position_of(after)
            # The entry of that event may hold later ones.
            place = before(entry_of(*self._after)[0])
        self._reader = reader
        self._stream = StreamReader(reader, stream_key(run_id), place)
        self._stream.may_be_gone |= may_be_gone
        # Fetched, and not told yet.
        self._entries: deque[Entry] = deque()
        self._is_told_of_lost_end = False

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stream.__aexit__(*exc)

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, as opposed to this process."""
        return bool(self.end_id)

    async def batch(self, timeout: float | None) -> list[Event] | None:
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while not self._closed:
            if not self._entries:
                entries = await self._stream.entries(deadline)
                if entries is None:
                    return self._last_words()
                if not entries:
                    return []
                self._entries.extend(entries)
                self._skip_newest()
            if (missed := self._missed(*self._entries[0])) is not None:
                resumable = await self._is_resumable()
                self._after = missed
                raise EventsLost(id_of(missed), resumable=resumable)
            if events := self._events():
                return events
        return None

    def _skip_newest(self) -> None:
        """A reader of now gets the newest entry once more, for the end that it may be: it has had its events."""
        if self._after == _NOWHERE and self._stream.newest is not None:
            self._after = position_of(event_id(self._stream.newest, PLACES - 1))

    def _missed(self, entry: str, fields: dict[bytes, bytes]) -> tuple[int, int] | None:
        """The place up to which events are not kept, if this reader lacks any before this entry."""
        start = before_events(entry)
        if self._after == _NOWHERE or self._after >= start or b"x" in fields:
            return None
        if b"g" in fields or (b"q" not in fields and self._after != _START):
            # What came before was given up by its writer, or the log was begun anew after Redis had lost it.
            return start
        if b"q" not in fields:
            return None
        last = position_of(fields[b"q"].decode())
        return last if last > self._after else None

    async def _is_resumable(self) -> bool:
        asked = self._reader.link.submit(self._reader.is_resumable(self._stream.key))
        return await asyncio.wrap_future(asked)

    def _events(self) -> list[Event]:
        """What was fetched, up to the end or the next gap."""
        events: list[Event] = []
        while self._entries and self._missed(*self._entries[0]) is None:
            entry, fields = self._entries.popleft()
            if (packed := fields.get(b"e")) is not None:
                events += self._unpacked(entry, packed)
            elif b"b" in fields:
                self._after = max(self._after, position_of(event_id(entry, 0)))
            elif b"c" in fields or b"x" in fields or GONE in fields:
                self._closed, self.outcome, self.end_id = True, fields.get(b"c"), event_id(entry, 0)
                break
        return events

    def _unpacked(self, entry: str, packed: bytes) -> list[Event]:
        found = [Event(event_id(entry, place), name, data) for place, (name, data) in enumerate(unpack(packed))]
        if found and position_of(found[0].id) <= self._after:
            found = [event for event in found if position_of(event.id) > self._after]
        if found:
            self._after = position_of(found[-1].id)
        return found

    def _last_words(self) -> list[Event] | None:
        words = self._stream.last_words
        if words is not None and not words[0] and not self._is_told_of_lost_end:
            # The end is known, but what the log held before it is not.
            self._is_told_of_lost_end = True
            reached = position_of(event_id(self._stream.after or OLDEST, PLACES - 1))
            raise EventsLost(id_of(max(reached, self._after)), resumable=False)
        self._closed = True
        if words is None:
            return None
        name, data, self.outcome = words
        # After everything that this reader has had.
        return [Event(event_id(self._stream.after or OLDEST, PLACES - 1), name, data)] if name else None


def id_of(position: tuple[int, int]) -> str:
    """A position as an event id."""
    return "{}-{}".format(*position)


def before_events(entry: str) -> tuple[int, int]:
    """The place right before an entry's events. No millisecond has a million entries."""
    ms, n = number(entry)
    return (ms, n * PLACES - 1) if n else (ms - 1, 1_000_000 * PLACES)
