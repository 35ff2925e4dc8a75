"""Graphs for the tests of runs: what their nodes do is said by the test."""

import itertools
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict

# What the nodes `work` (asynchronous) and `thread` (synchronous) do, by the name the run's input gives.
SCRIPTS: dict[str, Callable[..., Any]] = {}


@contextmanager
def script(name: str, function: Callable[..., Any]) -> Iterator[str]:
    """Have the scripted graphs do `function(state, config)` for the input `{"do": name}`."""
    SCRIPTS[name] = function
    try:
        yield name
    finally:
        del SCRIPTS[name]


class Log(TypedDict, total=False):
    """A state that shows what was done, and how often."""

    log: Annotated[list[Any], operator.add]


def _says(word: str) -> Callable[[Log], Any]:
    async def say(state: Log) -> Log:
        return {"log": [word]}

    return say


def _graph(*nodes: tuple[str, Any], edges: list[tuple[str, str]]) -> StateGraph[Any]:
    builder = StateGraph(Log)
    for name, node in nodes:
        builder.add_node(name, node)
    for start, end in edges:
        builder.add_edge(start, end)
    return builder


# start -> one -> two -> end; `aside` is reached by a command's goto only.
log = _graph(
    ("one", _says("one")),
    ("two", _says("two")),
    ("aside", _says("aside")),
    edges=[(START, "one"), ("one", "two"), ("two", END), ("aside", END)],
).compile()


class Noted(Log, total=False):
    note: str


async def _note(state: Noted) -> Noted:
    return {"log": ["noted"], "note": "secret"}


# Clients see `log` and not `note`.
noting = (
    StateGraph(Noted, output_schema=Log)
    .add_node("note", _note)
    .add_node("ask", lambda state: {"log": [interrupt("sure?")]} if state["log"][0] == "ask" else {})
    .add_edge(START, "note")
    .add_edge("note", "ask")
    .compile()
)


async def _ask_twice(state: Log) -> Log:
    first = interrupt("first?")
    second = interrupt("second?")
    return {"log": [first, second]}


def _asks(question: str) -> Callable[[Log], Any]:
    async def ask(state: Log) -> Log:
        return {"log": [interrupt(question)]}

    return ask


# One node that asks two questions, one after the other.
ask_twice = _graph(("ask", _ask_twice), edges=[(START, "ask"), ("ask", END)]).compile()

# Two nodes that ask one question each, one after the other.
ask_in_turn = _graph(
    ("left", _asks("left?")), ("right", _asks("right?")), edges=[(START, "left"), ("left", "right"), ("right", END)]
).compile()

# Two nodes that ask at the same time.
ask_both = _graph(
    ("left", _asks("left?")), ("right", _asks("right?")), edges=[(START, "left"), (START, "right")]
).compile()

# A subgraph that asks twice, between two nodes that do not ask.
ask_below = _graph(
    ("before", _says("before")),
    ("child", ask_in_turn),
    ("after", _says("after")),
    edges=[(START, "before"), ("before", "child"), ("child", "after"), ("after", END)],
).compile()


# What a node of these graphs does is counted where no checkpoint is: its starts, by thread.
STARTS: dict[str, list[str]] = {}


def _counted(name: str) -> Any:
    async def node(state: Log, config: RunnableConfig) -> Log:
        STARTS.setdefault(config["configurable"]["thread_id"], []).append(name)
        return {"log": [name]}

    return node


def _chain(*names: str, **breakpoints: Any) -> Any:
    edges = [(START, names[0]), *itertools.pairwise(names), (names[-1], END)]
    return _graph(*((name, _counted(name)) for name in names), edges=edges).compile(**breakpoints)


# Breakpoints that are compiled into the graph.
stops_before = _chain("one", "two", "three", interrupt_before=["two", "three"])
stops_after = _chain("one", "two", "three", interrupt_after=["one", "two"])
# No breakpoints but those of the request.
chain = _chain("one", "two", "three")


def _looping(**breakpoints: Any) -> Any:
    builder = StateGraph(Log).add_node("turn", _counted("turn")).add_edge(START, "turn")
    builder.add_conditional_edges("turn", lambda state: "turn" if len(state["log"]) < 3 else END)
    return builder.compile(**breakpoints)


# One node, three times.
loops_before = _looping(interrupt_before=["turn"])
loops_after = _looping(interrupt_after="*")


def _above(child: Any, *beside: tuple[str, Any]) -> Any:
    nodes = [("before", _counted("before")), ("child", child), *beside, ("last", _counted("last"))]
    edges = [(START, "before"), *(("before", name) for name, _ in nodes[1:-1])]
    builder = _graph(*nodes, edges=edges)
    builder.add_edge([name for name, _ in nodes[1:-1]], "last")
    return builder.compile()


# The breakpoints are those of a subgraph, and of one beside which another node works.
below_before = _above(_chain("one", "two", "three", interrupt_before=["two", "three"]))
below_after = _above(_chain("one", "two", "three", interrupt_after=["one", "two"]))
beside_before = _above(_chain("one", "two", interrupt_before=["two"]), ("beside", _counted("beside")))
beside_after = _above(_chain("one", "two", interrupt_after=["one"]), ("beside", _counted("beside")))


async def _counts_and_asks(state: Log, config: RunnableConfig) -> Log:
    STARTS.setdefault(config["configurable"]["thread_id"], []).append("ask")
    return {"log": [interrupt("first?"), interrupt("second?")]}


# A node that asks twice and whose starts are counted.
counted_questions = _graph(("ask", _counts_and_asks), edges=[(START, "ask"), ("ask", END)]).compile()


class Scripted(TypedDict, total=False):
    do: str
    done: Any
    log: Annotated[list[Any], operator.add]


def _scripted(node: Any) -> Any:
    return (
        StateGraph(Scripted)
        .add_node("begin", lambda state: {"log": ["begun"]})
        .add_node("work", node)
        .add_edge(START, "begin")
        .add_edge("begin", "work")
        .add_edge("work", END)
        .compile()
    )


async def _work(state: Scripted, config: RunnableConfig) -> Scripted:
    done = SCRIPTS[state["do"]](state, config)
    if hasattr(done, "__await__"):
        done = await done
    return {"done": done}


def _work_in_thread(state: Scripted, config: RunnableConfig) -> Scripted:
    return {"done": SCRIPTS[state["do"]](state, config)}


scripted = _scripted(_work)


def _ask_before(state: Scripted) -> Scripted:
    return {"log": [interrupt("go on?")]}


# A question, and the scripted work when it is answered.
ask_then_work = (
    StateGraph(Scripted)
    .add_node("ask", _ask_before)
    .add_node("work", _work)
    .add_edge(START, "ask")
    .add_edge("ask", "work")
    .compile()
)
scripted_thread = _scripted(_work_in_thread)


def made(config: RunnableConfig) -> Any:
    """A factory that does what the run's configuration names before it makes the graph."""
    if name := config["configurable"].get("factory"):
        return SCRIPTS[name](config)
    return scripted


class Counted(GenericFakeChatModel):
    """A fake model that tells its usage, whole or with the last chunk."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Hel"))
        last = AIMessageChunk(content="lo", usage_metadata={"input_tokens": 7, "output_tokens": 2, "total_tokens": 9})
        yield ChatGenerationChunk(message=last)


class Talk(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _model() -> Counted:
    usage = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    return Counted(messages=iter([AIMessage("Hello", usage_metadata=usage)]))


async def _talk(state: Talk, config: RunnableConfig) -> Talk:
    # A runnable inside the node, which is no span of its own.
    model = RunnableLambda(lambda messages: messages) | _model()
    return {"messages": [await model.ainvoke(state["messages"], config)]}


async def _calculate(state: Talk) -> Talk:
    await add.ainvoke({"a": 1, "b": 2})
    return {}


_child = StateGraph(Talk).add_node("talk", _talk).add_edge(START, "talk").compile()
# A node that asks a model, one that calls a tool, and a subgraph that asks a model.
models = (
    StateGraph(Talk)
    .add_node("talk", _talk)
    .add_node("calculate", _calculate)
    .add_node("child", _child)
    .add_edge(START, "talk")
    .add_edge("talk", "calculate")
    .add_edge("calculate", "child")
    .compile()
)
