"""What one attempt at a run, or one call of the state API, may touch: one workspace, one thread, one run.

Whatever reaches further than a graph's own memory is handed out here and nowhere else (`tests/test_layout.py`): the
saver, the store and the name of the event feed. Store and feed cannot name another workspace or thread. A saver is told
by its caller which thread is meant, so it asks the scope first.
"""

import copy
import inspect
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.fence import Fence
from platform_site.core.checkpoints.fingerprints import Seen
from platform_site.core.checkpoints.interface import Allowlist
from platform_site.core.events.interface import feed_of
from platform_site.core.items.configured import store_for
from platform_site.core.items.stores import WorkspaceStore
from platform_site.core.run_config import SERVER_KEYS
from platform_site.core.serialization.serializer import CheckpointSerializer, Losses


class OutOfScope(RuntimeError):
    """Something was asked for that belongs to another thread, another run or another workspace."""


@dataclass(frozen=True)
class Scope:
    """The thread that an attempt, or a call of the state API, works on. An attempt also has a run."""

    workspace_id: int
    thread_id: UUID
    graph_id: str = ""
    run_id: UUID | None = None
    # The lease of the attempt, or of a change by hand: without one the saver is for reading.
    fence: Fence | None = None
    # Whether the thread is deleted with the run: its checkpoints stay in memory, and nobody follows it.
    is_temporary: bool = False

    def __post_init__(self) -> None:
        if self.fence is not None and self.fence.run_id != self.run_id:
            raise OutOfScope(f"The lease of run {self.fence.run_id} is none of run {self.run_id}")

    def saver(self, allowlist: Allowlist = (), losses: Losses | None = None, seen: Seen | None = None) -> "ScopedSaver":
        """Return a saver for the current event loop that refuses every thread and run but these.

        What it reads and cannot rebuild is noted in `losses`. Without a lease, the fingerprints of the root checkpoints
        that it reads are noted in `seen`.
        """
        inner: BaseCheckpointSaver[str]
        if self.is_temporary:
            from platform_site.core.checkpoints.memory import memory_saver

            inner = memory_saver(allowlist)
        elif self.fence is not None:
            inner = checkpoints().saver_for_run(self.fence, allowlist)
        else:
            inner = checkpoints().saver(allowlist, seen)
        if losses is not None:
            inner.serde = cast(CheckpointSerializer, inner.serde).noting(losses)
        return ScopedSaver(inner, self)

    def store(self) -> WorkspaceStore:
        """Return the workspace's store for the current event loop; an attempt writes to it under its lease."""
        # A change by hand holds a lease on its thread only, and items belong to no thread.
        return store_for(self.workspace_id, self.fence if self.run_id is not None else None)

    @property
    def feed(self) -> str | None:
        """The name of the thread's feed in the event log; None for a thread that nobody can follow."""
        return None if self.is_temporary else feed_of(self.workspace_id, self.thread_id)

    def require_thread(self, thread_id: object, config: RunnableConfig | None = None) -> None:
        """Raise `OutOfScope` unless the thread is this one. `config` says where the call comes from."""
        if thread_id != self.thread_id and str(thread_id) != str(self.thread_id):
            raise OutOfScope(self._refusal(thread_id, config))

    def require_run(self, run_id: object) -> None:
        """Raise `OutOfScope` unless the run is this one."""
        if self.run_id is None or str(run_id) != str(self.run_id):
            raise OutOfScope(f"Run {run_id} is none of {self._owner()}")

    def require_unchanged(self, given: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
        """Raise `OutOfScope` if LangGraph's merged `configurable` is not what the server gave.

        That concerns the keys that only the server sets, and those by which LangGraph steers itself.
        """
        self.require_thread(merged.get("thread_id"))
        for key in SERVER_KEYS.union(key for key in merged if key.startswith("__")):
            if merged.get(key) != given.get(key):
                raise OutOfScope(f"`configurable.{key}` of {self._owner()} was changed by another configuration")

    def _owner(self) -> str:
        graph = f" of graph '{self.graph_id}'" if self.graph_id else ""
        return f"run {self.run_id}{graph}" if self.run_id else f"thread {self.thread_id}{graph}"

    def _refusal(self, thread_id: object, config: RunnableConfig | None) -> str:
        node = ((config or {}).get("metadata") or {}).get("langgraph_node")
        place = f"node '{node}' of graph '{self.graph_id}'" if node else f"graph '{self.graph_id}'"
        return (
            f"In {place}, checkpoints of thread '{thread_id}' were asked for on thread '{self.thread_id}': the saver"
            " that the server gives to a graph is for its own thread only. If the node invokes another graph with a"
            " `thread_id`, leave the `thread_id` out, or compile that graph with `checkpointer=False`, or compile it"
            " with a checkpointer of its own and pass it a config of its own instead of the node's."
        )


class ScopedSaver(BaseCheckpointSaver[str]):
    """A saver that serves one scope. What it does not pass on by name, no graph can do."""

    def __init__(self, inner: BaseCheckpointSaver[str], scope: Scope) -> None:
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._scope = scope
        self._thread = str(scope.thread_id)

    @property
    def thread_id(self) -> str:
        """The only thread that the saver serves."""
        return self._thread

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> "ScopedSaver":
        """Return a saver of the same scope and class that rebuilds these types as well."""
        clone = copy.copy(self)
        clone._inner = self._inner.with_allowlist(extra_allowlist)
        clone.serde = clone._inner.serde
        return clone

    def get_next_version(self, current: str | None, channel: None) -> str:
        return self._inner.get_next_version(current, channel)

    def _check(self, config: RunnableConfig | None) -> None:
        # Without a configuration, or a thread in it, every thread would match.
        thread_id = ((config or {}).get("configurable") or {}).get("thread_id")
        if thread_id != self._thread:
            self._scope.require_thread(thread_id, config)

    def _check_threads(self, thread_ids: Sequence[str]) -> None:
        for thread_id in thread_ids:
            self._scope.require_thread(thread_id)

    def _check_runs(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self._scope.require_run(run_id)

    def _check_listing(self, config: RunnableConfig | None, before: RunnableConfig | None) -> None:
        self._check(config)
        if before is not None and "thread_id" in before["configurable"]:
            self._check(before)

    # --- Reading ---------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        self._check(config)
        return self._inner.get_tuple(config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        self._check(config)
        return await self._inner.aget_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        self._check_listing(config, before)
        return self._inner.list(config, filter=filter, before=before, limit=limit)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        self._check_listing(config, before)
        async for found in self._inner.alist(config, filter=filter, before=before, limit=limit):
            yield found

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        self._check(config)
        return self._inner.get_delta_channel_history(config=config, channels=channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        self._check(config)
        return await self._inner.aget_delta_channel_history(config=config, channels=channels)

    # --- Writing ---------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._check(config)
        return self._inner.put(config, checkpoint, metadata, new_versions)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._check(config)
        return await self._inner.aput(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._check(config)
        self._inner.put_writes(config, writes, task_id, task_path)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._check(config)
        await self._inner.aput_writes(config, writes, task_id, task_path)

    # --- Maintenance -----------------------------------------------------------------------------

    def delete_thread(self, thread_id: str) -> None:
        self._check_threads([thread_id])
        self._inner.delete_thread(thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        self._check_threads([thread_id])
        await self._inner.adelete_thread(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._check_runs(run_ids)
        self._inner.delete_for_runs(run_ids)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._check_runs(run_ids)
        await self._inner.adelete_for_runs(run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._check_threads([source_thread_id, target_thread_id])
        self._inner.copy_thread(source_thread_id, target_thread_id)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._check_threads([source_thread_id, target_thread_id])
        await self._inner.acopy_thread(source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._check_threads(thread_ids)
        self._inner.prune(thread_ids, strategy=strategy)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._check_threads(thread_ids)
        await self._inner.aprune(thread_ids, strategy=strategy)


# LangGraph asks for them at each run; to find them out takes Python longer than a call.
for _method in (ScopedSaver.put_writes, ScopedSaver.aput_writes):
    setattr(_method, "__signature__", inspect.signature(_method))  # noqa: B010
