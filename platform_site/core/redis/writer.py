"""Writes to the event logs in Redis: in order, in batches, kept while Redis is away, and never twice.

Whatever waits when the last batch has been answered makes the next one, so batches form by themselves under load and
a single event leaves at once. All events of a run in a batch are one entry of its stream.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from platform_site.core.redis.link import Outage, RedisLink
from platform_site.core.redis.scripts import APPEND, Script, pack
from platform_site.core.telemetry import metrics
from platform_site.core.wire import keep

logger = logging.getLogger("switchyard.redis")

# An entry holds as many events as its ids have room for, and so many bytes unless one event is larger.
MAX_EVENTS_PER_ENTRY = 1000
MAX_ENTRY_BYTES = 256_000
MAX_CALLS_PER_BATCH = 200
MAX_BATCH_BYTES = 8_000_000
# What a writer holds that nobody has given a bound; then the oldest is given up.
MAX_WAITING_BYTES = 128_000_000
# What a call takes beside its arguments, and an event beside its text: a tuple, the header of its bytes, its place.
CALL_BYTES = 500
EVENT_BYTES = 130


class Known:
    """What a writer knows of a log: the last event that Redis has taken, and whether it has given up any since."""

    __slots__ = ("gap", "last")

    def __init__(self) -> None:
        self.last = ""
        self.gap = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Where a run's events go: its stream, its state, its attempt, and the bounds of its log."""

    stream: str
    state: str
    attempt: int
    max_entries: int
    max_bytes: int
    open_ms: int
    resumable: bool = False
    known: Known = field(default_factory=Known, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A script with what it is given; with `lines`, it is told the writer's place in that log as well."""

    script: Script
    keys: list[str]
    args: list[Any]
    lines: Lines | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits, about."""
        return CALL_BYTES + sum(len(arg) for arg in self.args if isinstance(arg, str | bytes))


# What is to be run, an event of a run, or somebody who waits until everything before is written.
Item = Call | tuple[Lines, bytes] | asyncio.Future[None]


def _size(item: Item) -> int:
    if isinstance(item, tuple):
        return EVENT_BYTES + len(item[1])
    return item.size if isinstance(item, Call) else 0


def _with_gap(call: Call, lines: Lines) -> Call:
    """Return the call with word of what was given up before it, which is said once. Under the writer's lock."""
    gap, lines.known.gap = lines.known.gap, False
    return Call(call.script, call.keys, [*call.args, int(gap)], lines)


class RedisWriter:
    """`append` and `call` may be used from any thread and return at once; what they say is done in that order."""

    def __init__(self, link: RedisLink, max_bytes: int | None = None) -> None:
        """Hold at most `max_bytes` while Redis is away; then the oldest is given up."""
        self._link = link
        self._max_bytes = MAX_WAITING_BYTES if max_bytes is None else max_bytes
        # What was sent cannot be given up, so it is never most of what is held.
        self._max_batch = min(MAX_BATCH_BYTES, self._max_bytes // 4)
        # Called on the link's loop with what all streams hold in Redis, when a write was answered.
        self.on_streams_bytes: Callable[[int], object] | None = None
        # Of its entries in Redis.
        self.name = uuid4().hex
        self._lock = threading.Lock()
        self._waiting: deque[Item] = deque()
        # Of what waits, and of what was sent and is not answered yet.
        self._bytes = 0
        self._sent_bytes = 0
        # The number of the last entry written by this process, for Redis to know those that it has already.
        self._number = 0
        self._wake_up = asyncio.Event()
        self._is_awake = False
        self._task = link.submit(self._run())

    @property
    def held_bytes(self) -> int:
        """The bytes of everything that Redis has not taken yet."""
        return self._bytes + self._sent_bytes

    def append(self, lines: Lines, name: str, data: bytes) -> None:
        """Add an event to a run's log."""
        packed = pack(name, data)
        self._put((lines, packed))

    def call(self, script: Script, keys: list[str], args: list[Any], lines: Lines | None = None) -> None:
        """Run a script; one that writes into the log of `lines` is told the writer's place there."""
        self._put(Call(script, keys, [keep(arg) if isinstance(arg, bytes) else arg for arg in args], lines))

    async def flushed(self) -> None:
        """Wait until Redis has answered everything that was given before. On the link's loop."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(done)
        await done

    def _put(self, item: Item) -> None:
        with self._lock:
            self._waiting.append(item)
            self._bytes += _size(item)
            if self.held_bytes > self._max_bytes:
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
        """Forget the oldest of a kind until there is room again. Return how many were forgotten."""
        kept: deque[Item] = deque()
        for item in self._waiting:
            if isinstance(item, kind) and self.held_bytes > self._max_bytes * 0.9:
                self._bytes -= _size(item)
                if isinstance(item, tuple):
                    item[0].known.gap = True
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
                    for call in calls:
                        self._is_given_up(call)
                self._sent_bytes = 0
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)

    def _is_given_up(self, call: Call) -> None:
        """Let the next write to the log say that events are missing before it."""
        if call.lines is not None:
            with self._lock:
                call.lines.known.gap = True

    def _next_batch(self) -> "tuple[list[Call], asyncio.Future[None] | None]":
        """Return what waits, as calls, and who waits for them. Events of a run between two calls are one."""
        calls: list[Call] = []
        events: dict[Lines, list[bytes]] = {}
        sizes: dict[Lines, int] = {}
        with self._lock:
            while self._has_room(len(calls) + len(events)):
                item = self._waiting.popleft()
                self._bytes -= _size(item)
                self._sent_bytes += _size(item)
                if isinstance(item, asyncio.Future):
                    return calls + self._entries(events), item
                if isinstance(item, Call):
                    calls += self._entries(events)
                    events, sizes = {}, {}
                    calls.append(item if item.lines is None else _with_gap(item, item.lines))
                    continue
                lines, packed = item
                size = sizes.get(lines, 0) + len(packed)
                if lines in events and (size > MAX_ENTRY_BYTES or len(events[lines]) >= MAX_EVENTS_PER_ENTRY):
                    calls += self._entries({lines: events.pop(lines)})
                    size = len(packed)
                events.setdefault(lines, []).append(packed)
                sizes[lines] = size
        return calls + self._entries(events), None

    def _has_room(self, count: int) -> bool:
        """Return whether a batch of so many calls takes what waits next."""
        return bool(self._waiting) and count < MAX_CALLS_PER_BATCH and self._sent_bytes <= self._max_batch

    def _entries(self, events: dict[Lines, list[bytes]]) -> list[Call]:
        calls = []
        for lines, packed in events.items():
            self._number += 1
            bounds = lines.max_entries, lines.open_ms, lines.max_bytes
            args = [
                lines.attempt,
                self._number,
                b"\n".join(packed),
                *bounds,
                self.name,
                len(packed),
                int(lines.resumable),
            ]
            calls.append(_with_gap(Call(APPEND, [lines.stream, lines.state], args), lines))
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
                    self._is_given_up(call)
                else:
                    self._learn(call, answer)
            return

    def _learn(self, call: Call, answer: Any) -> None:
        """Remember what Redis has told: the last event of a log, and what all logs hold."""
        _, last, held = [*answer, None, None][:3] if isinstance(answer, list) else (None, None, None)
        if last is not None and call.lines is not None:
            call.lines.known.last = last.decode()
        if held is not None and self.on_streams_bytes is not None:
            self.on_streams_bytes(held)

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
            known = () if call.lines is None else (call.lines.known.last,)
            pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args, *known)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers
