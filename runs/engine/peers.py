"""The engines of other processes in scale mode: how runs reach a worker that has room, and ends reach the run's own.

A run that waits is named in a list in Redis; whichever worker has room takes the name and claims the run in the
database, which decides. Names are lost with Redis or with a worker that dies holding them: sweeps find those runs.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Protocol
from uuid import UUID

from redis.asyncio import Redis

from platform_site.core.database.access import read_db
from platform_site.core.ids import parse_uuid
from platform_site.core.redis.link import BLOCK_SECONDS, PREFIX, Outage, RedisLink, redis_link
from platform_site.core.redis.scripts import Script
from platform_site.core.redis.signals import RedisSignals, redis_signals, redis_writer
from platform_site.core.redis.writer import RedisWriter

logger = logging.getLogger("switchyard.engine")

QUEUE = f"{PREFIX}runs"
# Names that a worker takes at once: few, so that several workers share what waits.
TAKEN_AT_ONCE = 10
# More names than this wait only where no worker is; sweeps find the runs that were forgotten here.
LONGEST_QUEUE = 100_000
# How often a wait for another process's signal looks at the database, should the signal be lost.
LOOK_SECONDS = 0.25
_OFFER = Script(
    "redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call('LTRIM', KEYS[1], -ARGV[2], -1)",
    "offer",
)
# What is offered to have a worker look at all that is due.
_LOOK = ""


class Worker(Protocol):
    """What peers ask of the engine of a worker process. May be called from any thread."""

    def room(self) -> int:
        """How many more runs it would take now."""

    async def take(self, run_ids: list[UUID]) -> None:
        """Claim these runs as far as they are to be had. On any loop."""

    def look(self) -> None:
        """Claim what is due."""

    def cancel_here(self, run_id: UUID, action: str) -> bool:
        """Stop the run, if it is in work here."""

    def lose_here(self, run_ids: list[UUID]) -> None:
        """Stop these runs as far as they are in work here: nothing they write counts any more."""

    def end_lost(self, run_id: UUID, owner: str) -> None:
        """End a run that is between two attempts, if nobody has taken it from `owner` yet."""


class Peers:
    """Every other process. Whatever sends may be called from any thread."""

    def __init__(self, link: RedisLink, writer: RedisWriter, signals: RedisSignals) -> None:
        self._link = link
        self._writer = writer
        self._signals = signals
        self._lock = threading.Lock()
        # Those who wait until a run is let go of.
        self._waiting: dict[UUID, list[Callable[[], None]]] = {}
        self._freed: asyncio.Event = asyncio.Event()
        signals.on("released", self._heard_released)
        signals.listen()

    # --- Sending --------------------------------------------------------------------------------------

    def offer(self, run_id: UUID | None) -> None:
        """Give a run to whichever worker has room; None: let one look at all that is due."""
        self._writer.call(_OFFER, [QUEUE], [str(run_id) if run_id else _LOOK, LONGEST_QUEUE])

    def cancel(self, run_id: UUID, action: str) -> None:
        """Stop a run, wherever it is in work."""
        self._signals.send("cancel", str(run_id), action)

    def lose(self, run_ids: list[UUID]) -> None:
        """Stop runs that were deleted."""
        self._signals.send("lose", [str(run_id) for run_id in run_ids])

    def end(self, run_id: UUID, owner: str) -> None:
        """Have a worker end a run that is between two attempts. All hear of it, and one takes it over from `owner`."""
        self._signals.send("end", str(run_id), owner)

    def released(self, run_id: UUID) -> None:
        """Say that this process does not work on the run any more."""
        self._signals.send("released", str(run_id))

    # --- Waiting --------------------------------------------------------------------------------------

    async def let_go(self, run_id: UUID, is_held: Callable[[UUID], bool], seconds: float) -> None:
        """Wait until nobody holds the run, `seconds` at most."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(heard.set)

        with self._lock:
            self._waiting.setdefault(run_id, []).append(wake)
        try:
            deadline = time.monotonic() + seconds
            while await read_db(is_held, run_id) and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), LOOK_SECONDS)
                heard.clear()
        finally:
            with self._lock:
                self._waiting[run_id].remove(wake)
                if not self._waiting[run_id]:
                    del self._waiting[run_id]

    def _heard_released(self, run_id: str) -> None:
        with self._lock:
            waiting = list(self._waiting.get(UUID(run_id), ()))
        for wake in waiting:
            wake()

    # --- Working --------------------------------------------------------------------------------------

    def serve(self, worker: Worker) -> None:
        """Let the worker take part: it is given runs for as long as it has room."""
        self._signals.on("cancel", lambda run_id, action: worker.cancel_here(UUID(run_id), action))
        self._signals.on("lose", lambda run_ids: worker.lose_here([UUID(run_id) for run_id in run_ids]))
        self._signals.on("end", lambda run_id, owner: worker.end_lost(UUID(run_id), owner))
        # What was offered to a Redis that is gone is still in the database.
        self._signals.on_gap(worker.look)
        self._link.submit(self._consume(worker))

    def has_room_again(self) -> None:
        """Say that the worker, which was full, has room."""
        self._link.call(self._freed.set)

    async def _consume(self, worker: Worker) -> None:
        client, outage = self._link.client(), Outage("no runs are taken from Redis; sweeps find them")
        while True:
            try:
                names = await self._taken(client, worker)
            except Exception as error:
                await outage.failed(error)
                continue
            outage.is_over()
            try:
                await self._handed_over(worker, names)
            except Exception:
                # The database may be away; the runs are still there.
                logger.exception("%d runs could not be claimed; a sweep finds them", len(names))

    async def _taken(self, client: Redis, worker: Worker) -> list[str]:
        """Names of runs, not more than there is room for; none after a time of silence."""
        self._freed.clear()
        room = worker.room()
        if room <= 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), BLOCK_SECONDS)
            return []
        first = await client.blpop([QUEUE], timeout=BLOCK_SECONDS)
        if first is None:
            return []
        more = await client.lpop(QUEUE, min(room, TAKEN_AT_ONCE) - 1) if min(room, TAKEN_AT_ONCE) > 1 else None
        return [name.decode() for name in (first[1], *(more or ()))]

    async def _handed_over(self, worker: Worker, names: list[str]) -> None:
        if _LOOK in names:
            worker.look()
        if run_ids := [run_id for name in names if (run_id := parse_uuid(name)) is not None]:
            await worker.take(run_ids)


@cache
def redis_peers() -> Peers:
    """The peers of this process, over `REDIS_URL`."""
    return Peers(redis_link(), redis_writer(), redis_signals())
