"""Rounds of work, repeated for as long as the process lives, and how each of them is doing.

A round that fails, in whatever way, is logged, counted and repeated after a growing pause. Nothing but `end`, or the
cancellation of `run`, ends the repetition.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from platform_site.core.telemetry import logs, metrics

logger = logging.getLogger("switchyard.background")

# Seconds before a failed round is repeated: doubled with every failure in a row, at most the second or the interval.
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0


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
    interval: float
    started: float = field(default_factory=time.time)
    last_run: float | None = None
    rounds: int = 0
    failures_in_a_row: int = 0
    last_error: str = ""

    def ran(self, seconds: float) -> None:
        """Note a round that went well."""
        now = time.time()
        if self.failures_in_a_row:
            logger.info("background task %s works again after %d failures", self.name, self.failures_in_a_row)
        self.last_run, self.failures_in_a_row, self.last_error = now, 0, ""
        self.rounds += 1
        metrics.background_ran(self.name, now, seconds)
        logger.debug("background task %s ran in %.1f ms, its round %d", self.name, seconds * 1000, self.rounds)

    def failed(self, error: BaseException) -> float:
        """Note a round that failed; the seconds until it is repeated."""
        self.failures_in_a_row += 1
        self.last_error = f"{type(error).__name__}: {error}"
        metrics.background_failed(self.name)
        longest = min(LONGEST_BACKOFF, max(FIRST_BACKOFF, self.interval))
        backoff = min(longest, FIRST_BACKOFF * 2 ** min(self.failures_in_a_row - 1, 10))
        # Several processes that fail together should not come back together.
        pause = backoff * random.uniform(0.5, 1.0)
        logger.error("background task %s failed; it is repeated in %.1f s", self.name, pause, exc_info=error)
        return pause

    @property
    def last_error_class(self) -> str:
        return self.last_error.partition(":")[0]

    def is_late(self, now: float) -> bool:
        """Return whether the task has missed several of its rounds."""
        return now - (self.last_run or self.started) > 3 * self.interval + LONGEST_BACKOFF


class Rounds:
    """A task that is repeated on the loop on which `run` is called. All methods belong to that loop."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.status = Status(task.name, task.interval)
        self._woken = metrics.BACKGROUND_WAKE_UPS.labels(task.name)
        self._wake_up = asyncio.Event()
        self._ended = asyncio.Event()

    def wake(self) -> None:
        """Begin the next round now, or once more after the one under way; not within the pause after a failure."""
        self._woken.inc()
        self._wake_up.set()

    def end(self) -> None:
        """Begin no further round."""
        self._ended.set()
        self._wake_up.set()

    async def run(self) -> None:
        """Repeat the task until `end`."""
        logs.task.set(self.task.name)
        while not self._ended.is_set():
            self._wake_up.clear()
            begin = time.perf_counter()
            try:
                pause = await self.task.work()
            except BaseException as error:
                if _is_the_end(error):
                    raise
                await _wait(self._ended, self.status.failed(error))
                continue
            self.status.ran(time.perf_counter() - begin)
            if not self._ended.is_set():
                await _wait(self._wake_up, self.task.interval if pause is None else min(self.task.interval, pause))


def _is_the_end(error: BaseException) -> bool:
    """Whether somebody wants this task to end. A round may also raise a cancellation of its own, or ask for an exit."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(0.0, seconds))
