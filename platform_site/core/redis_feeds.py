"""Readers of feeds in Redis: the logs of a feed's runs one after the other, and what is posted between them."""

import asyncio
from collections import deque
from typing import Self

from redis.exceptions import RedisError

from platform_site.core.events import BEGIN, END, Event
from platform_site.core.memory_log import position_of
from platform_site.core.redis_events import RedisEventLog, RedisSubscription, feed_key, state_key, stream_key
from platform_site.core.redis_link import Outage
from platform_site.core.redis_reader import OLDEST, Entry, StreamReader, decoded, number
from platform_site.core.redis_scripts import PLACES, event_id, unpack


class RedisFeedSubscription:
    """A reader of one feed, from a position or from now on. Enter it before it is read."""

    outcome: bytes | None = None

    def __init__(self, log: RedisEventLog, feed: str, after: str | None) -> None:
        """`after` is known to be a position, or None."""
        self._log = log
        self._key = feed_key(feed)
        self._after = after
        # Runs that had begun when it was entered, and where to begin in each.
        self._earlier: deque[RedisSubscription] = deque()
        self._waiting: deque[Entry] = deque()
        self._reading: RedisSubscription | None = None
        # Runs that had begun, each with where to begin, and the newest entry of the feed then.
        self._plan: tuple[list[tuple[str, str | None]], str] | None = None
        self._index: StreamReader | None = None
        self._was_told = False

    async def locate(self) -> None:
        self._plan = await asyncio.wrap_future(self._log.link.submit(self._planned()))

    async def __aenter__(self) -> Self:
        if self._plan is None:
            await self.locate()
        assert self._plan is not None
        planned, last = self._plan
        for run_id, after in planned:
            subscription = self._log.subscribe(run_id, after)
            # At once, so that what they hold comes while another run is read.
            await subscription.__aenter__()
            self._earlier.append(subscription)
        self._index = StreamReader(self._log.reader, self._key, last)
        await self._index.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for subscription in (self._reading, *self._earlier, self._index):
            if subscription is not None:
                await subscription.__aexit__(*exc)

    async def _planned(self) -> tuple[list[tuple[str, str | None]], str]:
        """The runs to be read of those that had begun, each with where to begin; and the newest entry of the feed."""
        outage = Outage()
        while True:
            try:
                return await self._looked_up()
            except (RedisError, OSError) as error:
                await outage.failed(error)

    async def _looked_up(self) -> tuple[list[tuple[str, str | None]], str]:
        commands = self._log.commands
        entries = decoded(await commands.xrange(self._key))
        runs = [fields[b"r"].decode() for _, fields in entries if b"r" in fields]
        pipeline = commands.pipeline(transaction=False)
        for run_id in runs:
            pipeline.hmget(state_key(run_id), "attempt", "closed", "resumable")
            pipeline.xrevrange(stream_key(run_id), count=1)
        answers = iter(await pipeline.execute())
        planned: list[tuple[str, str | None]] = []
        for run_id in runs:
            attempt, closed, resumable = next(answers)
            newest = decoded(next(answers))
            if self._after is not None and resumable:
                last = position_of(event_id(newest[0][0], 0)) if newest else (0, 0)
                if newest and not (closed and self._after != BEGIN and last <= position_of(self._after)):
                    planned.append((run_id, self._after))
            elif attempt and not closed:
                planned.append((run_id, event_id(newest[0][0], PLACES - 1) if newest else BEGIN))
        return planned, entries[-1][0] if entries else OLDEST

    async def batch(self, timeout: float | None) -> list[Event] | None:
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while True:
            if self._reading is None:
                found = await self._next(deadline)
                if self._reading is None:
                    return found
            reading = self._reading
            events = await reading.batch(timeout)
            if events is not None:
                return events
            await reading.__aexit__()
            self._reading = None
            if reading.has_ended:
                return [Event(reading.end_id, END, reading.run_id.encode())]
            self._was_told = True

    async def _next(self, deadline: float | None) -> list[Event] | None:
        """Go on to the next run, or return what was posted; `[]` at the deadline, None at the feed's end."""
        assert self._index is not None
        if self._earlier:
            self._reading = self._earlier.popleft()
            return []
        while True:
            if not self._waiting:
                entries = await self._index.entries(deadline)
                if entries is None:
                    return self._last_words()
                if not entries:
                    return []
                self._waiting.extend(entries)
            entry, fields = self._waiting.popleft()
            if (run_id := fields.get(b"r")) is not None:
                self._reading = self._log.subscribe(run_id.decode(), BEGIN)
                await self._reading.__aenter__()
                return []
            if (packed := fields.get(b"p")) is not None:
                ((name, data),) = unpack(packed)
                return [Event(event_id(fields.get(b"id", entry.encode()).decode(), 0), name, data)]
            if b"end" in fields:
                return None

    def _last_words(self) -> list[Event] | None:
        assert self._index is not None
        words, was_told = self._index.last_words, self._was_told
        self._was_told = True
        if words is None or was_told:
            return None
        name, data, _ = words
        ms, n = number(self._index.after or OLDEST)
        return [Event(f"{ms}-{n * 1000 + 999}", name, data)]
