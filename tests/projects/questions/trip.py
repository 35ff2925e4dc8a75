from dataclasses import dataclass
from operator import add
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt


@dataclass
class Stop:
    city: str
    nights: int


class Trip(TypedDict, total=False):
    cities: list[str]
    booked: Annotated[list[str], add]
    weather: str


async def weather(state: Trip) -> Trip:
    return {"weather": "sun"}


def stops(state: Trip) -> list[Send]:
    return [Send("book", Stop(city, 2)) for city in state["cities"]]


async def book(stop: Stop) -> Command:
    # After the answer the payload comes from the checkpoint, as what it was.
    hotel = interrupt({"city": stop.city, "nights": stop.nights})
    return Command(update={"booked": [f"{hotel} in {stop.city}"]}, goto="pack")


def pack(state: Trip) -> Trip:
    return {}


graph = (
    StateGraph(Trip)
    .add_node("weather", weather)
    .add_node("book", book, destinations=("pack",))
    .add_node("pack", pack)
    .add_edge(START, "weather")
    .add_conditional_edges(START, stops, ["book"])
    .compile()
)
