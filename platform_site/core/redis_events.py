"""The event logs of all processes, in Redis: written by workers, read by web processes.

What is appended is on its way when `append` returns; Redis has it a moment later, and everybody sees it in that order.
"""

import asyncio
import logging
from typing import Self

from platform_site.core.events import BEGIN, Event, FeedReader
from platform_site.core.memory_log import position_of
from platform_site.core.redis_link import PREFIX, RedisLink
from platform_site.core.redis_reader import OLDEST, Entry, RedisReader, StreamReader, before
from platform_site.core.redis_scripts import (
    BEGIN_ATTEMPT,
    CLOSE,
    DISCARD,
    END_FEED,
    POST,
    entry_of,
    event_id,
    pack,
    unpack,
)
from platform_site.core.redis_writer import Lines, RedisWriter
from platform_site.core.wire import keep

logger = logging.getLogger("switchyard.redis")

# What an entry counts at the least: those of single tokens take more room in Redis than their bytes.
_ENTRY_BYTES = 1000
# How long an end is kept at the least, for those who wait for it.
_SHORTEST_MS = 5_000
# How long a feed that was ended is kept, for its readers to learn of it.
_ENDED_MS = 60_000


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
    ) -> None:
        self.link = link
        self.reader = RedisReader(link)
        self.writer = writer
        self._max_bytes = max_bytes
        self._max_entries = max(max_bytes // _ENTRY_BYTES, 100)
        self._ttl_ms = max(int(ttl * 1000), _SHORTEST_MS)
        self._resumable_ms = max(int(resumable_ttl * 1000), _SHORTEST_MS)
        self._open_ms = int(abandoned_after * 1000)
        # Of the runs that this process works on: where their events go, and their feed.
        self._lines: dict[str, Lines] = {}
        self._feeds: dict[str, str] = {}
        self.commands = link.client()

    # --- Writing --------------------------------------------------------------------------------------

    def begin(self, run_id: str, feed: str | None, *, attempt: int = 1, resumable: bool = False) -> None:
        self._lines[run_id] = self._lines_of(run_id, attempt)
        if feed is not None:
            self._feeds[run_id] = feed
        self.writer.call(
            BEGIN_ATTEMPT,
            self._keys(run_id, feed),
            [attempt, int(resumable), max(self._open_ms, 1), run_id, self.writer.name],
        )

    def append(self, run_id: str, name: str, data: bytes) -> None:
        lines = self._lines.get(run_id) or self._lines_of(run_id, 1)
        self.writer.append(lines, name, data)

    def close(self, run_id: str, outcome: bytes) -> None:
        lines, feed = self._lines.pop(run_id, None), self._feeds.pop(run_id, None)
        attempt = lines.attempt if lines else 1
        lives = self._ttl_ms, self._resumable_ms
        self.writer.call(CLOSE, self._keys(run_id, feed), [attempt, outcome, *lives, self.writer.name])

    def pause(self, run_id: str) -> None:
        self._lines.pop(run_id, None)
        self._feeds.pop(run_id, None)

    def leave(self, run_id: str, name: str, data: bytes, outcome: bytes) -> None:
        # Another process serves its readers.
        self.pause(run_id)

    def discard(self, run_id: str) -> None:
        self._lines.pop(run_id, None)
        self._feeds.pop(run_id, None)
        self.writer.call(DISCARD, self._keys(run_id, None), [self._ttl_ms])

    def close_all(self, name: str, data: bytes, outcome: bytes) -> None:
        for reader in self.reader.readers():
            reader.end((name, data, outcome))

    def _lines_of(self, run_id: str, attempt: int) -> Lines:
        return Lines(stream_key(run_id), state_key(run_id), attempt, self._max_entries, self._max_bytes, self._open_ms)

    def _keys(self, run_id: str, feed: str | None) -> list[str]:
        keys = [stream_key(run_id), state_key(run_id)]
        return [*keys, feed_key(feed)] if feed is not None else keys

    # --- Reading --------------------------------------------------------------------------------------

    def subscribe(self, run_id: str, after: str | None) -> "RedisSubscription":
        return RedisSubscription(self.reader, run_id, after)

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
        return bool(await self.commands.hexists(state_key(run_id), "closed"))

    # --- Feeds ----------------------------------------------------------------------------------------

    def post(self, feed: str, name: str, data: bytes) -> None:
        self.writer.call(POST, [feed_key(feed)], [pack(name, data), self._resumable_ms])

    def has_followers(self, feed: str) -> bool:
        # They may be in any process.
        return True

    def follow(self, feed: str, after: str | None) -> FeedReader:
        if after is not None and after != BEGIN:
            position_of(after)
        from platform_site.core.redis_feeds import RedisFeedSubscription

        return RedisFeedSubscription(self, feed, after)

    def end_feed(self, feed: str) -> None:
        self.writer.call(END_FEED, [feed_key(feed)], [_ENDED_MS])


class RedisSubscription:
    """A reader's place in the log of one run. Enter it before it is read."""

    def __init__(self, reader: RedisReader, run_id: str, after: str | None) -> None:
        self.run_id = run_id
        self.outcome: bytes | None = None
        # The id of the log's end, once it is reached.
        self.end_id = ""
        self._closed = False
        self._after: tuple[int, int] = (0, -1)
        place: str | None = OLDEST
        if after is None:
            place = None
        elif after != BEGIN:
            self._after = position_of(after)
            # The entry of that event may hold later ones.
            place = before(entry_of(*self._after)[0])
        self._stream = StreamReader(reader, stream_key(run_id), place)
        self._from_now = after is None

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
            entries = await self._stream.entries(deadline)
            if entries is None:
                return self._last_words()
            if not entries:
                return []
            if events := self._events(entries):
                return events
        return None

    def _events(self, entries: list[Entry]) -> list[Event]:
        events: list[Event] = []
        for entry, fields in entries:
            if (packed := fields.get(b"e")) is not None:
                if not (self._from_now and entry == self._stream.newest):
                    events += self._unpacked(entry, packed)
            elif b"c" in fields or b"x" in fields:
                self._closed, self.outcome, self.end_id = True, fields.get(b"c"), event_id(entry, 0)
                break
        return events

    def _unpacked(self, entry: str, packed: bytes) -> list[Event]:
        found = [Event(event_id(entry, place), name, data) for place, (name, data) in enumerate(unpack(packed))]
        if found and position_of(found[0].id) <= self._after:
            found = [event for event in found if position_of(event.id) > self._after]
        return found

    def _last_words(self) -> list[Event] | None:
        self._closed = True
        words = self._stream.last_words
        if words is None:
            return None
        name, data, self.outcome = words
        # After everything that this reader has had.
        return [Event(event_id(self._stream.after or OLDEST, 999), name, data)] if name else None
