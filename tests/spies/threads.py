"""The spy on savers and stores: an attempt, and who reads or changes a state, touch their own thread and workspace.

What is refused by the product itself, with an exception, is no violation.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple

from tests.spies.statements import caller, canonical
from tests.spies.violations import report, told_by

# What a saver is asked with a config, and with the id of a thread.
_BY_CONFIG = ("aget_tuple", "get_tuple", "aput", "put", "aput_writes", "put_writes")
_LISTS = ("alist", "list")
_BY_THREAD = ("adelete_thread", "delete_thread")
# Of `Checkpoints`, by the thread.
_MAINTENANCE = ("has_checkpoint_of_run", "head", "command_writes", "delete_run", "keep_latest", "storage")


class Place(NamedTuple):
    """What an attempt or a call on a state may touch."""

    thread_id: str
    workspace_id: int


own: ContextVar[Place | None] = ContextVar("spied_place", default=None)


def saw_thread(thread_id: Any) -> None:
    """Judge a thread that was reached."""
    place = own.get()
    if place is not None and str(thread_id) != place.thread_id:
        report(f"thread {thread_id} was reached by what belongs to {place}: {' < '.join(told_by()[:6])}")


def saw_workspace(label: str) -> None:
    """Judge a workspace whose items were reached."""
    place, who = own.get(), caller.get()
    allowed = place.workspace_id if place is not None else who.workspace_id if who is not None else None
    if allowed is not None and label != str(allowed):
        report(f"items of workspace {label} were reached by workspace {allowed}: {' < '.join(told_by()[:6])}")


def _thread_of(config: Any) -> Any:
    return (config or {}).get("configurable", {}).get("thread_id")


def _after(function: Any, seen: Callable[..., None]) -> Any:
    """The coroutine function or function, judged after it has done what it was asked for."""
    import inspect

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def waited(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = await function(self, *args, **kwargs)
            seen(*args, **kwargs)
            return result

        return waited

    @wraps(function)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(self, *args, **kwargs)
        seen(*args, **kwargs)
        return result

    return called


def _listing(function: Any) -> Any:
    @wraps(function)
    async def listed(self: Any, config: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for found in function(self, config, **kwargs):
            saw_thread(_thread_of(found.config))
            yield found

    return listed


def _saw_config(config: Any, *_: Any, **__: Any) -> None:
    saw_thread(_thread_of(config))


def _saw_id(thread_id: Any, *_: Any, **__: Any) -> None:
    saw_thread(thread_id)


def _saw_looked_up(thread_id: Any, *_: Any, **__: Any) -> None:
    """Judge a thread whose checkpoints a request looked at: it was found in the caller's workspace before."""
    who = caller.get()
    if who is not None and canonical(thread_id) not in who.known:
        report(f"checkpoints of thread {thread_id} were looked at before the thread: {' < '.join(told_by()[:6])}")


def install() -> None:
    """Watch the savers and stores of both databases, and say what attempts and calls on a state may touch."""
    from platform_site.core.checkpoints.postgres.checkpoints import PostgresCheckpoints
    from platform_site.core.checkpoints.postgres.saver import PooledPostgresSaver
    from platform_site.core.checkpoints.sqlite.checkpoints import SqliteCheckpoints
    from platform_site.core.checkpoints.sqlite.saver import GroupCommitSaver
    from platform_site.core.items.stores import WorkspaceStore

    for saver in (GroupCommitSaver, PooledPostgresSaver):
        for name in _BY_CONFIG:
            setattr(saver, name, _after(getattr(saver, name), _saw_config))
        for name in _BY_THREAD:
            setattr(saver, name, _after(getattr(saver, name), _saw_id))
        saver.alist = _listing(saver.alist)  # type: ignore[method-assign]
    for checkpoints in (SqliteCheckpoints, PostgresCheckpoints):
        for name in _MAINTENANCE:
            setattr(checkpoints, name, _after(getattr(checkpoints, name), _saw_id))
        checkpoints.fingerprints_sync = _after(  # type: ignore[method-assign]
            checkpoints.fingerprints_sync, _saw_looked_up
        )
    abatch = WorkspaceStore.abatch

    async def watched(self: Any, ops: Any) -> Any:
        saw_workspace(self._label)
        return await abatch(self, ops)

    WorkspaceStore.abatch = watched  # type: ignore[method-assign]
    _name_places()
    _leave_rounds_alone()


def _name_places() -> None:
    from runs.engine.attempt import Attempt
    from threads import reading, state, state_changes

    graph_of = state.graph_of

    def placed(method: Any) -> Any:
        @wraps(method)
        async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
            # An attempt may be started by a request, and belongs to no caller.
            caller.set(None)
            own.set(Place(str(self.claim.thread_id), self.claim.workspace_id))
            try:
                return await method(self, *args, **kwargs)
            finally:
                own.set(None)

        return execute

    for name in ("execute", "abandon", "show_state"):
        setattr(Attempt, name, placed(getattr(Attempt, name)))

    @asynccontextmanager
    async def of(thread: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        own.set(Place(str(thread.thread_id), thread.workspace_id))
        try:
            async with graph_of(thread, *args, **kwargs) as graph:
                yield graph
        finally:
            own.set(None)

    state.graph_of = of
    state_changes.graph_of = of  # type: ignore[attr-defined]
    reading.graph_of = of  # type: ignore[attr-defined]


def _leave_rounds_alone() -> None:
    """Background tasks may be started by a request, and belong to no caller."""
    from platform_site.core.background.rounds import Rounds

    run = Rounds.run

    async def repeat(self: Any) -> None:
        caller.set(None)
        await run(self)

    Rounds.run = repeat  # type: ignore[method-assign]
