from enum import StrEnum
from operator import add
from typing import Annotated

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, Field


class Size(StrEnum):
    small = "small"
    large = "large"


class Item(BaseModel):
    name: str
    amount: int = Field(default=1, ge=1)


class Order(BaseModel):
    items: list[Item] = Field(default_factory=list)
    size: Size = Size.small
    log: Annotated[list[str], add] = Field(default_factory=list)


def check(state: Order) -> dict[str, list[str]]:
    return {"log": [f"{item.name}: {item.amount}" for item in state.items]}


def ask(state: Order) -> dict[str, object]:
    answer = interrupt({"size": state.size})
    # After the answer the state comes from the checkpoint.
    assert isinstance(state.size, Size)
    assert all(isinstance(item, Item) for item in state.items)
    return {"size": answer, "log": ["asked"]}


graph = (
    StateGraph(Order)
    .add_node("check", check)
    .add_node("ask", ask)
    .add_edge(START, "check")
    .add_edge("check", "ask")
    .compile()
)
