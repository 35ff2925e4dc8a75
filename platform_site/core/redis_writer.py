"""Writes to the event logs in Redis: in order, in batches, kept while Redis is away, and never twice.

Whatever waits when the last batch has been answered makes the next one, so batches form by themselves under load and
a single event leaves at once. All events of a run in a batch are one entry of its stream.
"""

import asyncio
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from platform_site.core import metrics
from platform_site.core.redis_link import Outage, RedisLink
from platform_site.core.redis_scripts import APPEND, Script, pack
from platform_site.core.wire import keep

logger = logging.getLogger("switchyard.redis")

# An entry holds as many events as its ids have room for, and so many bytes unless one event is larger.
MAX_EVENTS_PER_ENTRY = 1000
MAX_ENTRY_BYTES = 256_000
MAX_CALLS_PER_BATCH = 200
# What waits for a Redis that is away may take this much memory; then the oldest is given up.
MAX_WAITING_BYTES = 256_000_000
# What a call takes beside its arguments.
CALL_BYTES = 500


@dataclass(frozen=True, slots=True)
class Lines:
    """Where a run's events go: its stream, its state, its attempt, and the bounds of its log."""

    stream: str
    state: str
    attempt: int
    max_entries: int
    max_bytes: int
    open_ms: int


@dataclass(frozen=True, slots=True)
class Call:
    """A script with what it is given."""

    script: Script
    keys: list[str]
    args: list[Any]

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits, about."""
        return CALL_BYTES + sum(len(arg) for arg in self.args if isinstance(arg, str | bytes))


# What is to be run, an event of a run, or somebody who waits until everything before is written.
Item = Call | tuple[Lines, bytes] | asyncio.Future[None]


def _size(item: Item) -> int:
    if isinstance(item, tuple):
        return len(item[1])
    return item.size if isinstance(item, Call) else 0


class RedisWriter:
    """`append` and `call` may be used from any thread and return at once; what they say is done in that order."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        # Of its entries in Redis.
        self.name = uuid4().hex
        self._lock = threading.Lock()
        self._waiting: deque[Item] = deque()
        self._bytes = 0
        # The number of the last entry written by this process, for Redis to know those that it has already.
        self._number = 0
        self._wake_up = asyncio.Event()
        self._is_awake = False
        self._task = link.submit(self._run())

    def append(self, lines: Lines, name: str, data: bytes) -> None:
        """Add an event to a run's log."""
        packed = pack(name, data)
        self._put((lines, packed))

    def call(self, script: Script, keys: list[str], args: list[Any]) -> None:
        """Run a script."""
        self._put(Call(script, keys, [keep(arg) if isinstance(arg, bytes) else arg for arg in args]))

    async def flushed(self) -> None:
        """Wait until Redis has answered everything that was given before. On the link's loop."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(done)
        await done

    def _put(self, item: Item) -> None:
        with self._lock:
            self._waiting.append(item)
            self._bytes += _size(item)
            if self._bytes > MAX_WAITING_BYTES:
                self._give_up_oldest()
            awake, self._is_awake = self._is_awake, True
        if not awake:
            self._link.call(self._wake_up.set)

    def _give_up_oldest(self) -> None:
        """Forget a tenth of what waits: events first, then calls, whose effect sweeps and `LostEnds` make up for."""
        events, calls = self._give_up(tuple), self._give_up(Call)
        logger.error("Redis is away for too long: %d events and %d calls were given up", events, calls)
        metrics.events_given_up(events)

    def _give_up(self, kind: type[Item]) -> int:
        """Forget the oldest of a kind until there is room again; how many."""
        kept: deque[Item] = deque()
        for item in self._waiting:
            if isinstance(item, kind) and self._bytes > MAX_WAITING_BYTES * 0.9:
                self._bytes -= _size(item)
            else:
                kept.append(item)
        dropped = len(self._waiting) - len(kept)
        self._waiting = kept
        return dropped

    async def _run(self) -> None:
        client = self._link.client()
        while True:
            await self._wake_up.wait()
            self._wake_up.clear()
            with self._lock:
                self._is_awake = False
            while self._waiting:
                calls, waiter = self._next_batch()
                try:
                    await self._send(client, calls)
                except Exception:
                    # Whatever it is, repeating it would hold up all that comes after it.
                    logger.exception("%d writes to Redis are given up", len(calls))
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)

    def _next_batch(self) -> "tuple[list[Call], asyncio.Future[None] | None]":
        """What waits, as calls: the events of a run between two calls are one. And who waits until they are written."""
        calls: list[Call] = []
        events: dict[Lines, list[bytes]] = {}
        sizes: dict[Lines, int] = {}
        with self._lock:
            while self._waiting and len(calls) + len(events) < MAX_CALLS_PER_BATCH:
                item = self._waiting.popleft()
                self._bytes -= _size(item)
                if isinstance(item, asyncio.Future):
                    return calls + self._entries(events), item
                if isinstance(item, Call):
                    calls += self._entries(events)
                    events, sizes = {}, {}
                    calls.append(item)
                    continue
                lines, packed = item
                size = sizes.get(lines, 0) + len(packed)
                if lines in events and (size > MAX_ENTRY_BYTES or len(events[lines]) >= MAX_EVENTS_PER_ENTRY):
                    calls += self._entries({lines: events.pop(lines)})
                    size = len(packed)
                events.setdefault(lines, []).append(packed)
                sizes[lines] = size
        return calls + self._entries(events), None

    def _entries(self, events: dict[Lines, list[bytes]]) -> list[Call]:
        calls = []
        for lines, packed in events.items():
            self._number += 1
            bounds = lines.max_entries, lines.open_ms, lines.max_bytes
            args = [lines.attempt, self._number, b"\n".join(packed), *bounds, self.name]
            calls.append(Call(APPEND, [lines.stream, lines.state], args))
        return calls

    async def _send(self, client: Any, calls: list[Call]) -> None:
        """Run the calls in order, again and again until Redis has answered; what it has already it ignores."""
        outage = Outage("Redis does not take events; they wait", "Redis takes events again")
        while calls:
            try:
                answers = await self._answers(client, calls)
            except (RedisError, OSError) as error:
                await outage.failed(error)
                continue
            outage.is_over()
            for call, answer in zip(calls, answers, strict=True):
                if isinstance(answer, Exception):
                    logger.error("Redis refused %s for %s: %s", call.script.name, call.keys[0], answer)
            return

    async def _answers(self, client: Any, calls: list[Call]) -> list[Any]:
        answers = await self._execute(client, calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            for script in {call.script for call in calls}:
                await client.script_load(script.text)
            answers = await self._execute(client, calls)
        # A Redis that is starting, full, or has become a replica, refuses for now.
        for answer in answers:
            if isinstance(answer, RedisError) and not isinstance(answer, ResponseError):
                raise answer
            if isinstance(answer, ReadOnlyError | OutOfMemoryError) or (
                isinstance(answer, ResponseError) and str(answer).startswith("MISCONF")
            ):
                raise answer
        return answers

    async def _execute(self, client: Any, calls: list[Call]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers
