"""The pool for synchronous nodes, which knows whose work runs in it: a cancelled attempt still owns its threads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from langchain_core.runnables.config import var_child_runnable_config

P = ParamSpec("P")
T = TypeVar("T")

current_work: ContextVar["Work | None"] = ContextVar("current_work", default=None)


class Work:
    """The synchronous calls that one attempt has in the pool, each by the node that makes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[object, str] = {}
        self._when_idle: list[Callable[[], None]] = []
        self._pool: NodeThreads | None = None
        # The calls whose threads were given up.
        self._given_up: set[object] = set()

    def begin(self, pool: "NodeThreads", node: str) -> object:
        """Count a call; what `end` is told."""
        call = object()
        with self._lock:
            self._pool = pool
            self._running[call] = node
        return call

    def end(self, call: object) -> None:
        with self._lock:
            del self._running[call]
            was_given_up = call in self._given_up
            self._given_up.discard(call)
            callbacks, self._when_idle = ([], self._when_idle) if self._running else (self._when_idle, [])
        if was_given_up and self._pool is not None:
            self._pool.shrink()
        for callback in callbacks:
            callback()

    @property
    def is_idle(self) -> bool:
        return not self._running

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back, in any thread, once no call of the attempt is left."""
        with self._lock:
            if self._running:
                self._when_idle.append(callback)
                return
        callback()

    def give_up_threads(self) -> list[str]:
        """Let others have as many more threads as the attempt still holds, for as long as it does; in which nodes."""
        with self._lock:
            given_up = [call for call in self._running if call not in self._given_up]
            self._given_up.update(given_up)
            nodes, pool = sorted(set(self._running.values())), self._pool
        for _ in given_up:
            assert pool is not None
            pool.grow()
        return nodes

    @contextmanager
    def lent_thread(self) -> Iterator[None]:
        """Let others have one more thread during the block, if a thread of the attempt is held meanwhile."""
        with self._lock:
            pool = self._pool if self._running else None
        if pool is not None:
            pool.grow()
        try:
            yield
        finally:
            if pool is not None:
                pool.shrink()


class NodeThreads(ThreadPoolExecutor):
    """The run loop's default executor."""

    _size_lock = threading.Lock()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        work = current_work.get()
        if work is None:
            return super().submit(function, *args, **kwargs)
        call = work.begin(self, _current_node())
        try:
            future = super().submit(function, *args, **kwargs)
        except RuntimeError:
            # The pool is shutting down.
            work.end(call)
            raise
        future.add_done_callback(lambda _: work.end(call))
        return future

    def grow(self) -> None:
        """One thread more: one of them works for a run that gave up its slot."""
        with self._size_lock:
            self._max_workers += 1
        # Whatever waits for a thread waits no longer.
        self._adjust_thread_count()

    def shrink(self) -> None:
        """The thread that `grow` made up for is back."""
        with self._size_lock:
            self._max_workers -= 1


def _current_node() -> str:
    """The node whose function is about to be called in a thread, as LangGraph names it for the function itself."""
    config = var_child_runnable_config.get() or {}
    return str((config.get("metadata") or {}).get("langgraph_node") or "unknown")
