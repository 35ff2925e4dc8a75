"""A graph that returns one value of the table, asks with it, and tells what it finds in its state later."""

import reprlib
from typing import Any

import value_rows
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Shown(TypedDict, total=False):
    # The row's name.
    row: str
    value: Any
    # What a node finds after the answer of an interrupt, and in the next run; each beside what it should find.
    resumed: list[str]
    again: list[str]


def told(value: Any) -> str:
    """A value's type and text; of a container or an object also those of what it holds."""
    return f"{type(value).__module__}.{type(value).__qualname__} {_Text().repr(value)}"


class _Text(reprlib.Repr):
    """Python's `repr`, with the type of everything that does not tell it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxstring = self.maxlong = 10_000

    def repr_instance(self, x: Any, level: int) -> str:
        return f"<{type(x).__qualname__} {x!r}>"


def _compared(row: value_rows.Row, value: Any) -> list[str]:
    return [told(value), told((row.returns or row.make)())]


async def look(state: Shown) -> Shown:
    """Tell what the run before this one has left."""
    return {"again": _compared(value_rows.ROWS[state["row"]], state["value"])} if "value" in state else {}


async def produce(state: Shown) -> Shown:
    row = value_rows.ROWS[state["row"]]
    get_stream_writer()(row.make())
    await get_store().aput(("values",), row.name, {"value": row.make()})
    return {"value": row.make()}


async def ask(state: Shown) -> Shown:
    row = value_rows.ROWS[state["row"]]
    interrupt("What no checkpoint holds is asked with by nobody" if row.is_refused else row.make())
    return {"resumed": _compared(row, state["value"])}


graph = (
    StateGraph(Shown)
    .add_node("look", look)
    .add_node("produce", produce)
    .add_node("ask", ask)
    .add_edge(START, "look")
    .add_edge("look", "produce")
    .add_edge("produce", "ask")
    .compile()
)
