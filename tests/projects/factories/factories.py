import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph_sdk.runtime import ServerRuntime

# Belongs to the loop that uses it first.
lock = asyncio.Lock()


class Note(TypedDict, total=False):
    note: str


@dataclass
class Tone:
    tone: str = "friendly"


def graph_with(node: str, text: str, **options: Any) -> StateGraph:
    return StateGraph(Note, **options).add_node(node, lambda state: {"note": text}).add_edge(START, node)


def plain() -> CompiledStateGraph:
    return graph_with("plain", "made without anything").compile()


def by_config(config: RunnableConfig) -> CompiledStateGraph:
    name = config.get("configurable", {}).get("node", "unnamed")
    return graph_with(name, f"by the node {name}").compile(interrupt_after=[name])


async def asynchronous(config: RunnableConfig) -> StateGraph:
    async with lock:
        await asyncio.sleep(0)
    return graph_with("asynchronous", "made under a lock")


@contextlib.contextmanager
def managed(config: RunnableConfig) -> Iterator[CompiledStateGraph]:
    resource = {"open": True}
    yield graph_with("managed", f"the resource is open: {resource['open']}").compile(name="Managed")
    resource["open"] = False


@contextlib.asynccontextmanager
async def managed_asynchronously(config: dict) -> AsyncIterator[CompiledStateGraph]:
    async with lock:
        resource = {"open": True}

    async def look(state: Note) -> Note:
        async with lock:
            return {"note": f"the resource is open: {resource['open']}"}

    yield StateGraph(Note).add_node("look", look).add_edge(START, "look").compile()
    resource["open"] = False


async def by_runtime(runtime: ServerRuntime[Tone]) -> CompiledStateGraph:
    running = runtime.execution_runtime
    text = f"a {running.context.tone} tone" if running else "shown only"
    return graph_with("speak", f"{text}, {runtime.access_context}", context_schema=Tone).compile()


def by_both(config: RunnableConfig, runtime: ServerRuntime[Tone]) -> CompiledStateGraph:
    async def speak(state: Note, runtime: Runtime[Tone]) -> Note:
        await runtime.store.aput(("tones",), "last", {"tone": runtime.context.tone})
        return {"note": f"{runtime.context.tone} and {config['configurable'].get('node')}"}

    return StateGraph(Note, context_schema=Tone).add_node("speak", speak).add_edge(START, "speak").compile()


class Maker:
    def __call__(self, config: RunnableConfig) -> CompiledStateGraph:
        return graph_with("call", "made by an object").compile()


made_by_object = Maker()
