"""Graphs that use the store of the server."""

import time
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime


class Work(TypedDict, total=False):
    # Puts, searches and namespaces, as arguments of the store's methods.
    put: list[list[Any]]
    search: dict[str, Any]
    found: list[Any]
    namespaces: list[Any]


async def keep(state: Work, runtime: Runtime[None]) -> Work:
    store = runtime.store
    assert store is not None
    for namespace, key, value in state.get("put", []):
        await store.aput(tuple(namespace), key, value)
    return {}


def look(state: Work, runtime: Runtime[None]) -> Work:
    store = runtime.store
    assert store is not None
    asked = {**state.get("search", {})}
    found = store.search(tuple(asked.pop("prefix", ())), **asked)
    shown = [[list(item.namespace), item.key, item.value, item.score] for item in found]
    return {"found": shown, "namespaces": [list(namespace) for namespace in store.list_namespaces()]}


keeper = (
    StateGraph(Work)
    .add_node("keep", keep)
    .add_node("look", look)
    .add_edge(START, "keep")
    .add_edge("keep", "look")
    .add_edge("look", END)
    .compile()
)


async def block(state: Work) -> Work:
    # Written badly: it stops the loop of all runs.
    time.sleep(3)  # noqa: ASYNC251 - on purpose
    return {}


blocking = StateGraph(Work).add_node("block", block).add_edge(START, "block").add_edge("block", END).compile()
