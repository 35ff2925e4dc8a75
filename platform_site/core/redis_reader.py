"""Readers of streams in Redis: however many listen in this process, one blocked command waits for all of them."""

import asyncio
import logging
import threading
from collections import deque
from typing import Any, Self
from uuid import uuid4

from redis.exceptions import RedisError

from platform_site.core.memory_log import Waiter
from platform_site.core.redis_link import BLOCK_SECONDS, PREFIX, Outage, RedisLink

logger = logging.getLogger("switchyard.redis")

# Entries that one command brings of each stream.
COUNT = 500
# A reader that does not read is left behind with this much; what follows it fetches when it comes back.
MAX_QUEUED_BYTES = 4_000_000
# Ids before and after all entries.
OLDEST = "0-0"

# An entry: its id, and its fields.
Entry = tuple[str, dict[bytes, bytes]]
# What readers are told when their process goes: name and data of a last event, and an outcome.
LastWords = tuple[str, bytes, bytes | None]


class StreamReader:
    """A place in one stream. Entered on any loop; `entries` is for one caller at a time, on that loop."""

    def __init__(self, reader: "RedisReader", key: str, after: str | None) -> None:
        """After the entry `after`; None is now: the newest entry, `newest`, comes once more and then what follows."""
        self.key = key
        self.after = after
        self.newest: str | None = None
        self.last_words: LastWords | None = None
        self._reader = reader
        self._lock = threading.Lock()
        self._queue: deque[Entry] = deque()
        self._bytes = 0
        self._waiter: Waiter | None = None
        self._left_behind = False
        self._ended = False

    async def __aenter__(self) -> Self:
        self._reader.link.call(self._reader.follow, self)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._reader.link.call(self._reader.leave, self)

    async def entries(self, deadline: float | None) -> list[Entry] | None:
        """All entries that wait, at once; `[]` at the deadline of the loop's clock; None once `end` was called."""
        while True:
            with self._lock:
                if self._queue:
                    found = list(self._queue)
                    self._queue.clear()
                    self._bytes = 0
                    return found
                if self._ended:
                    return None
                if self._left_behind:
                    self._left_behind = False
                    self._reader.link.call(self._reader.follow, self)
                waiter = self._waiter = Waiter()
            await waiter.wait(deadline)
            with self._lock:
                if not self._queue and not self._ended and self._waiter is waiter:
                    self._waiter = None
                    return []

    @property
    def has_ended(self) -> bool:
        return self._ended

    def end(self, last_words: LastWords | None = None) -> None:
        """Tell the reader that nothing more comes. From any thread."""
        with self._lock:
            self._ended, self.last_words = True, last_words
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()

    def push(self, entries: list[Entry]) -> bool:
        """Hand over entries, those that were handed over before left out; False if the reader is left behind."""
        with self._lock:
            for entry in entries:
                if self.after is not None and number(entry[0]) <= number(self.after):
                    continue
                self.after = entry[0]
                self._queue.append(entry)
                self._bytes += sum(map(len, entry[1].values()))
            if not self._queue:
                return True
            self._left_behind = self._bytes > MAX_QUEUED_BYTES
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()
        return not self._left_behind


class _Followed:
    """A stream that is read: up to where, and for whom."""

    __slots__ = ("last", "readers")

    def __init__(self, last: str) -> None:
        self.last = last
        self.readers: set[StreamReader] = set()


class RedisReader:
    """One `XREAD` for every stream that somebody in this process follows. Its methods are called on the link's loop."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self._followed: dict[str, _Followed] = {}
        # Streams that are looked up for those who are about to follow them; kept until then.
        self._joining: set[asyncio.Task[None]] = set()
        # The blocked command waits for this one, too: an entry here makes it begin anew, with new streams.
        self._bell = f"{PREFIX}bell:{uuid4().hex}"
        self._bell_last = OLDEST
        self._is_rung = False
        self._commands = link.client()
        self._task = link.submit(self._run())

    def follow(self, reader: StreamReader) -> None:
        """Bring the reader what its stream holds after its place, and what will come."""
        task = asyncio.get_running_loop().create_task(self._join(reader))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    def leave(self, reader: StreamReader) -> None:
        followed = self._followed.get(reader.key)
        if followed is not None:
            followed.readers.discard(reader)
            if not followed.readers:
                del self._followed[reader.key]
        reader.end()

    def readers(self) -> list[StreamReader]:
        """Everybody who follows a stream now."""
        return [reader for followed in list(self._followed.values()) for reader in list(followed.readers)]

    async def _join(self, reader: StreamReader) -> None:
        outage = Outage()
        while reader.after is None and not reader.has_ended:
            try:
                found = decoded(await self._commands.xrevrange(reader.key, count=1))
            except (RedisError, OSError) as error:
                await outage.failed(error)
                continue
            if found:
                reader.newest = found[0][0]
            reader.after = before(found[0][0]) if found else OLDEST
        if not reader.has_ended:
            self._add(reader, reader.after or OLDEST)

    def _add(self, reader: StreamReader, after: str) -> None:
        followed = self._followed.get(reader.key)
        if followed is None:
            followed = self._followed[reader.key] = _Followed(after)
        elif number(after) < number(followed.last):
            # The others leave out what they have had.
            followed.last = after
        followed.readers.add(reader)
        self._ring()

    def _ring(self) -> None:
        if not self._is_rung:
            self._is_rung = True
            task = asyncio.get_running_loop().create_task(self._ring_bell())
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    async def _ring_bell(self) -> None:
        try:
            pipeline = self._commands.pipeline(transaction=False)
            pipeline.xadd(self._bell, {"": ""}, maxlen=1)
            pipeline.expire(self._bell, 60)
            await pipeline.execute()
        except (RedisError, OSError):
            # Then the blocked command fails as well, and begins anew.
            logger.debug("the bell could not be rung")

    async def _run(self) -> None:
        client = self.link.client()
        outage = Outage("Redis cannot be read; streams wait", "Redis can be read again")
        while True:
            self._is_rung = False
            places: dict[Any, Any] = {key: followed.last for key, followed in self._followed.items()}
            places[self._bell] = self._bell_last
            try:
                answer = streams(await client.xread(places, count=COUNT, block=int(BLOCK_SECONDS * 1000)))
            except Exception as error:
                # Of any kind: without this loop no stream of this process goes on.
                await outage.failed(error)
                continue
            outage.is_over()
            for key, entries in answer:
                try:
                    self._deliver(key, entries, places)
                except Exception:
                    # One reader's fault is not to cost the others what comes.
                    logger.exception("events could not be handed over")

    def _deliver(self, key: str, entries: list[Entry], places: dict[str, str]) -> None:
        if key == self._bell:
            self._bell_last = entries[-1][0]
            return
        followed = self._followed.get(key)
        if followed is None:
            return
        if followed.last == places[key]:
            followed.last = entries[-1][0]
        for reader in list(followed.readers):
            if number(reader.after or OLDEST) < number(places[key]):
                # It came while the command was under way: what lies in between is brought by the next one.
                continue
            if not reader.push(entries):
                followed.readers.discard(reader)
        if not followed.readers:
            del self._followed[key]


def number(entry: str) -> tuple[int, int]:
    """An entry's id as numbers that compare."""
    ms, _, n = entry.partition("-")
    return int(ms), int(n)


def before(entry: str) -> str:
    """The id right before an entry's."""
    ms, n = number(entry)
    return f"{ms}-{n - 1}" if n else f"{ms - 1}-{2**64 - 1}"


def decoded(entries: Any) -> list[Entry]:
    """Entries as Redis answers them."""
    return [(entry.decode(), fields) for entry, fields in entries]


def streams(answer: Any) -> list[tuple[str, list[Entry]]]:
    """What `XREAD` answers, by stream; nothing after a time of silence."""
    if not answer:
        return []
    pairs = answer.items() if isinstance(answer, dict) else answer
    return [(key.decode(), decoded(entries)) for key, entries in pairs]
