"""Long-term memory: LangGraph's own stores on the configured database, one workspace apart from the other."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from platform_site.core.checkpoints.fence import Fence, LeaseLost

if TYPE_CHECKING:
    from platform_site.core.items.store import ItemStore

T = TypeVar("T")
# A store and how to close it.
OpenStore = tuple["ItemStore", Callable[[], Awaitable[None]]]
# The lease under which the current context writes; None for people and programs.
writing_fence: ContextVar[Fence | None] = ContextVar("writing_fence", default=None)


class LoopStores:
    """One store for each event loop, opened by the first operation there: most graphs never touch it."""

    def __init__(self, open_store: Callable[[], Coroutine[Any, Any, OpenStore]]) -> None:
        self._open_store = open_store
        self._lock = threading.Lock()
        self._opening: dict[asyncio.AbstractEventLoop, asyncio.Task[OpenStore]] = {}
        # Operations that go on though their caller was cancelled.
        self._running: set[asyncio.Task[Any]] = set()

    async def batch(self, ops: list[Op]) -> list[Result]:
        """Run the operations on the current loop's store."""
        return await self.call(lambda store: store.abatch(ops))

    async def call(self, function: Callable[["ItemStore"], Awaitable[T]]) -> T:
        """Call the function with the current loop's store.

        It is finished even if the caller is cancelled: a transaction cut in two would stay open on a connection that
        all runs share.
        """
        task = asyncio.ensure_future(self._call(function))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _call(self, function: Callable[["ItemStore"], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        with self._lock:
            opening = self._opening.get(loop)
            if opening is None or _has_failed(opening):
                opening = self._opening[loop] = asyncio.ensure_future(self._open(self._take_left()))
        store, _ = await opening
        return await function(store)

    def _take_left(self) -> list["ItemStore"]:
        """Forget the stores of closed loops, and return them. The caller holds the lock."""
        left = [self._opening.pop(loop) for loop in list(self._opening) if loop.is_closed()]
        return [opening.result()[0] for opening in left if opening.done() and not _has_failed(opening)]

    async def _open(self, left: list["ItemStore"]) -> OpenStore:
        """Open a store. Let go of those that closed loops have left: a node may make a loop for each of its calls."""
        for store in left:
            await asyncio.to_thread(store.let_go)
        return await self._open_store()

    @property
    def kept(self) -> int:
        """How many loops have a store."""
        return len(self._opening)

    async def close_current(self) -> None:
        """Close the store of the current loop, after the operations under way there."""
        loop = asyncio.get_running_loop()
        with self._lock:
            opening = self._opening.pop(loop, None)
        if opening is None:
            return
        # A copy: other loops begin and end operations meanwhile.
        running = [task for task in self._running.copy() if task.get_loop() is loop]
        await asyncio.gather(*running, return_exceptions=True)
        if _has_failed(opening):
            # Whoever asked for it has been told.
            return
        _, close = await opening
        await close()


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class WorkspaceStore(BaseStore):
    """What a graph of one workspace sees: the workspace is the first label of every namespace, and never shown.

    Synchronous methods are for other threads than the event loop's.
    """

    supports_ttl = True

    def __init__(
        self, stores: LoopStores, workspace_id: int, ttl: TTLConfig | None = None, fence: Fence | None = None
    ) -> None:
        """Writes raise `LeaseLost`, and change nothing, where a `fence` is given and does not hold at that moment."""
        self._stores = stores
        self._fence = fence
        self._label = str(workspace_id)
        self._loop = asyncio.get_running_loop()
        # Read by the methods of the base class: what is meant when a call does not say.
        self.ttl_config = ttl

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        ops = list(ops)
        for op in ops:
            # Before the workspace becomes a part of it: an empty label or one with a dot would lead elsewhere.
            validate_op_namespace(op)
        fence = self._fence if any(isinstance(op, PutOp) for op in ops) else None
        if fence is not None and not fence.holds():
            raise LeaseLost(fence)
        # For the transaction of these operations; what reading prolongs is no write of the attempt.
        writing_fence.set(fence)
        results = await self._stores.batch([self._inward(op) for op in ops])
        return [self._outward(result) for result in results]

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        try:
            inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            inside = False
        if inside:
            raise asyncio.InvalidStateError(
                "This call would block the event loop that has to answer it: use `await store.aget(...)`,"
                " `await store.aput(...)` and so on in an async node."
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    def _inward(self, op: Op) -> Op:
        if isinstance(op, GetOp | PutOp):
            return op._replace(namespace=(self._label, *op.namespace))
        if isinstance(op, SearchOp):
            return op._replace(namespace_prefix=(self._label, *op.namespace_prefix))
        assert isinstance(op, ListNamespacesOp)
        conditions = [MatchCondition("prefix", (self._label,))]
        for condition in op.match_conditions or ():
            # One more label at the front for both: the workspace, or for a suffix any label, as the workspace itself
            # must not count as a part of it.
            first = self._label if condition.match_type == "prefix" else "*"
            conditions.append(MatchCondition(condition.match_type, (first, *condition.path)))
        depth = None if op.max_depth is None else op.max_depth + 1
        return op._replace(match_conditions=tuple(conditions), max_depth=depth)

    def _outward(self, result: Result) -> Result:
        if isinstance(result, Item):
            result.namespace = result.namespace[1:]
        elif isinstance(result, list):
            return [self._shown(entry) for entry in result]
        return result

    def _shown(self, entry: Any) -> Any:
        if isinstance(entry, Item):
            entry.namespace = entry.namespace[1:]
            return entry
        return entry[1:]
