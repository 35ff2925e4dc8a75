"""Graphs that tell everything they can see, and one that is held until a file is there."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class Seen(TypedDict, total=False):
    asked: Any
    messages: Annotated[list[Any], operator.add]
    # Of the last run only: it would grow with every one.
    seen: list[Any]


class Context(TypedDict, total=False):
    asked: Any
    thread_id: Any
    run_id: Any
    assistant_id: Any
    user_id: Any
    langgraph_auth_user: Any


def plain(value: Any) -> Any:
    """A value as JSON can have it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


async def report(state: Seen, config: RunnableConfig, runtime: Runtime[Context]) -> Seen:
    items = await runtime.store.asearch((), limit=100) if runtime.store is not None else []
    before = {key: value for key, value in state.items() if key != "seen"}
    told = {
        "report_of": config["configurable"].get("thread_id"),
        "config": plain({key: value for key, value in config.items() if key != "callbacks"}),
        "context": plain(runtime.context),
        "items": [[list(item.namespace), item.key, plain(item.value)] for item in items],
        "state": plain(before),
    }
    if runtime.store is not None:
        await runtime.store.aput(("told",), "last", {"thread": str(told["report_of"])})
    return {"seen": [told]}


builder: Any = StateGraph(Seen, context_schema=Context)
graph = builder.add_node("report", report).add_edge(START, "report").compile()


async def hold(state: Seen) -> Seen:
    """Be at work until the file that the input names is there."""
    gate = Path(state["asked"])
    while not gate.exists():  # noqa: ASYNC110 - opened by another process
        await asyncio.sleep(0.02)
    return {"seen": ["held"]}


held = StateGraph(Seen).add_node("hold", hold).add_edge(START, "hold").compile()
