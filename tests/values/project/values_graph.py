"""A graph that returns values of the table, asks with them, and tells what it finds in its state later."""

from typing import Any

import value_rows
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from telling import told
from typing_extensions import TypedDict

# So many values a run has at most, each in a channel of its own.
SLOTS = 16


class Own(TypedDict, total=False):
    # The names of the rows, in the order of the slots.
    rows: list[str]
    # Whether the node returns a command.
    as_command: bool
    # What nodes find after an answer, and in the next run: for every row, beside what they should find.
    resumed: list[list[str]]
    again: list[list[str]]


Shown = TypedDict("Shown", {**Own.__annotations__, **{f"slot{slot}": Any for slot in range(SLOTS)}}, total=False)  # type: ignore[misc]
State = Any


def _made(state: State) -> State:
    return {f"slot{slot}": value_rows.ROWS[name].make() for slot, name in enumerate(state["rows"])}


def _stored(state: State) -> State:
    takes = [value_rows.ROWS[name].is_stored for name in state["rows"]]
    return {name: value for (name, value), is_stored in zip(_made(state).items(), takes, strict=True) if is_stored}


def _compared(state: State) -> list[list[str]]:
    rows = [value_rows.ROWS[name] for name in state["rows"]]
    return [[told(state[f"slot{slot}"]), told((row.returns or row.make)())] for slot, row in enumerate(rows)]


async def look(state: State) -> State:
    """Tell what the run before this one has left."""
    return {"again": _compared(state)} if "slot0" in state else {}


async def produce(state: State) -> State | Command[Any]:
    get_stream_writer()(_made(state))
    await get_store().aput(("values",), state["rows"][0], _stored(state))
    return Command(update=_made(state)) if state.get("as_command") else _made(state)


async def ask(state: State) -> State:
    is_refused = any(value_rows.ROWS[name].is_refused for name in state["rows"])
    interrupt("no checkpoint holds it" if is_refused else _made(state))
    return {"resumed": _compared(state)}


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
