"""Work that nobody waits for, kept alive: schedules, deliveries, sweeps.

A task is a *round* that is repeated. The tasks of a process share one event loop on a thread of its own, where no graph
can hold them up. A round that fails is logged and repeated after a growing pause; nothing but `stop` ends a task.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from platform_site.core.background.rounds import Rounds, Status, Task
from platform_site.core.loops import BackgroundLoop

if TYPE_CHECKING:
    from platform_site.core.redis.signals import RedisSignals

__all__ = ["BackgroundTasks", "Status", "Task", "background"]

logger = logging.getLogger("switchyard.background")

# How long `stop` waits for rounds that it has cancelled.
STOP_SECONDS = 10.0


class BackgroundTasks:
    """The tasks of a process. `wake` and `statuses` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: BackgroundLoop | None = None
        self._rounds: dict[str, Rounds] = {}
        # Of loops that are kept alive elsewhere and tell here how they are doing.
        self._elsewhere: dict[str, Status] = {}
        # On the loop only.
        self._running: list[asyncio.Task[None]] = []
        self._closes: list[Callable[[], Awaitable[None]]] = []

    def start(self, tasks: Iterable[Task]) -> None:
        """Begin the first round of every task; idempotent until `stop`."""
        with self._lock:
            if self._loop is not None:
                return
            tasks = list(tasks)
            self._rounds = {task.name: Rounds(task) for task in tasks}
            self._closes = [task.close for task in tasks if task.close is not None]
            self._loop = BackgroundLoop("background")
            self._loop.start()
            self._loop.submit(self._begin()).result()
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
        loop, rounds = self._loop, self._rounds.get(name)
        if loop is None or rounds is None:
            # What lives elsewhere is woken there.
            return name in self._elsewhere
        # A loop that has just been closed has nobody to wake.
        with contextlib.suppress(RuntimeError):
            loop.loop.call_soon_threadsafe(rounds.wake)
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

    def watch(self, status: Status) -> None:
        """Show among the tasks a loop that is kept alive elsewhere; one of the same name takes its place."""
        self._elsewhere[status.name] = status

    def statuses(self) -> list[Status]:
        """How each task is doing: what is kept alive elsewhere, then the tasks in the order of `start`."""
        return [*self._elsewhere.values(), *(rounds.status for rounds in self._rounds.values())]

    async def _begin(self) -> None:
        self._running = [asyncio.create_task(rounds.run(), name=name) for name, rounds in self._rounds.items()]

    async def _end(self) -> None:
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for failure in await asyncio.gather(*(close() for close in self._closes), return_exceptions=True):
            if isinstance(failure, Exception):
                logger.error("a background task did not end well", exc_info=failure)
        # Imported when it happens: it brings LangGraph along, which no command line has to wait for.
        from platform_site.core.items.configured import close_storage

        await close_storage()


def _signals() -> "RedisSignals":
    from platform_site.core.redis.signals import redis_signals

    return redis_signals()


@cache
def background() -> BackgroundTasks:
    """Return the background tasks of this process."""
    return BackgroundTasks()
