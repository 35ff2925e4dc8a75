from typing import TypedDict

from langgraph.graph import START, StateGraph


class Text(TypedDict, total=False):
    text: str


builder = StateGraph(Text).add_node("say it", lambda state: {"text": "said"}).add_edge(START, "say it")
graph = builder.compile()
named = builder.compile(name="A name, with a comma")
