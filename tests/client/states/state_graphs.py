"""Graphs whose state is hard to read: a factory, a state that validates, a question that may be dismissed."""

import contextlib
import operator
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict


class Log(TypedDict, total=False):
    """A state that shows which nodes have run."""

    log: Annotated[list[str], operator.add]


def _says(word: str) -> Any:
    def say(state: Log) -> Log:
        return {"log": [word]}

    return say


class SecretError(Exception):
    """An error whose text is not shown to clients."""


_RAISED = {"RuntimeError": RuntimeError, "KeyError": KeyError, "SecretError": SecretError}


@contextlib.asynccontextmanager
async def named_node(config: RunnableConfig) -> AsyncIterator[Any]:
    """A graph of one node that has the name `configurable.node`.

    `configurable.raises` names the error with which the graph is not made, `configurable.raises_at_the_end` the one
    with which it is not cleaned up.
    """
    configurable = config["configurable"]
    if name := configurable.get("raises"):
        raise _RAISED[name]("no such tenant")
    node = configurable.get("node", "default")
    yield StateGraph(Log).add_node(node, _says(node)).add_edge(START, node).compile()
    if name := configurable.get("raises_at_the_end"):
        raise _RAISED[name]("cannot be closed")


def _ask(state: Log) -> Log:
    return {"log": [f"answered {interrupt('really?')}"]}


def _asking() -> Any:
    builder = StateGraph(Log).add_node("first", _says("first")).add_node("ask", _ask).add_node("last", _says("last"))
    return builder.add_edge(START, "first").add_edge("first", "ask").add_edge("ask", "last").compile()


# start -> first -> ask -> last
asks = _asking()

# The same as a subgraph.
parent = StateGraph(Log).add_node("child", _asking()).add_edge(START, "child").compile()


class Counted(BaseModel):
    """A state that is validated before a node sees it, but not when it is stored."""

    n: int = 0
    log: Annotated[list[str], operator.add] = []


@dataclass
class CountedData:
    """A state that refuses a value that it cannot add up."""

    n: int = 0
    log: Annotated[list[str], operator.add] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n = self.n + 0


def _counts(state: Any) -> dict[str, Any]:
    return {"log": [f"n={state.n}"]}


def _spoil(state: Any) -> dict[str, Any]:
    return {"n": "x", "log": ["spoil"]}


strict = StateGraph(Counted).add_node("count", _counts).add_edge(START, "count").compile()
strict_data = StateGraph(CountedData).add_node("count", _counts).add_edge(START, "count").compile()

# Its first node stores a value that its second one may not see.
spoils = (
    StateGraph(Counted)
    .add_node("spoil", _spoil)
    .add_node("count", _counts)
    .add_edge(START, "spoil")
    .add_edge("spoil", "count")
    .compile()
)


def _joined(before: list[str], writes: list[list[str]]) -> list[str]:
    return [*before, *(word for write in writes for word in write)]


class Deltas(BaseModel):
    """A state that is stored as what was written, and whole only now and then."""

    n: int = 0
    log: Annotated[list[str], DeltaChannel(_joined, list, snapshot_frequency=4)] = []


delta = StateGraph(Deltas).add_node("count", _counts).add_edge(START, "count").compile()

# A graph with a name of its own, and a builder, which has none.
named = StateGraph(Log).add_node("only", _says("only")).add_edge(START, "only").compile(name="A Named Graph")
unnamed = StateGraph(Log).add_node("only", _says("only")).add_edge(START, "only")


class Seen(TypedDict, total=False):
    """What a node was given, and the factory that made the graph."""

    by_node: dict[str, Any]
    by_factory: dict[str, Any]


@dataclass
class Tone:
    """A context with a default."""

    tone: str = "dry"


def _plain(config: RunnableConfig) -> dict[str, Any]:
    return {key: value for key, value in config["configurable"].items() if key in ("tone", "other", "node")}


def _looking(made_with: dict[str, Any]) -> Any:
    def look(state: Seen, config: RunnableConfig) -> Seen:
        return {"by_node": _plain(config), "by_factory": made_with}

    return StateGraph(Seen, context_schema=Tone).add_node("look", look).add_edge(START, "look").compile()


# A graph with a context schema, and one that a factory makes.
defaults = _looking({})


def chosen(config: RunnableConfig) -> Any:
    return _looking(_plain(config))
