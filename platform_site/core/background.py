"""Work that nobody waits for, kept alive: schedules, deliveries, sweeps.

A task is a *round* that is repeated. The tasks of a process share one event loop on a thread of its own, where no graph
can hold them up. A round that fails is logged and repeated after a growing pause; nothing but `stop` ends a task.
"""

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from platform_site.core import metrics
from platform_site.core.loops import BackgroundLoop
from platform_site.core.stores import close_storage

if TYPE_CHECKING:
    from platform_site.core.redis_signals import RedisSignals

logger = logging.getLogger("switchyard.background")

# Seconds before a failed round is repeated: doubled with every failure in a row, at most the second.
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0
# Rounds may come every second; the log names a task that is well this often.
LOG_SECONDS = 600.0
# How long `stop` waits for rounds that it has cancelled.
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """What is repeated. `work` is one round; it returns the seconds until it is due again, None for `interval`."""

    name: str
    work: Callable[[], Awaitable[float | None]]
    # The longest pause in seconds, whatever a round returns: the safety net under a wake-up that was lost.
    interval: float
    # Called once when the tasks end, after the round under way: for what rounds have left going on.
    close: Callable[[], Awaitable[None]] | None = None


@dataclass
class Status:
    """How a task is doing. Times are seconds since the epoch."""

    name: str
    last_run: float | None = None
    rounds: int = 0
    failures_in_a_row: int = 0
    last_error: str = ""
    last_logged: float = 0.0


class BackgroundTasks:
    """The tasks of a process. `wake` and `statuses` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: BackgroundLoop | None = None
        self._statuses: dict[str, Status] = {}
        self._wake_ups: dict[str, asyncio.Event] = {}
        # On the loop only.
        self._running: list[asyncio.Task[None]] = []
        self._closes: list[Callable[[], Awaitable[None]]] = []

    def start(self, tasks: Iterable[Task]) -> None:
        """Begin the first round of every task; idempotent until `stop`."""
        with self._lock:
            if self._loop is not None:
                return
            tasks = list(tasks)
            self._statuses = {task.name: Status(task.name) for task in tasks}
            self._wake_ups = {task.name: asyncio.Event() for task in tasks}
            self._closes = [task.close for task in tasks if task.close is not None]
            self._loop = BackgroundLoop("background")
            self._loop.start()
            self._loop.submit(self._begin(tasks)).result()
        if settings.REDIS_URL:
            _signals().on("wake", self.wake_here)
            _signals().listen()

    def wake(self, name: str) -> None:
        """Begin the next round of a task now, or once more after the one under way.

        Where this process has no such task, the others that have it begin; if there are none, nothing happens.
        """
        if not self.wake_here(name) and settings.REDIS_URL:
            _signals().send("wake", name)

    def wake_here(self, name: str) -> bool:
        """Wake a task of this process; whether it has one."""
        loop, event = self._loop, self._wake_ups.get(name)
        if loop is None or event is None:
            return False
        # A loop that has just been closed has nobody to wake.
        with contextlib.suppress(RuntimeError):
            loop.loop.call_soon_threadsafe(event.set)
        return True

    def stop(self) -> None:
        """Cancel the rounds under way and end all tasks. Blocks until they have; idempotent."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            loop.submit(self._end()).result(timeout=STOP_SECONDS)
        except TimeoutError:
            logger.warning("background tasks did not stop in time")
        loop.stop()

    def statuses(self) -> list[Status]:
        """How each task is doing, in the order of `start`."""
        return list(self._statuses.values())

    async def _begin(self, tasks: list[Task]) -> None:
        self._running = [asyncio.create_task(self._keep_alive(task), name=task.name) for task in tasks]

    async def _end(self) -> None:
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for failure in await asyncio.gather(*(close() for close in self._closes), return_exceptions=True):
            if isinstance(failure, Exception):
                logger.error("a background task did not end well", exc_info=failure)
        await close_storage()

    async def _keep_alive(self, task: Task) -> None:
        status, wake_up = self._statuses[task.name], self._wake_ups[task.name]
        while True:
            wake_up.clear()
            try:
                pause = await self._round(task, status)
            except Exception as error:
                await asyncio.sleep(_failed(status, error))
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake_up.wait(), max(0.0, min(task.interval, pause)))

    async def _round(self, task: Task, status: Status) -> float:
        begin = time.perf_counter()
        pause = await task.work()
        seconds = time.perf_counter() - begin
        _succeeded(status, seconds)
        return task.interval if pause is None else pause


def _signals() -> "RedisSignals":
    from platform_site.core.redis_signals import redis_signals

    return redis_signals()


def _succeeded(status: Status, seconds: float) -> None:
    now = time.time()
    if status.failures_in_a_row:
        logger.info("background task %s works again after %d failures", status.name, status.failures_in_a_row)
    status.last_run, status.failures_in_a_row, status.last_error = now, 0, ""
    status.rounds += 1
    metrics.background_ran(status.name, now, seconds)
    if now - status.last_logged >= LOG_SECONDS:
        status.last_logged = now
        logger.info("background task %s ran in %.1f ms, its round %d", status.name, seconds * 1000, status.rounds)
    else:
        logger.debug("background task %s ran in %.1f ms", status.name, seconds * 1000)


def _failed(status: Status, error: Exception) -> float:
    """Log a failed round; seconds until it is repeated."""
    status.failures_in_a_row += 1
    status.last_error = f"{type(error).__name__}: {error}"
    metrics.background_failed(status.name)
    backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(status.failures_in_a_row - 1, 10))
    # Several processes that fail together should not come back together.
    pause = backoff * random.uniform(0.5, 1.0)
    logger.exception("background task %s failed; it is repeated in %.1f s", status.name, pause, exc_info=error)
    return pause


@cache
def background() -> BackgroundTasks:
    """The background tasks of this process."""
    return BackgroundTasks()
