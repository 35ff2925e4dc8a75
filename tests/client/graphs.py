"""Graphs for what the recorded graphs do not show: interrupts inside subgraphs, two at once, masked errors."""

import operator
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict


class Asked(TypedDict, total=False):
    answers: Annotated[list[Any], operator.add]


async def ask_inside(state: Asked) -> Asked:
    return {"answers": [interrupt("inside?")]}


inner = StateGraph(Asked).add_node("ask", ask_inside).add_edge(START, "ask").compile()
# An interrupt in a subgraph.
boxed = StateGraph(Asked).add_node("box", inner).add_edge(START, "box").compile()


async def left(state: Asked) -> Asked:
    return {"answers": [f"left: {interrupt('left?')}"]}


async def right(state: Asked) -> Asked:
    return {"answers": [f"right: {interrupt('right?')}"]}


# Two interrupts that wait at the same time.
both = (
    StateGraph(Asked)
    .add_node("left", left)
    .add_node("right", right)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .compile()
)


class Deep(TypedDict, total=False):
    text: str


async def leaf(state: Deep) -> Deep:
    return {"text": state.get("text", "") + "-leaf"}


lower = StateGraph(Deep).add_node("leaf", leaf).add_edge(START, "leaf").compile()
middle = StateGraph(Deep).add_node("lower", lower).add_edge(START, "lower").compile()
# Subgraphs two levels down.
deep = StateGraph(Deep).add_node("middle", middle).add_edge(START, "middle").compile()


async def model_inside(state: MessagesState) -> dict[str, Any]:
    model = GenericFakeChatModel(messages=iter([AIMessage(content="one two", id="ai-inside")]))
    return {"messages": [await model.ainvoke(state["messages"])]}


speaker = StateGraph(MessagesState).add_node("speak", model_inside).add_edge(START, "speak").compile()
# A model that is called in a subgraph.
agent_inside = StateGraph(MessagesState).add_node("agent", speaker).add_edge(START, "agent").compile()


class Fan(TypedDict, total=False):
    items: list[int]
    item: int
    done: Annotated[list[int], operator.add]


async def plan(state: Fan) -> Command[Any]:
    return Command(goto=[Send("work", {"item": item}) for item in state.get("items", [])])


async def work(state: Fan) -> Fan:
    return {"done": [state["item"] * 10]}


# One node many times in one step.
fan = (
    StateGraph(Fan)
    .add_node("plan", plan, destinations=("work",))
    .add_node("work", work)
    .add_edge(START, "plan")
    .add_edge("work", END)
    .compile()
)


class Failure(TypedDict, total=False):
    kind: str


ERRORS = {error.__name__: error for error in (ValueError, KeyError, TimeoutError, OSError, ZeroDivisionError)}


async def fail(state: Failure) -> Failure:
    raise ERRORS[state["kind"]]("the secret text")


fails = StateGraph(Failure).add_node("fail", fail).add_edge(START, "fail").compile()


@task
async def square(number: int) -> int:
    return number * number


@entrypoint()
async def squares(numbers: list[int], *, previous: Any = None) -> dict[str, Any]:
    """The functional API."""
    results = [await square(number) for number in numbers]
    return {"squares": results, "before": previous and previous["squares"]}


class Called(TypedDict, total=False):
    # Which of the inner graphs is called, and with whose configuration.
    inner: str
    config: str
    thread: str
    said: Annotated[list[str], operator.add]


async def say(state: Called) -> Called:
    return {"said": [f"heard {len(state.get('said', []))} before"]}


_inner = StateGraph(Called).add_node("say", say).add_edge(START, "say")
INNER = {
    "inherits": _inner.compile(),
    "without": _inner.compile(checkpointer=False),
    "of its own": _inner.compile(checkpointer=InMemorySaver()),
}


async def call(state: Called, config: RunnableConfig) -> Called:
    """Invoke another graph on another thread, as the state says."""
    thread = {"thread_id": state["thread"]}
    nodes: RunnableConfig = {**config, "configurable": {**config["configurable"], **thread}}
    configs: dict[str, RunnableConfig] = {"the node's": nodes, "own": {"configurable": thread}, "none": {}}
    answer = await INNER[state["inner"]].ainvoke({"said": []}, configs[state["config"]])
    return {"said": answer["said"]}


# A node that invokes another graph.
calls = StateGraph(Called).add_node("call", call).add_edge(START, "call").compile()


class Report(TypedDict, total=False):
    seen: dict[str, Any]
    said: Annotated[list[str], operator.add]


async def report(state: Report, config: RunnableConfig) -> Report:
    shown = {key: value for key, value in config["configurable"].items() if not key.startswith("__")}
    return {"seen": {"keys": sorted(config), "configurable": shown}}


# A node that tells its configuration.
reports = StateGraph(Report).add_node("report", report).add_edge(START, "report").compile()
