"""Graphs that leave a trail outside their checkpoints: one line, on disk, for each start of a node."""

import asyncio
import itertools
import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from tests.faults import last_breath

last_breath.install()


def mark(config: RunnableConfig, node: str) -> None:
    """Write that a node starts, so that a kill in the next instant does not lose it."""
    trail = os.open(os.environ["TRAIL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(trail, f"{config['configurable']['thread_id']} {node} {os.getpid()}\n".encode())
    os.fsync(trail)
    os.close(trail)


class SixState(MessagesState):
    delay: float
    done: Annotated[list[str], operator.add]
    notes: Annotated[list[str], operator.add]


NODES = ["n1", "n2", "n3", "n4", "n5", "n6"]


def _step(name: str) -> Any:
    async def step(state: SixState, config: RunnableConfig) -> dict[str, Any]:
        mark(config, name)
        await asyncio.sleep(state.get("delay") or 0.05)
        return {"done": [name]}

    return step


_six = StateGraph(SixState)
for node in NODES:
    _six.add_node(node, _step(node))
_six.add_edge(START, "n1")
for before, after in itertools.pairwise(NODES):
    _six.add_edge(before, after)
# Six nodes, one after the other.
six = _six.compile()


class AskState(TypedDict, total=False):
    answers: Annotated[list[Any], operator.add]
    notes: Annotated[list[str], operator.add]


async def first(state: AskState, config: RunnableConfig) -> AskState:
    mark(config, "first")
    return {"answers": [interrupt("first?")]}


async def between(state: AskState, config: RunnableConfig) -> AskState:
    mark(config, "between")
    await asyncio.sleep(0.25)
    return {"notes": ["between"]}


async def second(state: AskState, config: RunnableConfig) -> AskState:
    mark(config, "second")
    return {"answers": [interrupt("second?")]}


# Two questions in a row, in two nodes.
two_nodes = (
    StateGraph(AskState)
    .add_node("first", first)
    .add_node("between", between)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge("first", "between")
    .add_edge("between", "second")
    .compile()
)


async def both(state: AskState, config: RunnableConfig) -> AskState:
    mark(config, "both")
    one = interrupt("first?")
    await asyncio.sleep(0.25)
    return {"answers": [one, interrupt("second?")]}


# Two questions in a row, in one node.
one_node = StateGraph(AskState).add_node("both", both).add_edge(START, "both").compile()


async def poisoned(state: AskState, config: RunnableConfig) -> AskState:
    mark(config, "poisoned")
    # Its three neighbours have been asked for, however slow the machine is.
    while Path(os.environ["TRAIL"]).read_text().count(" n1 ") < 3:  # noqa: ASYNC110 - only the trail tells
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    os._exit(9)


# Takes its process with it.
poison = StateGraph(AskState).add_node("poisoned", poisoned).add_edge(START, "poisoned").compile()


async def blocks(state: SixState, config: RunnableConfig) -> dict[str, Any]:
    mark(config, "blocks")
    time.sleep(state["delay"])  # noqa: ASYNC251 - on purpose: nothing else runs on the loop meanwhile
    return {"done": ["blocks"]}


# Blocks the loop that it runs on.
blocking = StateGraph(SixState).add_node("blocks", blocks).add_edge(START, "blocks").compile()


def sleeps(state: SixState, config: RunnableConfig) -> dict[str, Any]:
    mark(config, "sleeps")
    time.sleep(state["delay"])
    return {"done": ["sleeps"]}


# A synchronous node, which no one can stop.
synchronous = StateGraph(SixState).add_node("sleeps", sleeps).add_edge(START, "sleeps").compile()


class HogState(TypedDict, total=False):
    gate: str
    done: Annotated[list[str], operator.add]


def holds(state: HogState, config: RunnableConfig) -> HogState:
    mark(config, "holds")
    while not os.path.exists(state["gate"]):
        time.sleep(0.02)
    return {"done": ["holds"]}


def to_every_thread(state: HogState) -> list[Send]:
    return [Send("holds", state) for _ in range(60)]


# Takes every thread for synchronous nodes, and keeps them until the file at `gate` is there.
hog = StateGraph(HogState).add_node("holds", holds).add_conditional_edges(START, to_every_thread, ["holds"]).compile()
