from operator import add
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import CachePolicy, RetryPolicy
from pydantic import BaseModel, Field


class Seen(TypedDict, total=False):
    x: int
    seen: Annotated[list[Any], add]


def one_node(node: Any, **options: Any) -> StateGraph:
    return StateGraph(Seen, **options).add_node("node", node).add_edge(START, "node")


def look(state: Seen, config: RunnableConfig) -> Seen:
    configurable = config["configurable"]
    return {"seen": [configurable.get("model"), configurable.get("temperature"), config["recursion_limit"]]}


bound = (
    one_node(look)
    .compile()
    .with_config({"recursion_limit": 9, "configurable": {"model": "bound", "temperature": 1}, "tags": ["bound"]})
)

calls = 0


def costly(state: Seen) -> Seen:
    global calls
    calls += 1
    if calls == 1:
        raise ConnectionError("the first call fails")
    return {"seen": [calls]}


cached = (
    StateGraph(Seen)
    .add_node("node", costly, retry_policy=RetryPolicy(initial_interval=0.01), cache_policy=CachePolicy())
    .add_edge(START, "node")
    .compile(cache=InMemoryCache())
)

# Keeps its state from one run of the thread to the next.
inner = one_node(lambda state: {"seen": [len(state["seen"])]}).compile(checkpointer=True)


def ask(state: Seen) -> Seen:
    return {"x": len(inner.invoke({"x": 1})["seen"])}


remembering = one_node(ask).compile()


class Needs(BaseModel):
    key: str
    size: int = Field(default=2, ge=1)


async def use(state: Seen, runtime: Runtime[Needs]) -> Seen:
    await runtime.store.aput(("colours",), "red", {"text": "red"})
    await runtime.store.aput(("colours",), "blue", {"text": "blue"})
    found = await runtime.store.asearch(("colours",), query="reddish", limit=1)
    return {"seen": [type(runtime.context).__name__, runtime.context.key, runtime.context.size, found[0].key]}


strict = one_node(use, context_schema=Needs).compile()


def embed(texts: list[str]) -> list[list[float]]:
    return [[1.0, 0.0] if text.startswith("red") else [0.0, 1.0] for text in texts]
