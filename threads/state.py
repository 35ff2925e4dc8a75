"""A thread's state: reading it, its history, and changing it by hand. Everything here runs on the state loop."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.channels.last_value import LastValue
from langgraph.constants import START
from langgraph.errors import InvalidUpdateError
from langgraph.pregel import Pregel
from langgraph.types import Command, Interrupt, PregelTask, Send, StateSnapshot, StateUpdate

from platform_site.core.checkpoints import DatabaseUnavailable, EditLease, checkpoints
from platform_site.core.database import encode_shown, is_storable, json_contains, needle_text
from platform_site.core.errors import NOT_STORABLE, ApiError, BadRequest, Unprocessable
from platform_site.core.graphs import registry
from platform_site.core.ids import parse_uuid
from platform_site.core.paging import Answer
from platform_site.core.quotas import require_free_disk
from platform_site.core.run_config import langgraph_config
from platform_site.core.scope import Scope
from platform_site.core.wire import encode
from threads.schemas import CheckpointRef, Superstep, SuperstepUpdate
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
# What a reducer may make of a value that it does not expect, beside ValueError.
_OF_REDUCERS = (TypeError, LookupError, AttributeError, NotImplementedError, AssertionError, ArithmeticError)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_]+")
_CHECKPOINT_KEYS = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


@asynccontextmanager
async def _graph_of(thread: ThreadForState, graph_id: str, edit: EditLease | None = None) -> AsyncIterator[AnyPregel]:
    graphs = registry()
    scope = Scope(workspace_id=thread.workspace_id, thread_id=thread.thread_id, graph_id=graph_id, fence=edit)
    identity = {"thread_id": str(thread.thread_id), "graph_id": graph_id, "assistant_id": thread.assistant_id}
    config = langgraph_config([{"configurable": thread.config.get("configurable")}], thread.caller | identity)
    async with graphs.open(
        graph_id,
        cast(RunnableConfig, config),
        checkpointer=scope.saver(graphs.allowlist(graph_id)),
        store=scope.store(),
        access="read" if edit is None else "update",
    ) as graph:
        yield graph


def config_at(thread_id: Any, ref: CheckpointRef | None = None) -> RunnableConfig:
    """The configuration that addresses a checkpoint of the thread, the head without `ref`."""
    configurable: dict[str, Any] = {"thread_id": str(thread_id), "checkpoint_ns": ""}
    if ref is not None:
        configurable["checkpoint_ns"] = ref.checkpoint_ns or ""
        if ref.checkpoint_id:
            configurable["checkpoint_id"] = ref.checkpoint_id
        if ref.checkpoint_map:
            configurable["checkpoint_map"] = ref.checkpoint_map
    return {"configurable": configurable}


async def state_read(thread: ThreadForState, ref: CheckpointRef | None, *, subgraphs: bool) -> dict[str, Any]:
    """The state at a checkpoint. One that does not exist reads as an empty state that echoes its id."""
    if thread.graph_id is None:
        return _absent(thread, ref)
    async with _graph_of(thread, thread.graph_id) as graph:
        if ref is None:
            snapshot = (await head_state(graph, thread.thread_id, subgraphs=subgraphs)).snapshot
        else:
            snapshot = await graph.aget_state(config_at(thread.thread_id, ref), subgraphs=subgraphs)
    if snapshot.created_at is None:
        return _absent(thread, ref)
    return state_wire(snapshot)


@dataclass(frozen=True)
class HeadState:
    """The newest state of a thread, and the configuration that addresses what an update is to be based on."""

    snapshot: StateSnapshot
    config: RunnableConfig
    # The graph refuses what its tasks have returned: the snapshot has these writes in its tasks, not in its values.
    refuses_writes: bool = False


async def head_state(graph: AnyPregel, thread_id: UUID, *, subgraphs: bool = False) -> HeadState:
    """Return the head state, also where the graph cannot apply what was written last.

    LangGraph shows finished tasks as if the step were over. A reducer may refuse what they returned, as it did in the
    run that failed by it. Such a thread has the state of its newest checkpoint, without these writes.
    """
    live = config_at(thread_id)
    try:
        return HeadState(await graph.aget_state(live, subgraphs=subgraphs), live)
    except DatabaseUnavailable:
        raise
    except Exception as error:
        newest = await checkpoints().head(thread_id)
        if newest is None:
            raise
        logger.info("thread %s: its graph refuses what was written last (%s)", thread_id, error)
        settled = config_at(thread_id, CheckpointRef(checkpoint_id=newest))
        return HeadState(await graph.aget_state(settled), settled, refuses_writes=True)


async def head_of_thread(thread: ThreadForState) -> HeadState | None:
    """Return the head state, or None for a thread without a graph."""
    if thread.graph_id is None:
        return None
    async with _graph_of(thread, thread.graph_id) as graph:
        return await head_state(graph, thread.thread_id)


async def snapshot_of(thread: ThreadForState) -> StateSnapshot | None:
    """Return the head state as LangGraph gives it, or None for a thread without a graph."""
    head = await head_of_thread(thread)
    return None if head is None else head.snapshot


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
    """States from the newest to older ones, as `shown` picks of them, each as JSON.

    `metadata` is as in searches: containment, types told apart. The list ends early where it has `MAX_ANSWER_BYTES`.
    Before what is no id of a checkpoint there is everything. Raises `Unprocessable` for a filter that is too long.
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
    async with _graph_of(thread, thread.graph_id) as graph:
        states = graph.aget_state_history(
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


def _savers_filter(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a filter that every saver understands: it leaves little for us to look through."""
    plain = (
        (key, value)
        for key, value in metadata.items()
        if _PLAIN_KEY.fullmatch(key) and (isinstance(value, str) or (type(value) is int and abs(value) < 2**53))
    )
    return dict(islice(plain, _MOST_CONDITIONS))


async def state_update(
    edit: EditLease, thread: ThreadForState, ref: CheckpointRef | None, values: Any, as_node: str | None
) -> tuple[dict[str, Any], StateSnapshot]:
    """Write a checkpoint as if `as_node` had returned `values`; its configuration and the new head state.

    Raises `BadRequest` for a thread without a graph, an unknown node and values that the graph refuses, and
    `Unprocessable` for values that the database could not give back.
    """
    graph_id = require_graph(thread)
    _require_storable(values)
    config = config_at(thread.thread_id, ref)
    config["metadata"] = {"graph_id": graph_id}
    async with _graph_of(thread, graph_id, edit) as graph:
        if as_node is not None:
            _require_node(graph, as_node, "__start__")
        with _refusals():
            try:
                updated = await graph.aupdate_state(config, values, as_node=as_node)
            except (ValueError, *_OF_REDUCERS):
                head = await head_state(graph, thread.thread_id)
                if not head.refuses_writes or (ref is not None and (ref.checkpoint_id or ref.checkpoint_ns)):
                    raise
                # It is not this update that the graph refuses, but the one before.
                config["configurable"] |= head.config["configurable"]
                updated = await graph.aupdate_state(config, values, as_node=as_node)
        snapshot = (await head_state(graph, thread.thread_id)).snapshot
    return dict(updated["configurable"]), snapshot


async def state_bulk_update(edit: EditLease, thread: ThreadForState, supersteps: Sequence[Superstep]) -> StateSnapshot:
    """Write a checkpoint for each superstep, as if its nodes had returned its values; the new head state.

    Raises as `state_update` does.
    """
    graph_id = require_graph(thread)
    _require_storable(supersteps)
    config = config_at(thread.thread_id)
    config["metadata"] = {"graph_id": graph_id}
    async with _graph_of(thread, graph_id, edit) as graph:
        for update in (update for superstep in supersteps for update in superstep.updates):
            _require_node(graph, update.as_node, "__start__", "__input__", "__copy__")
        steps = [[StateUpdate(_returned(update), update.as_node) for update in step.updates] for step in supersteps]
        with _refusals():
            await graph.abulk_update_state(config, steps)
        return (await head_state(graph, thread.thread_id)).snapshot


def _returned(update: SuperstepUpdate) -> Any:
    """What the node of the update is taken to have returned."""
    command = update.command
    if command is None:
        return update.values
    targets = command.goto if isinstance(command.goto, list) else [command.goto] if command.goto else []
    goto = [target if isinstance(target, str) else Send(target.node, target.input) for target in targets]
    return Command(update=command.update, resume=command.resume, goto=goto)


async def messages_append(edit: EditLease, thread: ThreadForState, messages: list[dict[str, Any]]) -> StateSnapshot:
    """Add messages to the state; the new head state. A thread that had come to its end begins anew with them.

    Raises as `state_update` does, and `BadRequest` where the graph's state has no messages.
    """
    graph_id = require_graph(thread)
    _require_storable(messages)
    config = config_at(thread.thread_id)
    config["metadata"] = {"graph_id": graph_id}
    async with _graph_of(thread, graph_id, edit) as graph:
        if "messages" not in graph.channels:
            raise BadRequest(f"The state of graph '{graph_id}' has no messages")
        newest = await head_state(graph, thread.thread_id)
        head = newest.snapshot
        config["configurable"] |= newest.config["configurable"]
        if isinstance(graph.channels["messages"], LastValue):
            # No reducer: what is written replaces what was there.
            messages = [*(head.values.get("messages") or []), *messages]
        # More messages for a beginning that has not begun yet belong to the same beginning.
        begins = not head.next or newest.refuses_writes or (head.metadata or {}).get("as_node") == START
        if begins:
            config["metadata"]["as_node"] = START
        with _refusals():
            await graph.aupdate_state(config, {"messages": messages}, as_node=START if begins else None)
        return (await head_state(graph, thread.thread_id)).snapshot


def _require_storable(values: Any) -> None:
    require_free_disk()
    if not is_storable(encode(values)):
        raise Unprocessable(NOT_STORABLE)


def require_graph(thread: ThreadForState) -> str:
    """The thread's graph. Raises `BadRequest` for a thread that has none yet."""
    if thread.graph_id is None:
        raise BadRequest(
            f"Thread '{thread.thread_id}' has no assigned graph ID. This usually occurs when no runs have been made on "
            "this particular thread. This operation requires a graph ID. Please ensure a run has been made for the "
            "thread or manually update the thread metadata (by setting the 'graph_id' field) before running this "
            "operation."
        )
    return thread.graph_id


def _require_node(graph: AnyPregel, name: str, *others: str) -> None:
    if name not in graph.nodes and name not in others:
        raise BadRequest(f"Node {name} does not exist")


@contextmanager
def _refusals() -> Iterator[None]:
    """What a graph refuses to take for an update is the caller's fault."""
    try:
        yield
    except ApiError:
        raise
    except (InvalidUpdateError, ValueError, TypeError) as error:
        raise BadRequest(str(error)) from error
    except _OF_REDUCERS as error:
        raise BadRequest(f"The graph refuses this update: {error!r}") from error


def state_wire(snapshot: StateSnapshot) -> dict[str, Any]:
    """A state as it goes over the wire."""
    checkpoint = _checkpoint(snapshot.config)
    parent = _checkpoint(snapshot.parent_config)
    return {
        "values": snapshot.values,
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
        "error": None if task.error is None else task.error if isinstance(task.error, str) else repr(task.error),
        "interrupts": [interrupt_wire(interrupt) for interrupt in task.interrupts],
        "checkpoint": None if nested is None or isinstance(nested, StateSnapshot) else _checkpoint(nested),
        "state": state_wire(nested) if isinstance(nested, StateSnapshot) else None,
        "result": task.result,
    }


def _checkpoint(config: RunnableConfig | None) -> dict[str, Any] | None:
    if not config:
        return None
    configurable = config["configurable"]
    return {key: configurable[key] for key in _CHECKPOINT_KEYS if configurable.get(key) is not None}


def interrupt_wire(interrupt: Interrupt) -> dict[str, Any]:
    """An open interrupt as threads and states show it."""
    return {"id": interrupt.id, "value": interrupt.value}


def interrupts_by_task(snapshot: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """Task id to the interrupts it waits for."""
    return {
        task.id: [interrupt_wire(interrupt) for interrupt in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }
