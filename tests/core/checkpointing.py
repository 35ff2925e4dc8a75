"""What the tests of checkpoints share: a lease to hold and to lose, and short ways to save."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from platform_site.core.checkpoints.fence import Statement


@dataclass
class Lease:
    """A fence that holds until `lost` is set."""

    run_id: UUID = field(default_factory=uuid4)
    lease_owner: str = field(default_factory=lambda: f"worker-{uuid4()}")
    lost: bool = False

    def holds(self) -> bool:
        return not self.lost

    # Imported when it is asked for: the models need Django, which not every user of this file has set up.
    def held(self) -> Statement:
        from runs.engine import queue

        return queue.HELD, (self.run_id, self.lease_owner)

    def renamed(self) -> Statement:
        from runs.engine import queue

        return queue.RENAME, (self.run_id, self.lease_owner)


def checkpoint(**values: Any) -> Checkpoint:
    """A checkpoint with a new id, later than all before it."""
    versions: dict[str, str | int | float] = {name: f"{1:032}.0{uuid4().int % 10**10}" for name in values}
    return {**empty_checkpoint(), "v": 4, "id": str(uuid6()), "channel_values": values, "channel_versions": versions}


def thread_config(thread_id: UUID, namespace: str = "", **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": namespace, **more}}


async def save(
    saver: BaseCheckpointSaver[str],
    at: RunnableConfig,
    run_id: UUID | None = None,
    **values: Any,
) -> RunnableConfig:
    """Save a checkpoint on top of `at`; the config that names it."""
    made = checkpoint(**values)
    metadata: dict[str, Any] = {"source": "loop", "step": 1, "parents": {}}
    if run_id is not None:
        metadata["run_id"] = str(run_id)
    return await saver.aput(at, made, metadata, made["channel_versions"])  # type: ignore[arg-type]


async def ids(saver: BaseCheckpointSaver[str], config: RunnableConfig) -> list[str]:
    """The ids of the checkpoints that `config` matches, newest first."""
    return [found.config["configurable"]["checkpoint_id"] async for found in saver.alist(config)]
