from typing import TypedDict

from langgraph.graph import START, StateGraph


class Größe(TypedDict, total=False):
    größe: int


graph = StateGraph(Größe).add_node("mäßig", lambda state: {"größe": 2}).add_edge(START, "mäßig").compile()
