"""Graphs that tell which context they have seen."""

from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime
from pydantic import BaseModel
from typing_extensions import TypedDict


@dataclass
class Data:
    tone: str = "kind"
    level: int = 3


@dataclass
class Required:
    user: str


class Model(BaseModel):
    tone: str = "kind"
    level: int = 3


class RequiredModel(BaseModel):
    user: str


class Typed(TypedDict, total=False):
    tone: str
    level: int


class Seen(TypedDict, total=False):
    seen: Any
    below: Any
    factory: Any


def told(context: Any) -> Any:
    """Return the context as JSON that also tells its type."""
    if is_dataclass(context) and not isinstance(context, type):
        return [type(context).__name__, asdict(context)]
    if isinstance(context, BaseModel):
        return [type(context).__name__, context.model_dump()]
    return context


async def look(state: Seen, runtime: Runtime[Any]) -> Seen:
    return {"seen": told(runtime.context)}


async def remember(state: Seen, runtime: Runtime[Any]) -> Seen:
    assert runtime.store is not None
    await runtime.store.aput(("context",), "seen", {"context": runtime.context})
    found = await runtime.store.aget(("context",), "seen")
    return {"seen": found.value if found else None}


async def look_below(state: Seen, runtime: Runtime[Any]) -> Seen:
    return {"below": told(runtime.context)}


async def ask(state: Seen, runtime: Runtime[Any]) -> Seen:
    interrupt("go on?")
    return {"seen": told(runtime.context)}


def of(schema: Any, node: Any = look) -> Any:
    return StateGraph(Seen, context_schema=schema).add_node("node", node).add_edge(START, "node")


data = of(Data).compile()
model = of(Model).compile()
typed = of(Typed).compile()
remembering = of(Typed, remember).compile()
without = of(None).compile()
required = of(Required).compile()
required_model = of(RequiredModel).compile()
asking = of(Data, ask).compile()
# A subgraph sees the context of the run.
above = of(Data).add_node("child", of(Data, look_below).compile()).add_edge("node", "child").compile()


@entrypoint(context_schema=Data)
async def function(value: Any, runtime: Runtime[Data]) -> Any:
    return {"seen": told(runtime.context)}


def made(config: RunnableConfig) -> Any:
    return of(Data)


def made_without(config: RunnableConfig) -> Any:
    return of(None)


async def made_for(runtime: ServerRuntime[Data]) -> Any:
    run = runtime.execution_runtime
    context = told(run.context) if run is not None else "no run"

    async def node(state: Seen, runtime: Runtime[Data]) -> Seen:
        return {"factory": context, "seen": told(runtime.context)}

    return of(Data, node)


async def made_required(runtime: ServerRuntime[Required]) -> Any:
    return of(Required)
