"""Graphs of whose state clients see a part, and graphs that wait for a person beside nodes that have finished."""

import asyncio
import operator
from typing import Annotated, Any, NotRequired

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict


class Question(TypedDict):
    question: str


class Answer(TypedDict, total=False):
    answer: str


class Whole(TypedDict, total=False):
    question: str
    answer: str
    notes: Annotated[list[str], operator.add]
    draft: str


async def think(state: Whole) -> Whole:
    return {"notes": ["secret"], "draft": "41"}


async def reply(state: Whole) -> Whole:
    return {"answer": "42", "notes": ["more"]}


async def tidy(state: Whole) -> Whole:
    return {"draft": ""}


async def confirm(state: Whole) -> Whole:
    return {"answer": interrupt("sure?")}


async def fail(state: Whole) -> Whole:
    raise ValueError("boom")


def private(*nodes: Any) -> Any:
    builder = StateGraph(Whole, input_schema=Question, output_schema=Answer)
    return builder.add_sequence([think, *nodes]).add_edge(START, "think").compile()


answers = private(reply, tidy)
confirms = private(reply, confirm)
fails_in_private = private(reply, fail)
silent = private(tidy)
# The subgraph has an output of its own.
answers_inside = (
    StateGraph(Whole, input_schema=Question, output_schema=Answer)
    .add_sequence([("think", think), ("child", answers)])
    .add_edge(START, "think")
    .compile()
)


class Budget(AgentState[Any]):
    budget: NotRequired[Annotated[int, PrivateStateAttr]]  # type: ignore[valid-type]


class Counting(AgentMiddleware[Budget]):
    """Middleware with a counter that no client is to see."""

    state_schema = Budget

    async def abefore_model(self, state: Budget, runtime: Any) -> dict[str, Any]:
        return {"budget": state.get("budget", 10) - 1}


agent = create_agent(
    GenericFakeChatModel(messages=iter(AIMessage("hello", id=f"a{number}") for number in range(1000))),
    middleware=[Counting()],
)


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    index: int


async def done(state: Log) -> Log:
    return {"log": ["done"]}


async def late() -> None:
    """Let the other nodes of the step go first."""
    for _ in range(100):
        await asyncio.sleep(0)


async def done_late(state: Log) -> Log:
    await late()
    return {"log": ["late"]}


def asks(question: str, *, is_late: bool = False) -> Any:
    async def ask(state: Log) -> Log:
        if is_late:
            await late()
        return {"log": [f"{question} {interrupt(question)}"]}

    return ask


def beside(**nodes: Any) -> Any:
    builder = StateGraph(Log)
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.compile()


one_asks = beside(done=done, ask=asks("a?"))
asks_early = beside(done_late=done_late, ask=asks("a?"))
asks_late = beside(done=done, ask=asks("a?", is_late=True))
# The first to ask is not the first task.
two_ask = beside(done=done, ask=asks("a?", is_late=True), also=asks("b?"))
three_ask = beside(ask=asks("a?"), also=asks("b?"), third=asks("c?"))
children_ask = beside(first=beside(ask=asks("a?")), second=beside(also=asks("b?")), third=beside(done=done))


async def item(state: Log) -> Log:
    index = state["index"]
    return {"log": ["1 done"]} if index == 1 else {"log": [f"{index} {interrupt(f'{index}?')}"]}


sends = (
    StateGraph(Log)
    .add_node("item", item)
    .add_conditional_edges(START, lambda state: [Send("item", {"index": index}) for index in range(3)], ["item"])
    .compile()
)
