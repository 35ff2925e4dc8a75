"""The saver of runs whose thread is not kept: LangGraph's own, in memory."""

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver

from platform_site.core.checkpoints.interface import Allowlist
from platform_site.core.checkpoints.serializers import serializer
from platform_site.core.serialization.packing import ValueNotStorable
from platform_site.core.serialization.serializer import CheckpointSerializer


def memory_saver(allowlist: Allowlist = ()) -> "MemorySaver":
    """Make a saver of its own in memory, for one run whose thread is not kept."""
    return MemorySaver(serde=serializer(allowlist))


class MemorySaver(InMemorySaver):
    """A saver that names the key of a value which checkpoints cannot store, as those of the databases do."""

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        try:
            return super().put(config, checkpoint, metadata, new_versions)
        except ValueNotStorable:
            self._name(list(checkpoint["channel_values"].items()), "")
            raise

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        try:
            super().put_writes(config, writes, task_id, task_path)
        except ValueNotStorable:
            self._name(writes, task_id)
            raise

    def _name(self, values: Sequence[tuple[str, Any]], task_id: str) -> None:
        """Raise `ValueNotStorable` again, with the key."""
        for channel, value in values:
            cast(CheckpointSerializer, self.serde).dumps_channel(channel, value, task_id)
