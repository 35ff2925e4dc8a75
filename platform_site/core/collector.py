"""The garbage collector of a process that serves: what lives for ever is out of its sight, and full collections count.

A full collection looks at every container object and stops all loops of the process meanwhile. Most of what it would
look at came with the imports (Django, LangGraph, the graphs) and lives as long as the process. So `settle` collects
once the graphs are loaded, freezes what is left, and lets full collections come far more seldom.
"""

import gc
import logging
import time
from collections import deque
from typing import Any

from platform_site.core import metrics
from platform_site.core.rounds import Task

logger = logging.getLogger("switchyard.collector")

# Container objects that are made before a young collection, and how many of these come before one of each older
# generation. Python's own are (700, 10, 10).
THRESHOLDS = (10_000, 20, 20)
# A full collection that takes longer than this is worth a line in the log.
SLOW_SECONDS = 0.05
TELL_SECONDS = 5.0
# Kept until they are told.
_MOST_DURATIONS = 1000

_began = 0.0
_durations: "deque[float]" = deque(maxlen=_MOST_DURATIONS)


def settle() -> None:
    """Collect garbage, freeze what lives on, and watch the full collections from now on. May be called again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    if _note not in gc.callbacks:
        gc.callbacks.append(_note)


def _note(phase: str, info: dict[str, Any]) -> None:
    # This is called in the middle of anything, by a thread that may hold any lock: it only stores numbers.
    global _began
    if info["generation"] < 2:
        return
    if phase == "start":
        _began = time.perf_counter()
    else:
        _durations.append(time.perf_counter() - _began)


async def tell() -> None:
    """Count the full collections since the last call, and log those that were slow."""
    while _durations:
        seconds = _durations.popleft()
        metrics.FULL_COLLECTIONS.inc()
        metrics.FULL_COLLECTION_SECONDS.inc(seconds)
        if seconds > SLOW_SECONDS:
            metrics.SLOW_COLLECTIONS.inc()
            logger.warning("a full garbage collection stopped this process for %.0f ms", seconds * 1000)


def collector_tasks() -> list[Task]:
    """Return the task that tells of full collections."""
    return [Task("collector", tell, TELL_SECONDS)]
