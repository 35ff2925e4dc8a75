"""A reader's place in the log of one run, in Redis, and the keys under which logs and feeds are found there."""

import asyncio
from collections import deque
from typing import Self

from platform_site.core.events.interface import BEGIN, Event, EventsLost, position_of
from platform_site.core.events.redis_reader import (
    GONE,
    OLDEST,
    Entry,
    RedisReader,
    StreamReader,
    before,
    number,
)
from platform_site.core.redis.link import PREFIX
from platform_site.core.redis.scripts import PLACES, entry_of, event_id, unpack

# The place of a reader that has not begun to read, and of one that wants the log from its very beginning.
_NOWHERE = (0, -1)
_START = (0, 0)


def stream_key(run_id: str) -> str:
    """Return the key of the stream that holds a run's log."""
    return f"{PREFIX}run:{run_id}"


def state_key(run_id: str) -> str:
    """Return the key of the hash that holds what is known of a run's log beside its events."""
    return f"{PREFIX}run:{run_id}:state"


def feed_key(feed: str) -> str:
    """Return the key of the stream that names a feed's runs."""
    return f"{PREFIX}feed:{feed}"


class RedisSubscription:
    """A reader's place in the log of one run. Enter it before it is read."""

    def __init__(
        self, reader: RedisReader, run_id: str, after: str | None, *, wants_all: bool = False, may_be_gone: bool = False
    ) -> None:
        """Begin after `after`, as `EventLog.subscribe` has it.

        With `wants_all` a reader from the beginning is told what is not kept of it. With `may_be_gone` it looks first
        whether the log is there, as a reader after an event always does.
        """
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
        """Skip the events of the newest entry, which a reader of now gets once more, because it may be the end."""
        if self._after == _NOWHERE and self._stream.newest is not None:
            self._after = position_of(event_id(self._stream.newest, PLACES - 1))

    def _missed(self, entry: str, fields: dict[bytes, bytes]) -> tuple[int, int] | None:
        """Return the place up to which events are not kept, or None if this reader lacks none before this entry."""
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
        """Return the events that were fetched, up to the end or the next gap."""
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
    """Return a position as an event id."""
    return "{}-{}".format(*position)


def before_events(entry: str) -> tuple[int, int]:
    """Return the place right before an entry's events. No millisecond has a million entries."""
    ms, n = number(entry)
    return (ms, n * PLACES - 1) if n else (ms - 1, 1_000_000 * PLACES)
