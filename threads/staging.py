"""Changes of a thread's state that are kept in memory until it is known that the new state can be read."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    copy_checkpoint,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from platform_site.core.scope import ScopedSaver

# The namespace of a graph or subgraph, and the id of a checkpoint in it.
_Place = tuple[str, str]


class StagedSaver(BaseCheckpointSaver[str]):
    """A saver that reads what it was given to write, and writes none of it before `store`.

    A change by hand makes checkpoints one after the other, so everything is written in the order in which it came.
    """

    def __init__(self, inner: ScopedSaver) -> None:
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._checkpoints: dict[_Place, tuple[RunnableConfig, Checkpoint, CheckpointMetadata, ChannelVersions]] = {}
        # Arguments of `aput_writes`, in the order of the calls.
        self._writes: list[tuple[RunnableConfig, list[tuple[str, Any]], str, str]] = []
        # What to do in `store`: a place to write, or an index of `_writes`.
        self._order: list[_Place | int] = []

    async def store(self) -> None:
        """Write what was staged. Raises whatever the saver raises, `LeaseLost` among others."""
        for step in self._order:
            if isinstance(step, int):
                await self._inner.aput_writes(*self._writes[step])
            else:
                await self._inner.aput(*self._checkpoints[step])

    def discard(self) -> None:
        """Forget what was staged."""
        self._checkpoints.clear()
        self._writes.clear()
        self._order.clear()

    def get_next_version(self, current: str | None, channel: None) -> str:
        return self._inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Any) -> "StagedSaver":
        """Return this saver, which rebuilds these types as well from now on."""
        self._inner = self._inner.with_allowlist(extra_allowlist)
        self.serde = self._inner.serde
        return self

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = self._staged_place(config)
        if place is not None:
            return self._staged(place)
        found = await self._inner.aget_tuple(config)
        if found is None:
            return None
        more = self._writes_on(_place(found.config))
        return found._replace(pending_writes=[*(found.pending_writes or []), *more]) if more else found

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List what is stored. Nothing that makes or reads one state asks for more."""
        async for found in self._inner.alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        if self._order:
            # LangGraph's own way: from checkpoint to checkpoint, staged ones as well as stored ones.
            return await super().aget_delta_channel_history(config=config, channels=channels)
        return await self._inner.aget_delta_channel_history(config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        place = (config["configurable"].get("checkpoint_ns", ""), checkpoint["id"])
        self._checkpoints[place] = (config, checkpoint, metadata, new_versions)
        self._order.append(place)
        return self._config_of(place)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._order.append(len(self._writes))
        self._writes.append((config, list(writes), task_id, task_path))

    def _staged_place(self, config: RunnableConfig) -> _Place | None:
        """Return the place of the staged checkpoint that the configuration addresses, or None if it is stored."""
        namespace = config["configurable"].get("checkpoint_ns", "")
        if checkpoint_id := get_checkpoint_id(config):
            return (namespace, checkpoint_id) if (namespace, checkpoint_id) in self._checkpoints else None
        return max((place for place in self._checkpoints if place[0] == namespace), default=None)

    def _staged(self, place: _Place) -> CheckpointTuple:
        config, checkpoint, metadata, _ = self._checkpoints[place]
        parent = get_checkpoint_id(config)
        return CheckpointTuple(
            self._config_of(place),
            copy_checkpoint(checkpoint),
            get_checkpoint_metadata(config, metadata),
            self._config_of((place[0], parent)) if parent else None,
            self._writes_on(place),
        )

    def _writes_on(self, place: _Place) -> list[PendingWrite]:
        return [
            (task_id, *write)
            for config, writes, task_id, _ in self._writes
            if _place(config) == place
            for write in writes
        ]

    def _config_of(self, place: _Place) -> RunnableConfig:
        namespace, checkpoint_id = place
        return {
            "configurable": {
                "thread_id": self._inner.thread_id,
                "checkpoint_ns": namespace,
                "checkpoint_id": checkpoint_id,
            }
        }


def _place(config: RunnableConfig) -> _Place:
    return config["configurable"].get("checkpoint_ns", ""), get_checkpoint_id(config) or ""
