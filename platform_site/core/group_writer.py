"""SQLite's one writer: calls that wait together share one transaction.

A commit writes every page that was touched to the log; calls that touch the same tables touch mostly the same pages,
so that a commit for many costs little more than a commit for one.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from django.db import close_old_connections, connection, transaction

T = TypeVar("T")
# More would make the first of a group wait for long.
LARGEST_GROUP = 64


class GroupWriter:
    """Runs calls one after the other on a thread of its own.

    A call's future is resolved after the commit of its group. A call that raises is rolled back alone; if a commit
    fails, the calls of its group are made again, one by one. So a call must be good to be made twice, and what it does
    outside of the database it gives to `transaction.on_commit(..., robust=True)`.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._start = threading.Lock()
        self._started = False

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Run the call on the writer's thread, after those that were submitted before it."""
        if not self._started:
            with self._start:
                if not self._started:
                    self._thread.start()
                    self._started = True
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def shutdown(self, wait: bool = True) -> None:
        """End the thread after what was submitted."""
        self._calls.put(None)
        if wait and self._started:
            self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            item = self._calls.get()
            group = []
            while item is not None:
                if item[0].set_running_or_notify_cancel():
                    group.append(item)
                if len(group) == LARGEST_GROUP or self._calls.empty():
                    break
                item = self._calls.get()
            going_on = item is not None
            if group:
                close_old_connections()
                self._write(group)
        connection.close()

    def _write(self, group: list[tuple[Future[Any], Callable[[], Any]]]) -> None:
        if len(group) == 1:
            future, call = group[0]
            _settle(future, *_outcome(call))
            return
        try:
            with transaction.atomic():
                outcomes = [_outcome(_in_savepoint(call)) for _, call in group]
        except Exception:
            # Nothing of the group was written, and who spoiled the commit is not known: each on its own.
            for future, call in group:
                _settle(future, *_outcome(call))
            return
        for (future, _), outcome in zip(group, outcomes, strict=True):
            _settle(future, *outcome)


def _in_savepoint(call: Callable[[], T]) -> Callable[[], T]:
    def guarded() -> T:
        with transaction.atomic():
            return call()

    return guarded


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as failure:
        return None, failure


def _settle(future: "Future[Any]", result: Any, failure: BaseException | None) -> None:
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
