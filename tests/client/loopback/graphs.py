"""Graphs whose nodes use the SDK without a URL."""

import asyncio
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client
from typing_extensions import TypedDict

# Made before any run and on no loop.
early = get_client()


class State(TypedDict, total=False):
    ask: Any
    got: Any


async def counted(state: State) -> State:
    client = get_client()
    return {"got": len(await client.assistants.search())}


asks = StateGraph(State).add_node("n", counted).add_edge(START, "n").compile()


async def c(state: State) -> State:
    return {"got": state.get("ask")}


child = StateGraph(State).add_node("c", c).add_edge(START, "c").compile()
