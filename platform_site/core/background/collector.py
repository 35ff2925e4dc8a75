"""The garbage collector of a process that serves: what lives for ever is out of its sight, and full collections count.

A full collection looks at every container object and stops all loops of the process meanwhile. Most of what it would
look at came with the imports (Django, LangGraph, the graphs) and lives as long as the process. So `settle` collects
once the graphs are loaded and freezes what is left: 190,000 objects, and 150 ms of each full collection.

Who triggers what is left (CPython 3.11, Modules/gcmodule.c): a young collection comes when so many more containers were
made than freed, a middle one after so many young ones, a full one after so many middle ones. A full one has to wait,
besides, until the objects that have outlived a middle collection since the last full one are a quarter of those that
outlived that. Freezing does not change this number. So `settle` has to collect before it freezes: then the first full
collection waits for 48,000 survivors, and sees no more than those. Later ones see what runs have left behind.

The thresholds are a bargain between pauses and memory. Garbage in cycles (an exception that is kept with its frames)
stays until a collection; the first figure is what 256 cycles in work, each with 100 kB, make of 26 MB at the worst.

| thresholds    | memory  | young, middle collections per 1,000 runs at 256 clients |
|---------------|---------|---------------------------------------------------------|
| 700, 10, 10   |  305 MB | 550, 50 (and 5 full ones, as nothing was frozen)        |
| 10000, 20, 20 |  890 MB | 35, 2                                                   |
| 20000, 5, 10  |  490 MB | 14, 2.6                                                 |
| 50000, 2, 10  |  480 MB | 3.5, 1.2, of up to 40 ms                                |
"""

import gc
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from platform_site.core.background.rounds import Task
from platform_site.core.telemetry import metrics

logger = logging.getLogger("switchyard.collector")

THRESHOLDS = (20_000, 5, 10)
# A full collection that takes longer than this is worth a line in the log.
SLOW_SECONDS = 0.05
ROUND_SECONDS = 5.0
# So many modules more than at the last `settle` are worth another one.
MANY_MODULES = 100
# The share of one core below which a process is idle.
IDLE_SHARE = 0.05
# So many slow ones are kept until they are logged.
_MOST_SLOW = 100


class _Seen:
    """The full collections of this process.

    Only the collector's callback writes here. Python lets no second collection begin, on whatever thread, before the
    callback was told that the first has ended.
    """

    count = 0
    seconds = 0.0
    slow_count = 0
    began = 0.0
    slow: "deque[float]" = deque(maxlen=_MOST_SLOW)


# How many modules there were at the last `settle`; None before the first.
_modules: int | None = None


def settle() -> None:
    """Collect garbage, freeze what lives on, and watch the full collections from now on.

    May be called again. What was frozen before is looked at once more, so nothing that has become garbage since stays.
    """
    global _modules
    _modules = len(sys.modules)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    if _note not in gc.callbacks:
        gc.callbacks.append(_note)
    logger.debug("the garbage collector leaves %d objects alone from now on", gc.get_freeze_count())


def _note(phase: str, info: dict[str, Any]) -> None:
    # This is called in the middle of anything, by a thread that may hold any lock: it only stores numbers.
    if info["generation"] < 2:
        return
    if phase == "start":
        _Seen.began = time.perf_counter()
        return
    seconds = time.perf_counter() - _Seen.began
    _Seen.count += 1
    _Seen.seconds += seconds
    if seconds > SLOW_SECONDS:
        _Seen.slow_count += 1
        _Seen.slow.append(seconds)


# How much of `_Seen` is in the metrics. A collection may begin while the lock is held: the callback never takes it.
_counted = (0, 0.0, 0)
_counting = threading.Lock()


def count_collections() -> None:
    """Bring the metrics of full collections up to this moment. Any thread may call this: each is counted once."""
    global _counted
    with _counting:
        now = (_Seen.count, _Seen.seconds, _Seen.slow_count)
        counters = (metrics.FULL_COLLECTIONS, metrics.FULL_COLLECTION_SECONDS, metrics.SLOW_COLLECTIONS)
        for counter, value, before in zip(counters, now, _counted, strict=True):
            counter.inc(value - before)
        _counted = now


def _log_slow_ones() -> None:
    # Only the loop logs, so no other thread takes what is here.
    while _Seen.slow:
        logger.warning("a full garbage collection stopped this process for %.0f ms", _Seen.slow.popleft() * 1000)


class CollectorRounds:
    """What a process tells of its full collections, and when it settles again."""

    def __init__(
        self, cpu_seconds: Callable[[], float] = time.process_time, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._now = now
        self._last = (cpu_seconds(), now())

    async def round(self) -> None:
        """Count and log the full collections since the last round; settle if much was imported and nothing is done."""
        count_collections()
        _log_slow_ones()
        if self._was_idle() and _modules is not None and len(sys.modules) - _modules >= MANY_MODULES:
            settle()

    def _was_idle(self) -> bool:
        """Return whether the process has done next to nothing since the last round."""
        last, self._last = self._last, (self._cpu_seconds(), self._now())
        return self._last[0] - last[0] < IDLE_SHARE * (self._last[1] - last[1])


def collector_tasks() -> list[Task]:
    """Return the task that tells of full collections."""
    return [Task("collector", CollectorRounds().round, ROUND_SECONDS)]
