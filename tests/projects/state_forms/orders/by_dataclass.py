from dataclasses import dataclass, field
from datetime import date
from operator import add
from typing import Annotated, Any

from langgraph.graph import START, StateGraph


@dataclass
class Address:
    street: str
    city: str = "Rome"


@dataclass
class Parcel:
    address: Address | None = None
    due: date | None = None
    steps: Annotated[list[str], add] = field(default_factory=list)
    # Named by no schema: whatever a node puts here.
    anything: dict[str, Any] = field(default_factory=dict)


def pack(state: Parcel) -> dict[str, Any]:
    return {"address": Address("Via 1"), "due": date(2031, 5, 6), "steps": ["packed"], "anything": {"at": Address("x")}}


def send(state: Parcel) -> Parcel:
    assert isinstance(state.address, Address)
    assert isinstance(state.due, date)
    assert isinstance(state.anything["at"], Address)
    return Parcel(address=state.address, due=state.due, steps=[f"sent to {state.address.city}"], anything={})


graph = (
    StateGraph(Parcel)
    .add_node("pack", pack)
    .add_node("send", send)
    .add_edge(START, "pack")
    .add_edge("pack", "send")
    .compile(interrupt_before=["send"])
)
