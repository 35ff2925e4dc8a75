"""Which types of a graph are rebuilt when a checkpoint is read."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from platform_site.core.checkpoints.serializers import serializer
from platform_site.core.graphs.registry import GraphRegistry
from platform_site.core.serialization.types import TypeRules
from tests.core.projects import clean_imports, registry_of

TYPES = """
from dataclasses import dataclass
from typing import TypedDict
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

class State(TypedDict, total=False):
    said: str

@dataclass
class Order:
    number: int

class Customer(BaseModel):
    name: str

class Stranger(BaseModel):
    name: str

class Shop(TypedDict, total=False):
    order: Order
    customer: Customer
    bare: dict

async def buy(state: Shop):
    return {"order": Order(7), "customer": Customer(name="Ann"), "bare": {"who": Stranger(name="Eve")}}

builder = StateGraph(Shop).add_node("buy", buy).add_edge(START, "buy").add_edge("buy", END)
"""


@pytest.fixture(autouse=True)
def _clean_imports(tmp_path: Path) -> Iterator[None]:
    with clean_imports(tmp_path):
        yield


def agent(tmp_path: Path, source: str, **config: Any) -> GraphRegistry:
    return registry_of(tmp_path, {"agent.py": source}, **config)


async def shop_state(registry: GraphRegistry, rules: TypeRules) -> dict[str, Any]:
    """The state of a run, read back by another copy of the graph."""
    config: Any = {"configurable": {"thread_id": "1"}}
    saver = InMemorySaver(serde=serializer((), rules))
    options: dict[str, Any] = {"checkpointer": saver, "store": None}
    async with registry.open("agent", config, **options, access="run") as graph:
        await graph.ainvoke({}, config)
    async with registry.open("agent", config, **options, access="read") as graph:
        return (await graph.aget_state(config)).values


@pytest.mark.parametrize("tail", ["graph = builder.compile()", "graph = builder", "def graph(): return builder"])
async def test_types_of_the_graphs_schemas_survive_a_checkpoint(tmp_path: Path, tail: str) -> None:
    values = await shop_state(agent(tmp_path, TYPES + tail), TypeRules())
    module: Any = sys.modules["agent"]
    assert values["order"] == module.Order(7)
    assert values["customer"] == module.Customer(name="Ann")


async def test_types_of_the_project_survive_where_no_schema_names_them(tmp_path: Path) -> None:
    values = await shop_state(agent(tmp_path, TYPES + "graph = builder"), TypeRules(directories=(tmp_path,)))
    assert values["bare"] == {"who": sys.modules["agent"].Stranger(name="Eve")}


async def test_other_types_come_back_as_plain_data(tmp_path: Path) -> None:
    values = await shop_state(agent(tmp_path, TYPES + "graph = builder"), TypeRules())
    assert values["bare"] == {"who": {"name": "Eve"}}


async def test_more_types_are_allowed_by_the_configuration(tmp_path: Path) -> None:
    allowed = {"serde": {"allowed_msgpack_modules": [["agent", "Stranger"]]}}
    values = await shop_state(agent(tmp_path, TYPES + "graph = builder", checkpointer=allowed), TypeRules())
    assert values["bare"] == {"who": sys.modules["agent"].Stranger(name="Eve")}


async def test_the_allowlist_names_the_types_of_the_graph_and_its_subgraphs(tmp_path: Path) -> None:
    source = TYPES + (
        "outer = StateGraph(State).add_node('shop', builder.compile()).add_edge(START, 'shop').add_edge('shop', END)\n"
        "graph = outer.compile()"
    )
    registry = agent(tmp_path, source)
    assert {("agent", "Order"), ("agent", "Customer")} <= registry.allowlist("agent")
    assert ("agent", "Stranger") not in registry.allowlist("agent")
    saver = InMemorySaver().with_allowlist(registry.allowlist("agent"))
    async with registry.open("agent", {}, checkpointer=saver, store=None, access="run") as graph:
        # Nothing is left for LangGraph to add, so it makes no clone of the saver on each run.
        assert graph._resolve_checkpointer({"configurable": {}}) is saver
