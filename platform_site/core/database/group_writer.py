"""SQLite's one writer: calls that wait together share one transaction.

A commit writes every page that was touched to the log; calls that touch the same tables touch mostly the same pages,
so that a commit for many costs little more than a commit for one.
"""

import asyncio
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, TypeVar

from django.db import close_old_connections, connection, transaction

T = TypeVar("T")
# More would make the first of a group wait for long.
LARGEST_GROUP = 64
# A group ends early once its calls have taken so long, in seconds: others wait for the whole transaction.
LONGEST_GROUP_SECONDS = 0.25


class _Call(NamedTuple):
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    function: Callable[[], Any]


class _Outcome(NamedTuple):
    result: Any
    failure: BaseException | None


class _SomethingToUndo(Exception):
    """A group may not be committed: of a call that failed, something would stay."""


class _Turns:
    """Keeps groups and guests apart: a guest waits for the group under way, and no group begins before it is done."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._guests = 0
        self._is_writing = False

    @contextmanager
    def group(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._guests)
            self._is_writing = True
        try:
            yield
        finally:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()

    @contextmanager
    def guest(self) -> Iterator[None]:
        with self._changed:
            self._guests += 1
            self._changed.wait_for(lambda: not self._is_writing)
        try:
            yield
        finally:
            with self._changed:
                self._guests -= 1
                self._changed.notify_all()


class GroupWriter:
    """Runs calls one after the other on a thread of its own.

    A call is answered after the commit of its group. A call that raises is rolled back alone. If it had written
    something by then, or if a commit fails, the calls of its group are made again. So a call must be good to be made
    more than once, and what it does outside of the database it gives to `transaction.on_commit(..., robust=True)`.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._start = threading.Lock()
        self._started = False
        self._turns = _Turns()
        self.is_busy = False

    @property
    def is_current(self) -> bool:
        """Whether the code that asks runs on the writer's thread."""
        return threading.current_thread() is self._thread

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return self._calls.qsize()

    async def run(self, function: Callable[[], T]) -> T:
        """Return the function's result, in turn. A caller that gives up does not stop it."""
        if not self._started:
            with self._start:
                if not self._started:
                    self._thread.start()
                    self._started = True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put(_Call(loop, future, function))
        return await future

    def turn(self) -> AbstractContextManager[None]:
        """Let the caller's thread write on a connection of its own, after the group under way and before the next one.

        SQLite does not queue those who wait for its lock: against a writer that never pauses, others may wait in vain.
        """
        return self._turns.guest()

    def shutdown(self) -> None:
        """End the thread after what waits."""
        self._calls.put(None)
        if self._started:
            self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            self._make(group)
            # What the calls hold, such as a state, is not kept until there is another one.
            del group
        connection.close()

    def _next_group(self) -> list[_Call]:
        """Wait for a call, and take those that wait with it. Empty at the end."""
        group: list[_Call] = []
        while len(group) < LARGEST_GROUP and not (group and self._calls.empty()):
            call = self._calls.get()
            if call is None:
                if group:
                    # To be found once more when these are made.
                    self._calls.put(None)
                break
            group.append(call)
        return group

    def _make(self, group: list[_Call]) -> None:
        self.is_busy = True
        while group:
            close_old_connections()
            with self._turns.group():
                outcomes = _write(group)
            _answer(group[: len(outcomes)], outcomes)
            group = group[len(outcomes) :]
        self.is_busy = False


def _write(group: list[_Call]) -> list[_Outcome]:
    """Make the calls of a group, or the first of them where they take long; return their outcomes."""
    if len(group) > 1:
        for savepoints in (False, True):
            try:
                with transaction.atomic():
                    return _together(group, savepoints=savepoints)
            except Exception:
                # Nothing was written: a call left something to undo, or the commit failed, for a reason not known.
                close_old_connections()
    return [_outcome(call.function) for call in group]


def _together(group: list[_Call], *, savepoints: bool) -> list[_Outcome]:
    """Make the calls in the transaction around. Raise `_SomethingToUndo` if it may not be committed.

    A savepoint for each call costs as much as the call, and nearly every group has no call that fails after a write.
    So savepoints are for the second time.
    """
    end = time.monotonic() + LONGEST_GROUP_SECONDS
    outcomes: list[_Outcome] = []
    for call in group:
        before = _effects()
        outcome = _outcome(_in_savepoint(call.function) if savepoints else call.function)
        if outcome.failure is not None and not savepoints:
            _require_same(before)
        if transaction.get_rollback():
            raise _SomethingToUndo
        outcomes.append(outcome)
        if time.monotonic() >= end:
            break
    return outcomes


def _effects() -> tuple[int, int] | None:
    """Return how much the transaction has brought about: rows changed, and what is to follow its commit.

    None if the transaction has ended: SQLite does that by itself after some failures, such as of the disk.
    """
    database = connection.connection
    if database is None or not database.in_transaction:
        return None
    return database.total_changes, len(connection.run_on_commit)


def _require_same(before: tuple[int, int] | None) -> None:
    """Raise `_SomethingToUndo` unless the call that has just failed brought about nothing."""
    if before is None or _effects() != before:
        raise _SomethingToUndo
    # A block of the call asked for it.
    transaction.set_rollback(False)


def _in_savepoint(function: Callable[[], T]) -> Callable[[], T]:
    def guarded() -> T:
        with transaction.atomic():
            return function()

    return guarded


def _outcome(function: Callable[[], Any]) -> _Outcome:
    try:
        return _Outcome(function(), None)
    except BaseException as failure:
        return _Outcome(None, failure)


def _answer(group: list[_Call], outcomes: list[_Outcome]) -> None:
    """Give the outcomes to their loops: one wake-up for each loop, however many calls."""
    answers: defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], _Outcome]]] = defaultdict(list)
    for call, outcome in zip(group, outcomes, strict=True):
        answers[call.loop].append((call.future, outcome))
    for loop, answer in answers.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, answer)


def _settle(answers: "list[tuple[asyncio.Future[Any], _Outcome]]") -> None:
    for future, (result, failure) in answers:
        if future.done():
            # Its caller gave up.
            continue
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)
