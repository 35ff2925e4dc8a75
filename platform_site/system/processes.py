"""The memory of every process of this server: each reads its own figures every few seconds and tells the others.

In scale mode they meet in one hash in Redis. A process that tells its figures is answered with those of all, so a page
asks nobody. Figures of a process that has ended, or stands still, are forgotten after a while.
"""

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from platform_site.core.background.rounds import Task
from platform_site.core.events.configured import event_log
from platform_site.core.telemetry import metrics
from platform_site.core.telemetry.process_memory import memory_limit, resident_bytes
from platform_site.system.process_figures import INTERVAL, WINDOW_SECONDS, ProcessFigures, RedisFigures
from threads.state_cache import state_cache

if TYPE_CHECKING:
    from platform_site.system.redis_processes import RedisProcesses

logger = logging.getLogger("switchyard.processes")


class Recent:
    """How much counters grew within the last `WINDOW_SECONDS`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, tuple[float, ...]]] = deque()

    def grown(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Note the counters' values of now; return the growth of each since the oldest sample of the window."""
        now = self._clock()
        self._samples.append((now, values))
        while now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        return tuple(new - old for new, old in zip(values, self._samples[0][1], strict=True))


class Processes:
    """What this process knows of itself and of the others. `round` runs in a background task, the rest anywhere."""

    def __init__(self, role: str = "server", clock: Callable[[], float] = time.monotonic) -> None:
        self.role = role
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._recent = Recent(clock)
        self._own: ProcessFigures | None = None
        self._others: list[ProcessFigures] = []
        # None in one process, and while Redis does not answer.
        self.redis: RedisFigures | None = None
        # Whether what the others tell is known, where there may be others.
        self.hears = True

    @property
    def own(self) -> ProcessFigures:
        """The figures of this process: those of the last round, or of now before the first."""
        return self._own or self._read((0.0, 0.0, 0.0, 0.0))

    def all(self) -> list[ProcessFigures]:
        """Return the figures of this process and of all others that are known, ordered by role and name."""
        return sorted([self.own, *self._others], key=lambda figures: (figures.role, figures.name))

    async def round(self) -> None:
        """Read the figures of this process and, in scale mode, exchange them with the other processes."""
        counters = (
            metrics.EVENTS_CUT,
            metrics.READERS_CUT_OFF,
            metrics.SLOW_COLLECTIONS,
            metrics.FULL_COLLECTION_SECONDS,
        )
        self._own = own = self._read(self._recent.grown(tuple(metrics.total(counter) for counter in counters)))
        if not settings.REDIS_URL:
            return
        from redis.exceptions import RedisError

        try:
            told, redis = await _redis().exchange(own)
        except (RedisError, OSError) as error:
            if self.hears:
                logger.warning("the memory of other processes is not known: %s: %s", type(error).__name__, error)
            self._others, self.redis, self.hears = [], None, False
        else:
            self._others = [figures for figures in told if figures.name != own.name]
            self.redis, self.hears = redis, True

    async def leave(self) -> None:
        """Tell the others that this process ends."""
        if not settings.REDIS_URL:
            return
        from redis.exceptions import RedisError

        try:
            await _redis().forget(self.own)
        except (RedisError, OSError) as error:
            logger.info("the other processes learn of this one's end a little later: %s", error)

    def _read(self, recent: tuple[float, ...]) -> ProcessFigures:
        log, states = event_log(), state_cache()
        events_cut, readers, slow, seconds = recent
        return ProcessFigures(
            name=self._name,
            role=self.role,
            resident_bytes=resident_bytes() or 0,
            memory_limit=memory_limit(),
            event_bytes=log.held_bytes,
            event_budget=log.budget_bytes,
            state_cache_bytes=states.held_bytes,
            state_cache_budget=states.budget_bytes,
            recent_events_cut=int(events_cut),
            recent_readers_cut_off=int(readers),
            recent_slow_collections=int(slow),
            recent_collection_seconds=round(seconds, 3),
        )


@cache
def _redis() -> "RedisProcesses":
    from platform_site.core.redis.link import redis_link
    from platform_site.system.redis_processes import RedisProcesses

    return RedisProcesses(redis_link())


@cache
def processes() -> Processes:
    """Return what this process knows of all processes."""
    return Processes("web" if settings.REDIS_URL else "server")


def process_tasks(role: str) -> list[Task]:
    """Return the task that reads and tells the figures of this process."""
    known = processes()
    known.role = role
    return [Task("processes", known.round, INTERVAL, known.leave)]
