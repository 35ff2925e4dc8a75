"""Readers of feeds in Redis: the logs of a feed's runs one after the other, and what is posted between them."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Self

from redis.exceptions import RedisError

from platform_site.core.events.interface import BEGIN, END, Event, EventsLost, position_of
from platform_site.core.events.redis_reader import OLDEST, Entry, StreamReader, before, decoded, number
from platform_site.core.events.redis_subscription import (
    RedisSubscription,
    before_events,
    feed_key,
    id_of,
    state_key,
    stream_key,
)
from platform_site.core.redis.link import Outage
from platform_site.core.redis.scripts import PLACES, event_id, unpack

if TYPE_CHECKING:
    from platform_site.core.events.redis import RedisEventLog


class _Plan(NamedTuple):
    """Where a reader of a feed begins."""

    readers: list[RedisSubscription]
    # The newest entry of the feed.
    last: str
    # What is not kept of what it asks for.
    lost: EventsLost | None


class RedisFeedSubscription:
    """A reader of one feed, from a position or from now on. Enter it before it is read."""

    outcome: bytes | None = None

    def __init__(self, log: "RedisEventLog", feed: str, after: str | None) -> None:
        """Begin after `after`, which is known to be a position, or now if it is None."""
        self._log = log
        self._key = feed_key(feed)
        self._after = after
        self._place = None if after is None or after == BEGIN else position_of(after)
        self._plan: _Plan | None = None
        # Readers of runs that had begun when it was entered, and entries of the feed that came later.
        self._earlier: deque[RedisSubscription] = deque()
        self._waiting: deque[Entry] = deque()
        self._reading: RedisSubscription | None = None
        self._index: StreamReader | None = None
        # The newest entry of the feed that it has had, and what is still to be told.
        self._seen = OLDEST
        self._lost: EventsLost | None = None
        self._was_told = False

    async def locate(self) -> None:
        self._plan = await asyncio.wrap_future(self._log.link.submit(self._planned()))

    async def __aenter__(self) -> Self:
        if self._plan is None:
            await self.locate()
        assert self._plan is not None
        for subscription in self._plan.readers:
            # At once, so that what they hold comes while another run is read.
            await subscription.__aenter__()
            self._earlier.append(subscription)
        self._seen, self._lost = self._plan.last, self._plan.lost
        self._index = StreamReader(self._log.reader, self._key, self._seen)
        await self._index.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for subscription in (self._reading, *self._earlier, self._index):
            if subscription is not None:
                await subscription.__aexit__(*exc)

    async def _planned(self) -> _Plan:
        outage = Outage()
        while True:
            try:
                return await self._looked_up()
            except (RedisError, OSError) as error:
                await outage.failed(error)

    async def _looked_up(self) -> _Plan:
        commands = self._log.commands
        entries = decoded(await commands.xrange(self._key))
        runs = {fields[b"r"].decode(): fields for _, fields in entries if b"r" in fields}
        ends = {fields[b"f"].decode(): _event_of(fields) for _, fields in entries if b"f" in fields}
        pipeline = commands.pipeline(transaction=False)
        for run_id in runs:
            pipeline.hmget(state_key(run_id), "attempt", "closed", "resumable", "gone")
            pipeline.xrevrange(stream_key(run_id), count=1)
        answers = iter(await pipeline.execute())
        readers: list[RedisSubscription] = []
        lost = self._trimmed(entries) if entries else await self._forgotten()
        for run_id, begun in runs.items():
            attempt, closed, resumable, gone = next(answers)
            newest = decoded(next(answers))
            if attempt is None:
                # Its time is over, as may be that of its end.
                if begun.get(b"s") == b"1" and self._wants(end := ends.get(run_id, _event_of(begun))):
                    lost = max(lost or end, end)
            elif self._after is not None and resumable:
                end = position_of(event_id(newest[0][0], 0)) if newest else ends.get(run_id, _event_of(begun))
                if self._wants(end) if gone else newest and (self._place is None or not closed or self._wants(end)):
                    readers.append(self._later(run_id, _event_of(begun), may_be_gone=bool(gone)))
            elif not closed:
                now = event_id(newest[0][0], PLACES - 1) if newest else BEGIN
                readers.append(self._log.subscription(run_id, now))
        loss = None if lost is None else EventsLost(id_of(lost), resumable=True)
        return _Plan(readers, entries[-1][0] if entries else OLDEST, loss)

    def _wants(self, event: tuple[int, int]) -> bool:
        """Return whether the reader came with an id before this event's."""
        return self._place is not None and self._place < event

    def _later(self, run_id: str, first: tuple[int, int], *, may_be_gone: bool) -> RedisSubscription:
        """Return a reader of what a run holds after the position: of all, if the run began later."""
        if self._wants(first):
            return self._log.subscription(run_id, BEGIN, wants_all=True, may_be_gone=may_be_gone)
        return self._log.subscription(run_id, self._after, may_be_gone=may_be_gone)

    def _trimmed(self, entries: list[Entry]) -> tuple[int, int] | None:
        """Return the newest id that is lost because the feed has had more entries than it keeps, or None."""
        _, fields = entries[0]
        if b"q" not in fields or b"id" not in fields:
            return None
        ms, n = _event_of(fields)
        return (ms, n - 1) if self._wants((ms, n)) else None

    async def _forgotten(self) -> tuple[int, int] | None:
        """Return the newest id that is lost because Redis forgot a feed whose time is not over, or None."""
        if self._place is None:
            return None
        seconds, micros = await self._log.commands.time()
        now = seconds * 1000 + micros // 1000
        return (now, 0) if now - self._place[0] < self._log.ttl_ms else None

    async def batch(self, timeout: float | None) -> list[Event] | None:
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        if self._lost is not None:
            lost, self._lost = self._lost, None
            raise lost
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
            self._look_for_gap(*self._waiting[0])
            self._seen, fields = self._waiting.popleft()
            if (run_id := fields.get(b"r")) is not None:
                # One that has ended may also be gone already.
                is_over = any(later.get(b"f") == run_id for _, later in self._waiting)
                self._reading = self._log.subscription(run_id.decode(), BEGIN, wants_all=True, may_be_gone=is_over)
                await self._reading.__aenter__()
                return []
            if (packed := fields.get(b"p")) is not None:
                ((name, data),) = unpack(packed)
                return [Event(id_of(_event_of(fields)), name, data)]
            if b"end" in fields:
                return None

    def _look_for_gap(self, entry: str, fields: dict[bytes, bytes]) -> None:
        """Raise `EventsLost` if entries between the last one and this are not kept."""
        if b"end" in fields or self._seen == before(entry):
            return
        if (behind := fields.get(b"q")) is not None:
            is_lost = number(behind.decode()) > number(self._seen)
        else:
            # A feed that is begun anew either was silent for as long as it lives, or Redis has lost it.
            is_lost = self._seen != OLDEST and number(entry)[0] - number(self._seen)[0] < self._log.ttl_ms
        if is_lost:
            self._seen = before(entry)
            ms, n = _event_of(fields)
            raise EventsLost(id_of((ms, n - 1) if n else before_events(f"{ms}-0")), resumable=fields.get(b"s") == b"1")

    def _last_words(self) -> list[Event] | None:
        assert self._index is not None
        words, was_told = self._index.last_words, self._was_told
        self._was_told = True
        if words is None or was_told:
            return None
        name, data, _ = words
        return [Event(event_id(self._index.after or OLDEST, PLACES - 1), name, data)]


def _event_of(fields: dict[bytes, bytes]) -> tuple[int, int]:
    """Return the id of what an entry of the feed tells of, as numbers."""
    return position_of(fields[b"id"].decode())
