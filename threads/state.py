"""Reads of a thread's state and of its history. Everything here runs on the state loop."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, cast
from uuid import UUID

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.types import Interrupt, PregelTask, StateSnapshot

from platform_site.core.database.access import encode_shown, json_contains, needle_text
from platform_site.core.error_texts import repr_of, text_of
from platform_site.core.errors import BadRequest
from platform_site.core.graphs.output import Output
from platform_site.core.graphs.registry import registry
from platform_site.core.http.paging import Answer
from platform_site.core.ids import parse_uuid
from platform_site.core.loopback.acting import Actor, acting_for
from platform_site.core.run_config import langgraph_config
from platform_site.core.scope import Scope
from platform_site.core.wire import encode
from threads.editing import EditLease
from threads.lenient import lenient
from threads.read_notes import ReadNotes
from threads.refusals import is_the_graphs, refusals
from threads.schemas import CheckpointRef
from threads.selectors import ThreadForState

logger = logging.getLogger("switchyard.threads")

AnyPregel = Pregel[Any, Any, Any, Any]

EMPTY_STATE: dict[str, Any] = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}
# More states than any thread has; a number that every database takes.
_LONGEST_HISTORY = 2**31 - 1
# Conditions that a saver is given; each is a level of SQLite's expression, which may have a thousand.
_MOST_CONDITIONS = 100
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_]+")
_CHECKPOINT_KEYS = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


@asynccontextmanager
async def graph_of(
    thread: ThreadForState, graph_id: str, edit: EditLease | None = None, notes: ReadNotes | None = None
) -> AsyncIterator[AnyPregel]:
    """Open the thread's graph, made with the configuration that the thread was last run with.

    The graph of a thread that was never run is made with its defaults. What is seen while states are read with it is
    written into `notes`.
    Raises `BadRequest` if the project's code cannot make it.
    """
    graphs = registry()
    losses, seen = (notes.losses, notes.seen) if notes is not None else (None, None)
    scope = Scope(workspace_id=thread.workspace_id, thread_id=thread.thread_id, graph_id=graph_id, fence=edit)
    identity = {"thread_id": str(thread.thread_id), "graph_id": graph_id, "assistant_id": thread.assistant_id}
    config = langgraph_config([thread.run_config], thread.principal.configurable | identity)
    opened = graphs.open(
        graph_id,
        cast(RunnableConfig, config),
        checkpointer=scope.saver(graphs.allowlist(graph_id), losses, seen),
        store=scope.store(),
        access="read" if edit is None else "update",
    )
    made_with = "the configuration of the thread's last run" if thread.run_config is not None else "its defaults"
    async with AsyncExitStack() as stack:
        stack.enter_context(acting_for(Actor(thread.principal, thread_id=thread.thread_id)))
        with refusals(f"Graph '{graph_id}' could not be made with {made_with}"):
            graph = await opened.__aenter__()
        stack.push_async_exit(partial(_closed, opened, graph_id))
        yield graph


async def _closed(opened: AbstractAsyncContextManager[AnyPregel], graph_id: str, *error: Any) -> bool | None:
    with refusals(f"Graph '{graph_id}' could not be closed"):
        return await opened.__aexit__(*error)


def config_at(thread_id: Any, ref: CheckpointRef | None = None) -> RunnableConfig:
    """Return the configuration that addresses a checkpoint of the thread: without `ref` the head."""
    configurable: dict[str, Any] = {"thread_id": str(thread_id), "checkpoint_ns": ""}
    if ref is not None:
        configurable["checkpoint_ns"] = ref.checkpoint_ns or ""
        if ref.checkpoint_id:
            configurable["checkpoint_id"] = ref.checkpoint_id
        if ref.checkpoint_map:
            configurable["checkpoint_map"] = ref.checkpoint_map
    return {"configurable": configurable}


async def state_read(
    thread: ThreadForState, ref: CheckpointRef | None, *, subgraphs: bool, notes: ReadNotes
) -> dict[str, Any]:
    """Return the state at a checkpoint. A checkpoint that does not exist gives an empty state with its id.

    Raises `BadRequest` for a state that its graph refuses.
    """
    if thread.graph_id is None:
        return _absent(thread, ref)
    async with graph_of(thread, thread.graph_id, notes=notes) as graph:
        with refusals():
            snapshot = await _snapshot(graph, thread, ref, subgraphs=subgraphs, notes=notes)
    if snapshot.created_at is None:
        return _absent(thread, ref)
    return state_wire(snapshot)


async def _snapshot(
    graph: AnyPregel, thread: ThreadForState, ref: CheckpointRef | None, *, subgraphs: bool, notes: ReadNotes
) -> StateSnapshot:
    if ref is None:
        head = await head_state(graph, thread.thread_id, subgraphs=subgraphs)
        notes.refused = head.refuses_writes
        return head.snapshot
    return await graph.aget_state(config_at(thread.thread_id, ref), subgraphs=subgraphs)


@dataclass(frozen=True)
class HeadState:
    """The newest state of a thread, and the configuration that addresses what an update is to be based on."""

    snapshot: StateSnapshot
    config: RunnableConfig
    # The part of the values that the answers of runs show.
    output: Output
    # The graph refuses what its tasks have returned: the snapshot has these writes in its tasks, not in its values.
    refuses_writes: bool = False


async def head_state(graph: AnyPregel, thread_id: UUID, *, subgraphs: bool = False) -> HeadState:
    """Return the head state, also where the graph cannot apply what was written last.

    LangGraph shows finished tasks as if the step were over. A reducer may refuse what they returned, as it did in the
    run that failed by it. Such a thread has the state of its newest checkpoint, without these writes.
    """
    live = config_at(thread_id)
    try:
        return HeadState(await graph.aget_state(live, subgraphs=subgraphs), live, Output.of(graph))
    except Exception as error:
        settled = await settled_config(graph, thread_id) if is_the_graphs(error) else None
        if settled is None:
            raise
        logger.info("thread %s: its graph refuses what was written last (%s)", thread_id, text_of(error))
        return HeadState(await graph.aget_state(settled), settled, Output.of(graph), refuses_writes=True)


async def settled_config(graph: AnyPregel, thread_id: UUID) -> RunnableConfig | None:
    """Return the configuration of the newest checkpoint without what its tasks have written; None if there is none."""
    saver = cast(BaseCheckpointSaver[str], graph.checkpointer)
    newest = await saver.aget_tuple(config_at(thread_id))
    if newest is None:
        return None
    return config_at(thread_id, CheckpointRef(checkpoint_id=newest.config["configurable"]["checkpoint_id"]))


async def head_of_thread(thread: ThreadForState) -> HeadState | None:
    """Return the head state, or None for a thread without a graph. Raises `BadRequest` as `state_read` does."""
    if thread.graph_id is None:
        return None
    async with graph_of(thread, thread.graph_id) as graph:
        with refusals():
            return await head_state(graph, thread.thread_id)


def _absent(thread: ThreadForState, ref: CheckpointRef | None) -> dict[str, Any]:
    if ref is None or not ref.checkpoint_id:
        return EMPTY_STATE
    return EMPTY_STATE | {
        "checkpoint": {
            "checkpoint_id": ref.checkpoint_id,
            "thread_id": str(thread.thread_id),
            "checkpoint_ns": ref.checkpoint_ns or "",
        },
        "checkpoint_id": ref.checkpoint_id,
    }


async def state_history(
    thread: ThreadForState,
    ref: CheckpointRef | None,
    *,
    limit: int,
    before: str | None,
    metadata: Mapping[str, Any] | None,
    shown: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> list[bytes]:
    """Return states from the newest to older ones, as `shown` picks of them, each as JSON.

    `metadata` is as in searches: containment, types told apart. The list ends early where it has `MAX_ANSWER_BYTES`.
    Before what is no id of a checkpoint there is everything. Raises `Unprocessable` for a filter that is too long, and
    `BadRequest` if the graph refuses the newest of the states.
    """
    if metadata:
        needle_text(metadata)
    if thread.graph_id is None or limit <= 0:
        return []
    config = config_at(thread.thread_id, ref)
    before_config = (
        config_at(thread.thread_id, CheckpointRef(checkpoint_id=before)) if before and parse_uuid(before) else None
    )
    found = Answer()
    async with graph_of(thread, thread.graph_id) as graph:
        states = past_states(
            graph,
            config,
            filter=_savers_filter(metadata or {}) or None,
            before=before_config,
            limit=None if metadata else min(limit, _LONGEST_HISTORY),
        )
        async for snapshot in states:
            if not metadata or json_contains(snapshot.metadata, metadata):
                found.add(encode_shown(shown(state_wire(snapshot))))
            if len(found.parts) >= limit or found.is_full:
                break
    return found.parts


async def past_states(
    graph: AnyPregel,
    config: RunnableConfig,
    *,
    filter: dict[str, Any] | None,
    before: RunnableConfig | None,
    limit: int | None,
    is_later: bool = False,
    notes: ReadNotes | None = None,
) -> AsyncIterator[StateSnapshot]:
    """Yield states from the newest to older ones. Raises `BadRequest` if the graph refuses the first.

    With `is_later` the first of them follows a state that was shown before.

    Of a later state that the graph refuses, the values are shown as they are stored, and the reason with its tasks:
    somebody has mended the thread since.
    """
    seen = 0
    last = before
    with refusals():
        try:
            async for snapshot in graph.aget_state_history(config, filter=filter, before=before, limit=limit):
                seen, last = seen + 1, snapshot.config
                yield snapshot
            return
        except Exception as error:
            if not (seen or is_later) or not is_the_graphs(error):
                raise
            if notes is not None:
                notes.refused = True
        left = None if limit is None else limit - seen
        place = {key: value for key, value in config["configurable"].items() if key != "checkpoint_id"}
        older = lenient(graph).aget_state_history({"configurable": place}, filter=filter, before=last, limit=left)
        async for snapshot in older:
            yield await _with_reason(graph, snapshot)


async def _with_reason(graph: AnyPregel, stored: StateSnapshot) -> StateSnapshot:
    """Return the state as the graph reads it, or as it is stored with the reason why the graph refuses it."""
    try:
        return await graph.aget_state(stored.config)
    except Exception as error:
        if not is_the_graphs(error):
            raise
        return stored._replace(tasks=tuple(task._replace(error=task.error or error) for task in stored.tasks))


async def states_of(
    graph: AnyPregel, thread_id: UUID, checkpoint_ids: Sequence[str], *, is_later: bool, notes: ReadNotes
) -> AsyncIterator[StateSnapshot]:
    """Yield the states of root checkpoints that follow each other, newest first, without those that are gone by now.

    What the graph refuses is treated as in a history, in which they are the first states unless `is_later` is set.
    """
    # What is behind the first id is before this one.
    bound = config_at(thread_id, CheckpointRef(checkpoint_id=f"{checkpoint_ids[0]}0"))
    wanted = set(checkpoint_ids)
    states = past_states(
        graph,
        config_at(thread_id),
        filter=None,
        before=bound,
        limit=len(checkpoint_ids),
        is_later=is_later,
        notes=notes,
    )
    async for snapshot in states:
        if snapshot.config["configurable"]["checkpoint_id"] in wanted:
            yield snapshot


def _savers_filter(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a filter that every saver understands: it leaves little for us to look through."""
    plain = (
        (key, value)
        for key, value in metadata.items()
        if _PLAIN_KEY.fullmatch(key) and (isinstance(value, str) or (type(value) is int and abs(value) < 2**53))
    )
    return dict(islice(plain, _MOST_CONDITIONS))


def require_graph(thread: ThreadForState) -> str:
    """Return the id of the thread's graph. Raise `BadRequest` for a thread that has none yet."""
    if thread.graph_id is None:
        raise BadRequest(
            f"Thread '{thread.thread_id}' has no assigned graph ID. This usually occurs when no runs have been made on "
            "this particular thread. This operation requires a graph ID. Please ensure a run has been made for the "
            "thread or manually update the thread metadata (by setting the 'graph_id' field) before running this "
            "operation."
        )
    return thread.graph_id


def state_wire(snapshot: StateSnapshot) -> dict[str, Any]:
    """Return a state as it goes over the wire."""
    checkpoint = _checkpoint(snapshot.config)
    parent = _checkpoint(snapshot.parent_config)
    return {
        "values": _values(snapshot.values),
        "next": snapshot.next,
        "tasks": [_task_wire(task) for task in snapshot.tasks],
        "metadata": _metadata(snapshot),
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [interrupt_wire(interrupt) for interrupt in snapshot.interrupts],
        "checkpoint_id": checkpoint and checkpoint.get("checkpoint_id"),
        "parent_checkpoint_id": parent and parent.get("checkpoint_id"),
    }


def _metadata(snapshot: StateSnapshot) -> dict[str, Any] | None:
    if snapshot.metadata is None:
        return None
    # LangGraph keeps the thread out of the metadata that it stores.
    return {**snapshot.metadata, "thread_id": snapshot.config["configurable"]["thread_id"]}


def _task_wire(task: PregelTask) -> dict[str, Any]:
    nested = task.state
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": None if task.error is None else task.error if isinstance(task.error, str) else repr_of(task.error),
        "interrupts": [interrupt_wire(interrupt) for interrupt in task.interrupts],
        "checkpoint": None if nested is None or isinstance(nested, StateSnapshot) else _checkpoint(nested),
        "state": state_wire(nested) if isinstance(nested, StateSnapshot) else None,
        "result": _part(task.result),
    }


def _checkpoint(config: RunnableConfig | None) -> dict[str, Any] | None:
    if not config:
        return None
    configurable = config["configurable"]
    return {key: configurable[key] for key in _CHECKPOINT_KEYS if configurable.get(key) is not None}


def interrupt_wire(interrupt: Interrupt) -> dict[str, Any]:
    """Return an open interrupt as threads and states show it."""
    return {"id": interrupt.id, "value": _part(interrupt.value)}


def _part(value: Any) -> orjson.Fragment:
    """Encode a part for itself: what is as deep as JSON may be can be read in whatever it is a part of."""
    return orjson.Fragment(encode(value))


def _values(values: Any) -> Any:
    """Return the values with each key encoded for itself: a request may select keys."""
    return {key: _part(value) for key, value in values.items()} if isinstance(values, dict) else _part(values)


def interrupts_by_task(snapshot: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """Task id to the interrupts it waits for."""
    return {
        task.id: [interrupt_wire(interrupt) for interrupt in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }
