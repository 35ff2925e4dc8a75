import typing
from operator import add
from typing import Annotated, Any

import typing_extensions
from langchain_core.messages import AnyMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.managed import IsLastStep, RemainingSteps


class Base(typing.TypedDict):
    question: str


class Cart(typing_extensions.TypedDict):
    total: typing_extensions.NotRequired[float]
    tags: list[str]


class State(Base, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    cart: Cart
    notes: Annotated[typing_extensions.NotRequired[list[str]], add]
    extra: dict[str, Any] | None
    is_last: IsLastStep
    steps_left: RemainingSteps


def work(state: State) -> dict[str, Any]:
    note = f"last: {state['is_last']}, left: {state['steps_left']}"
    return {"cart": {"total": 1.5, "tags": ["a"]}, "notes": [note], "messages": [("ai", state["question"])]}


graph = StateGraph(State).add_node("work", work).add_edge(START, "work").compile()
