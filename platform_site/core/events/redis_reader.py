"""Readers of streams in Redis: however many listen in this process, one blocked command waits for all of them."""

import asyncio
import logging
import threading
from collections import deque
from typing import Any, Self, cast
from uuid import uuid4

from redis.exceptions import RedisError

from platform_site.core.events.waiting import Waiter
from platform_site.core.redis.link import BLOCK_SECONDS, PREFIX, Outage, RedisLink
from platform_site.core.redis.scripts import entry_of

logger = logging.getLogger("switchyard.redis")

# Entries that one command brings of each stream, at the most and at the beginning; fewer while answers have more bytes.
COUNT = 500
_FIRST_COUNT = 50
_ANSWER_BYTES = 16_000_000
# A reader that does not read is left behind with this much; what follows it fetches when it comes back.
MAX_QUEUED_BYTES = 4_000_000
# What all readers of a process hold together where nobody has given a bound, and how much of it stays when it is full.
MAX_BYTES = 128_000_000
_KEPT_WHEN_FULL = 0.75
# What an entry takes in memory beside its data: its id, a dictionary, its names and values.
ENTRY_BYTES = 600
# Ids before and after all entries.
OLDEST = "0-0"

# An entry: its id, and its fields.
Entry = tuple[str, dict[bytes, bytes]]
# The field of an entry that no stream holds: the stream of a run that has ended was removed.
GONE = b"gone"
# What readers are told when their process goes: name and data of a last event, and an outcome.
LastWords = tuple[str, bytes, bytes | None]


class StreamReader:
    """A place in one stream. Entered on any loop; `entries` is for one caller at a time, on that loop."""

    def __init__(self, reader: "RedisReader", key: str, after: str | None) -> None:
        """Begin after the entry `after`. None is now: the newest entry, `newest`, comes again, then what follows."""
        self.key = key
        self.after = after
        # Whether its stream may have been removed before it follows it.
        self.may_be_gone = after not in (None, OLDEST)
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
        """Return all entries that wait, `[]` at the deadline of the loop's clock, and None once `end` was called."""
        while True:
            with self._lock:
                if self._queue:
                    found = list(self._queue)
                    self._empty()
                    return found
                if self._ended:
                    return None
                if self._left_behind:
                    self._left_behind, self.may_be_gone = False, True
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

    @property
    def queued_bytes(self) -> int:
        """The bytes of what waits for this reader."""
        return self._bytes

    def push(self, entries: list[Entry]) -> bool:
        """Hand over entries that were not handed over before. Return False if the reader is left behind."""
        with self._lock:
            held = self._bytes
            for entry in entries:
                if self.after is not None and number(entry[0]) <= number(self.after):
                    continue
                self.after = entry[0]
                self._queue.append(entry)
                self._bytes += size_of(entry)
            self._reader.hold(self._bytes - held)
            if not self._queue:
                return True
            self._left_behind = self._bytes > MAX_QUEUED_BYTES
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()
        return not self._left_behind

    def leave_behind(self) -> bool:
        """Drop what waits, and return whether anything did: the reader fetches it when it comes back.

        A reader that was ended could not fetch it, and keeps it.
        """
        with self._lock:
            if not self._queue or self._ended:
                return False
            self.after = before(self._queue[0][0])
            self._empty()
            self._left_behind = True
            return True

    def drop(self) -> None:
        """Drop what waits: nobody will read it."""
        with self._lock:
            self._empty()

    def _empty(self) -> None:
        self._queue.clear()
        self._reader.hold(-self._bytes)
        self._bytes = 0


class _Followed:
    """A stream that is read: up to where, and for whom."""

    __slots__ = ("last", "readers")

    def __init__(self, last: str) -> None:
        self.last = last
        self.readers: set[StreamReader] = set()


class RedisReader:
    """One `XREAD` for every stream that somebody in this process follows. Its methods are called on the link's loop.

    What waits for its readers takes `max_bytes` together; then those with the most are left behind.
    """

    def __init__(self, link: RedisLink, max_bytes: int = MAX_BYTES) -> None:
        self.link = link
        self.max_bytes = max_bytes
        self._held = 0
        self._held_lock = threading.Lock()
        # Everybody who has entered and not left, also those who are left behind.
        self._entered: set[StreamReader] = set()
        self._followed: dict[str, _Followed] = {}
        # Streams that are looked up for those who are about to follow them; kept until then.
        self._joining: set[asyncio.Task[None]] = set()
        # The blocked command waits for this one, too: an entry here makes it begin anew, with new streams.
        self._bell = f"{PREFIX}bell:{uuid4().hex}"
        self._bell_last = OLDEST
        self._is_rung = False
        self._count = _FIRST_COUNT
        self._commands = link.client()
        self._task = link.submit(self._run())

    def follow(self, reader: StreamReader) -> None:
        """Bring the reader what its stream holds after its place, and what will come."""
        self._entered.add(reader)
        task = asyncio.get_running_loop().create_task(self._join(reader))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    def leave(self, reader: StreamReader) -> None:
        self._stop_following(reader)
        self._entered.discard(reader)
        reader.end()
        reader.drop()

    @property
    def held_bytes(self) -> int:
        """The bytes of what waits for the readers of this process."""
        return self._held

    def hold(self, count: int) -> None:
        """Count bytes that wait from now on, or no longer. From any thread."""
        with self._held_lock:
            self._held += count

    def _make_room(self) -> None:
        """Leave those behind for whom the most waits, if it is too much together."""
        if self._held <= self.max_bytes:
            return
        for reader in sorted(self._entered, key=lambda reader: reader.queued_bytes, reverse=True):
            if self._held <= self.max_bytes * _KEPT_WHEN_FULL:
                return
            if reader.leave_behind():
                self._stop_following(reader)

    def _stop_following(self, reader: StreamReader) -> None:
        followed = self._followed.get(reader.key)
        if followed is not None:
            followed.readers.discard(reader)
            if not followed.readers:
                del self._followed[reader.key]

    def readers(self) -> list[StreamReader]:
        """Return everybody who follows a stream now."""
        return [reader for followed in list(self._followed.values()) for reader in list(followed.readers)]

    async def _join(self, reader: StreamReader) -> None:
        outage = Outage()
        while not reader.has_ended:
            try:
                if await self._has_place(reader):
                    self._add(reader, reader.after or OLDEST)
                return
            except (RedisError, OSError) as error:
                await outage.failed(error)

    async def _has_place(self, reader: StreamReader) -> bool:
        """Find out where the reader begins. Return False if it has left, or is told that its stream was removed."""
        if reader.after is None:
            found = decoded(await self._commands.xrevrange(reader.key, count=1))
            if found:
                reader.newest = found[0][0]
            reader.after = before(found[0][0]) if found else OLDEST
        elif reader.may_be_gone:
            gone, last, end = cast(
                "list[bytes | None]", await self._commands.hmget(f"{reader.key}:state", "gone", "last", "end")
            )
            if gone and end:
                reader.push([(entry_of(*number(end.decode()))[0], {GONE: b"", b"q": last or b""})])
                return False
        return not reader.has_ended

    async def is_resumable(self, key: str) -> bool:
        """Return whether the log may be joined after any of its events: False if Redis is away or has lost the log."""
        try:
            return bool(await self._commands.hexists(f"{key}:state", "resumable"))
        except (RedisError, OSError) as error:
            logger.debug("whether %s is resumable could not be asked: %s", key, error)
            return False

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
                answer = streams(await client.xread(places, count=self._count, block=int(BLOCK_SECONDS * 1000)))
            except Exception as error:
                # Of any kind: without this loop no stream of this process goes on.
                await outage.failed(error)
                continue
            outage.is_over()
            self._adapt_count(answer)
            for key, entries in answer:
                try:
                    self._deliver(key, entries, places)
                except Exception:
                    # One reader's fault is not to cost the others what comes.
                    logger.exception("events could not be handed over")

    def _adapt_count(self, answer: list[tuple[str, list[Entry]]]) -> None:
        """Ask for fewer entries after an answer that was too large, for more after one that was full and small."""
        size = sum(size_of(entry) for _, entries in answer for entry in entries)
        if size > _ANSWER_BYTES:
            self._count = max(1, self._count // 2)
        elif size < _ANSWER_BYTES // 4 and any(len(entries) >= self._count for _, entries in answer):
            self._count = min(COUNT, self._count * 2)

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
                self._stop_following(reader)
        self._make_room()


def number(entry: str) -> tuple[int, int]:
    """Return an entry's id as numbers that compare."""
    ms, _, n = entry.partition("-")
    return int(ms), int(n)


def size_of(entry: Entry) -> int:
    """Return the bytes that an entry takes in memory."""
    return ENTRY_BYTES + sum(map(len, entry[1].values()))


def before(entry: str) -> str:
    """Return the id right before an entry's."""
    ms, n = number(entry)
    return f"{ms}-{n - 1}" if n else f"{ms - 1}-{2**64 - 1}"


def decoded(entries: Any) -> list[Entry]:
    """Return entries as Redis answers them, with their ids as text."""
    return [(entry.decode(), fields) for entry, fields in entries]


def streams(answer: Any) -> list[tuple[str, list[Entry]]]:
    """Return what `XREAD` answers, by stream. After a time of silence that is nothing."""
    if not answer:
        return []
    pairs = answer.items() if isinstance(answer, dict) else answer
    return [(key.decode(), decoded(entries)) for key, entries in pairs]
