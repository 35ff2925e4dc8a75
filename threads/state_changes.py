"""Changes of a thread's state by hand. Everything here runs on the loop of the graphs, under an edit lease.

A change is staged: it is written once the graph was seen to read the state that it makes.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.channels.last_value import LastValue
from langgraph.constants import START
from langgraph.types import Command, Send, StateUpdate

from platform_site.core.database.access import is_storable
from platform_site.core.errors import NOT_STORABLE, BadRequest, Unprocessable
from platform_site.core.quotas import require_free_disk
from platform_site.core.scope import ScopedSaver
from platform_site.core.wire import encode
from threads.editing import EditLease
from threads.lenient import lenient
from threads.refusals import is_the_graphs, refusals
from threads.schemas import CheckpointRef, Superstep, SuperstepUpdate
from threads.selectors import ThreadForState
from threads.staging import StagedSaver
from threads.state import AnyPregel, HeadState, config_at, graph_of, head_state, require_graph, settled_config


async def state_update(
    edit: EditLease, thread: ThreadForState, ref: CheckpointRef | None, values: Any, as_node: str | None
) -> tuple[dict[str, Any], HeadState]:
    """Write a checkpoint as if `as_node` had returned `values`. Return its configuration and the new head state.

    LangGraph knows three more names: `__input__` takes the values as an input, `__copy__` forks the checkpoint, and
    `__end__` without values drops the tasks that wait, with their questions.

    Raises `BadRequest` for a thread without a graph, an unknown node, and values or a new state that the graph refuses,
    and `Unprocessable` for values that the database could not give back.
    """
    graph_id = require_graph(thread)
    _require_storable(values)
    config = config_at(thread.thread_id, ref)
    config["metadata"] = {"graph_id": graph_id}
    async with graph_of(thread, graph_id, edit) as graph, _staged(graph):
        updated = await _updated(graph, thread, config, values, as_node)
        changed = await head_state(graph, thread.thread_id)
    return dict(updated["configurable"]), changed


@asynccontextmanager
async def _staged(graph: AnyPregel) -> AsyncIterator[None]:
    """Write what the block changes at its end. What the graph raises becomes `BadRequest`, and nothing is written."""
    saver = StagedSaver(cast(ScopedSaver, graph.checkpointer))
    graph.checkpointer = saver
    with refusals():
        yield
        await saver.store()


async def _updated(
    graph: AnyPregel, thread: ThreadForState, config: RunnableConfig, values: Any, as_node: str | None
) -> RunnableConfig:
    try:
        return await graph.aupdate_state(config, values, as_node=as_node)
    except Exception as error:
        base = await _other_base(graph, thread, config) if is_the_graphs(error) else None
        if base is None:
            raise
    cast(StagedSaver, graph.checkpointer).discard()
    other, place = base
    config["configurable"] |= place["configurable"]
    return await other.aupdate_state(config, values, as_node=as_node)


async def _other_base(
    graph: AnyPregel, thread: ThreadForState, config: RunnableConfig
) -> tuple[AnyPregel, RunnableConfig] | None:
    """Return how to change a state that the graph refuses, or None for a state that it can read.

    A graph refuses what was written last, or the values of the state itself. An update may mend either.
    """
    if await _is_readable(graph, config):
        return None
    ways = [(lenient(graph), config)]
    is_head = not config["configurable"].get("checkpoint_id") and not config["configurable"]["checkpoint_ns"]
    if is_head and (settled := await settled_config(graph, thread.thread_id)):
        ways = [(graph, settled), *ways, (lenient(graph), settled)]
    for other, place in ways:
        if await _is_readable(other, place):
            return other, place
    return None


async def _is_readable(graph: AnyPregel, config: RunnableConfig) -> bool:
    try:
        await graph.aget_state(config)
    except Exception as error:
        if not is_the_graphs(error):
            raise
        return False
    return True


async def state_bulk_update(edit: EditLease, thread: ThreadForState, supersteps: Sequence[Superstep]) -> HeadState:
    """Write a checkpoint for each superstep, as if its nodes had returned its values. Return the new head state.

    Raises as `state_update` does.
    """
    graph_id = require_graph(thread)
    _require_storable(supersteps)
    config = config_at(thread.thread_id)
    config["metadata"] = {"graph_id": graph_id}
    async with graph_of(thread, graph_id, edit) as graph, _staged(graph):
        steps = [[StateUpdate(_returned(update), update.as_node) for update in step.updates] for step in supersteps]
        await graph.abulk_update_state(config, steps)
        changed = await head_state(graph, thread.thread_id)
    return changed


def _returned(update: SuperstepUpdate) -> Any:
    """Return what the node of the update is taken to have returned."""
    command = update.command
    if command is None:
        return update.values
    targets = command.goto if isinstance(command.goto, list) else [command.goto] if command.goto else []
    goto = [target if isinstance(target, str) else Send(target.node, target.input) for target in targets]
    return Command(update=command.update, resume=command.resume, goto=goto)


async def messages_append(edit: EditLease, thread: ThreadForState, messages: list[dict[str, Any]]) -> HeadState:
    """Add messages to the state and return the new head state. A thread that had ended begins anew with them.

    Raises as `state_update` does, and `BadRequest` where the graph's state has no messages.
    """
    graph_id = require_graph(thread)
    _require_storable(messages)
    config = config_at(thread.thread_id)
    config["metadata"] = {"graph_id": graph_id}
    async with graph_of(thread, graph_id, edit) as graph, _staged(graph):
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
        await graph.aupdate_state(config, {"messages": messages}, as_node=START if begins else None)
        changed = await head_state(graph, thread.thread_id)
    return changed


def _require_storable(values: Any) -> None:
    require_free_disk()
    if not is_storable(encode(values)):
        raise Unprocessable(NOT_STORABLE)
