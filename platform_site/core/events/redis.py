"""The event logs of all processes, in Redis: written by workers, read by web processes.

What is appended is on its way when `append` returns; Redis has it a moment later, and everybody sees it in that order.
"""

import asyncio
import logging

from platform_site.core.events.interface import FeedReader, check_place
from platform_site.core.events.redis_budget import StreamBudget
from platform_site.core.events.redis_feeds import RedisFeedSubscription
from platform_site.core.events.redis_reader import MAX_BYTES, RedisReader
from platform_site.core.events.redis_subscription import RedisSubscription, feed_key, state_key, stream_key
from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.scripts import (
    BEGIN_ATTEMPT,
    CLOSE,
    DISCARD,
    END_FEED,
    POST,
    pack,
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
        """Bound all logs in Redis by `streams_bytes`, and what waits for readers in this process by `memory_bytes`."""
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

    def subscribe(self, run_id: str, after: str | None) -> RedisSubscription:
        return self.subscription(run_id, after)

    def subscription(
        self, run_id: str, after: str | None, *, wants_all: bool = False, may_be_gone: bool = False
    ) -> RedisSubscription:
        """Return a reader as `RedisSubscription` describes it."""
        return RedisSubscription(self.reader, run_id, after, wants_all=wants_all, may_be_gone=may_be_gone)

    def withdraw(self, run_id: str) -> None:
        # A subscription begins when it is entered.
        pass

    def awaited_runs(self) -> dict[str, set[str | None]]:
        """Return the runs that somebody in this process waits for, each with how far its readers are."""
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
        check_place(after)
        return RedisFeedSubscription(self, feed, after)

    def end_feed(self, feed: str) -> None:
        self.writer.call(END_FEED, [feed_key(feed)], [_ENDED_MS])
