from typing import TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph


class Seen(TypedDict, total=False):
    model: str | None
    limit: int | None


def look(state: Seen, config: RunnableConfig) -> Seen:
    return {"model": config["configurable"].get("model"), "limit": config.get("recursion_limit")}


graph = StateGraph(Seen).add_node("look", look).add_edge(START, "look").compile()
