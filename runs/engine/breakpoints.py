"""Where an earlier attempt of a run had stopped for a person: a later attempt stops there again.

LangGraph takes an attempt with no input for "a person lets it go on": it marks the checkpoint that it finds as seen,
and a breakpoint interrupts only at a checkpoint that was not seen. That is right where another run made the checkpoint.
From a checkpoint that *this* run made nobody has let it go on. So a later attempt reads the checkpoints of its run
through `continued`, which refuses the mark: the breakpoint before a node then stops the attempt again, at the root as
in every subgraph. A breakpoint after a node is looked at by LangGraph only in the step that ran the node;
`stopped_after` tells from the checkpoint whether it was so.
"""

import copy
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Literal, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.constants import TAG_HIDDEN
from langgraph.errors import GraphInterrupt
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from platform_site.core.checkpoints.configured import checkpoints

AnyPregel = Pregel[Any, Any, Any, Any]
Names = Collection[str] | Literal["*"]

# Under which a checkpoint keeps what was seen at the last breakpoint.
_SEEN_AT_BREAKPOINT = "__interrupt__"
# Set in the configuration of a graph that runs, and in none that is only looked at.
_RUNS = "__pregel_resuming"


class _Unmarked(dict[str, Any]):
    """What a checkpoint had seen at its last breakpoint. It stays so: marks are refused."""

    def __setitem__(self, key: str, value: Any) -> None:
        pass


class _Continued(BaseCheckpointSaver[Any]):
    """Mixed into the class of a saver by `continued`."""

    _run_id: str
    # Of each subgraph that has any, by its namespace without the ids of tasks: the breakpoints after nodes.
    _breakpoints: Mapping[str, tuple[AnyPregel, Names]]

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await super().aget_tuple(config)
        if found is None or not made_by(found, self._run_id):
            return found
        if stop := self._breakpoint_of(config):
            parent = await super().aget_tuple(found.parent_config) if found.parent_config else None
            _stop_again(found, parent, *stop)
        return _unmarked(found)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = super().get_tuple(config)
        if found is None or not made_by(found, self._run_id):
            return found
        if stop := self._breakpoint_of(config):
            parent = super().get_tuple(found.parent_config) if found.parent_config else None
            _stop_again(found, parent, *stop)
        return _unmarked(found)

    def _breakpoint_of(self, config: RunnableConfig) -> tuple[AnyPregel, Names] | None:
        configurable = config["configurable"]
        if _RUNS not in configurable:
            return None
        parts = str(configurable.get("checkpoint_ns", "")).split("|")
        return self._breakpoints.get("|".join(part.partition(":")[0] for part in parts))


def continued(graph: AnyPregel, run_id: UUID) -> BaseCheckpointSaver[Any]:
    """A copy of the graph's saver under which a further attempt stops at the breakpoints where an earlier one stood."""
    clone: Any = copy.copy(graph.checkpointer)
    clone.__class__ = _continued_class(clone.__class__)
    clone._run_id = str(run_id)
    clone._breakpoints = {
        namespace: (subgraph, subgraph.interrupt_after_nodes)
        for namespace, subgraph in graph.get_subgraphs(recurse=True)
        if isinstance(subgraph, Pregel) and subgraph.interrupt_after_nodes
    }
    return cast(BaseCheckpointSaver[Any], clone)


@cache
def _continued_class(saver_class: type[object]) -> type[object]:
    return type(f"Continued{saver_class.__name__}", (_Continued, saver_class), {})


def made_by(found: CheckpointTuple, run_id: UUID | str) -> bool:
    """Whether an attempt of this run made the checkpoint."""
    return found.metadata.get("run_id") == str(run_id)


def _unmarked(found: CheckpointTuple) -> CheckpointTuple:
    seen = found.checkpoint["versions_seen"]
    seen[_SEEN_AT_BREAKPOINT] = _Unmarked(seen.get(_SEEN_AT_BREAKPOINT, {}))
    return found


def _stop_again(found: CheckpointTuple, parent: CheckpointTuple | None, graph: AnyPregel, after: Names) -> None:
    if stopped_after(found, parent, graph, after):
        # As the graph itself raised it, in the task that its parent made for it.
        raise GraphInterrupt()


def stopped_after(found: CheckpointTuple, parent: CheckpointTuple | None, graph: AnyPregel, after: Names) -> bool:
    """Whether the graph, when it had made this checkpoint, stopped at a breakpoint after one of these nodes.

    `parent` may be an older checkpoint than the one before: a node with such a breakpoint ends the run that runs it.
    """
    if not after or found.metadata.get("source") != "loop":
        return False
    checkpoint = found.checkpoint
    at_breakpoint = checkpoint["versions_seen"].get(_SEEN_AT_BREAKPOINT, {})
    changed = any(
        channel not in at_breakpoint or version > at_breakpoint[channel]  # type: ignore[operator]
        for channel, version in checkpoint["channel_versions"].items()
    )
    before: Mapping[str, Any] = parent.checkpoint["versions_seen"] if parent is not None else {}
    seen = checkpoint["versions_seen"]
    ran = {name for name in graph.nodes if name in seen and seen[name] != before.get(name)}
    if after == "*":
        ran = {name for name in ran if TAG_HIDDEN not in (graph.nodes[name].tags or ())}
        return changed and bool(ran)
    return changed and not ran.isdisjoint(after)


async def where_it_stopped(
    graph: AnyPregel, config: RunnableConfig, thread_id: UUID, run_id: UUID, after: Names
) -> StateSnapshot | None:
    """The head state if an earlier attempt of the run had come to its end there; None if nodes are to run.

    It had if a node with a breakpoint after it was the last to run, or if all tasks are done or wait for an answer that
    the run itself asked for. A breakpoint before a node, and a graph that is through, LangGraph finds by itself.
    """
    saver = graph.checkpointer
    assert isinstance(saver, BaseCheckpointSaver)
    snapshot = await graph.aget_state(config)
    asked = await checkpoints().questions_of_run(thread_id, run_id)
    waiting = [task for task in snapshot.tasks if task.interrupts and task.id in asked]
    if waiting and len(waiting) == len(snapshot.next):
        return snapshot
    after = after or graph.interrupt_after_nodes
    if not after:
        return None
    found = await saver.aget_tuple(config)
    if found is None or not made_by(found, run_id):
        return None
    parent = await saver.aget_tuple(found.parent_config) if found.parent_config else None
    return snapshot if stopped_after(found, parent, graph, after) else None
