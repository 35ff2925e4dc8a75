"""The pool for synchronous nodes, which knows whose work runs in it: a cancelled attempt still owns its threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

current_work: ContextVar["Work | None"] = ContextVar("current_work", default=None)


class Work:
    """Counts the synchronous calls that one attempt has in the pool."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._when_idle: list[Callable[[], None]] = []

    def begin(self) -> None:
        with self._lock:
            self._running += 1

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            callbacks, self._when_idle = (self._when_idle, []) if self._running == 0 else ([], self._when_idle)
        for callback in callbacks:
            callback()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back, in any thread, once no call of the attempt is left."""
        with self._lock:
            if self._running:
                self._when_idle.append(callback)
                return
        callback()


class NodeThreads(ThreadPoolExecutor):
    """The run loop's default executor."""

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        work = current_work.get()
        if work is None:
            return super().submit(function, *args, **kwargs)
        work.begin()
        try:
            future = super().submit(function, *args, **kwargs)
        except RuntimeError:
            # The pool is shutting down.
            work.end()
            raise
        future.add_done_callback(lambda _: work.end())
        return future
