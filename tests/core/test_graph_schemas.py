"""Schemas, drawings and subgraphs of graphs, as clients are shown them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platform_site.core.config import load_config
from platform_site.core.graphs import GraphRegistry
from tests.core.projects import clean_imports, registry_of

CONTRACT = Path(__file__).parents[1] / "contract" / "transcripts"
IDS = {
    "0813419b-f0e6-579e-bdee-18d9fdf48632": "nested",
    "09d6caf4-2ef3-5a8b-b1a7-114690ed5d45": "counter",
    "cfeae00c-86fb-50ae-a21d-5ede1d995bbd": "ctx",
    "046b5dc7-2108-582c-9c6c-31d556d138f0": "echo",
    "echo": "echo",
}


def recorded(path: str) -> Any:
    """What the reference server answered."""
    exchanges = json.loads((CONTRACT / "06_assistants_graph_schemas.json").read_text())["exchanges"]
    [answer] = [item["response"]["json"] for item in exchanges if item["request"]["path"] == path]
    return answer


@pytest.fixture(scope="module")
def graphs() -> Iterator[GraphRegistry]:
    config = load_config(CONTRACT / "graphs" / "langgraph.json")
    with clean_imports(CONTRACT):
        config.apply()
        registry = GraphRegistry(config)
        registry.load()
        yield registry


async def test_a_drawing_has_nodes_and_edges(graphs: GraphRegistry) -> None:
    assert await graphs.drawing("echo", {}) == recorded("/assistants/echo/graph")


async def test_xray_shows_what_is_inside_subgraphs(graphs: GraphRegistry) -> None:
    path = "/assistants/0813419b-f0e6-579e-bdee-18d9fdf48632/graph?xray=true"
    assert await graphs.drawing("nested", {}, True) == recorded(path)
    assert await graphs.drawing("nested", {}, 1) == recorded(path)


async def test_conditional_edges_are_marked() -> None:
    registry = GraphRegistry(load_config(None))
    edges = (await registry.drawing("approval", {}))["edges"]
    assert {"source": "check", "target": "pay", "conditional": True} in edges
    assert {"source": "pay", "target": "__end__"} in edges


@pytest.mark.parametrize(
    "assistant_id", ["09d6caf4-2ef3-5a8b-b1a7-114690ed5d45", "cfeae00c-86fb-50ae-a21d-5ede1d995bbd"]
)
async def test_the_five_schemas(graphs: GraphRegistry, assistant_id: str) -> None:
    assert await graphs.schemas(IDS[assistant_id], {}) == recorded(f"/assistants/{assistant_id}/schemas")


async def test_subgraphs_are_listed_by_their_namespace(graphs: GraphRegistry) -> None:
    base = "/assistants/0813419b-f0e6-579e-bdee-18d9fdf48632/subgraphs"
    assert await graphs.subgraphs("nested", {}) == recorded(base)
    assert await graphs.subgraphs("nested", {}, "child", True) == recorded(f"{base}/child?recurse=true")
    assert await graphs.subgraphs("nested", {}, "nobody", False) == {}
    assert await graphs.subgraphs("echo", {}) == {}


async def test_deeper_subgraphs_are_listed_when_asked_for() -> None:
    registry = GraphRegistry(load_config(None))
    assert set(await registry.subgraphs("research", {})) == {"archive", "people"}
    assert set(await registry.subgraphs("research", {}, None, True)) == {
        "archive",
        "archive|check",
        "people",
        "people|check",
    }


async def test_context_keys_are_those_of_the_context_schema(graphs: GraphRegistry) -> None:
    assert graphs.context_keys("ctx") == {"tone", "level"}
    assert graphs.context_keys("echo") is None


STATES = """
    from dataclasses import dataclass
    from typing import Annotated, Literal, Optional, TypedDict
    from langchain_core.messages import AnyMessage
    from langgraph.graph import END, START, StateGraph
    from langgraph.graph.message import add_messages
    from pydantic import BaseModel

    class Item(TypedDict):
        name: str
        parent: Optional["Item"]

    class Typed(TypedDict):
        items: list[Item]
        by_name: dict[str, Item] | None
        kind: Literal["a", "b"]
        messages: Annotated[list[AnyMessage], add_messages]
        copy: int

    class Model(BaseModel):
        number: int = 3

    @dataclass
    class Data:
        number: int = 3

    class Plain:
        pass

    class Opaque(TypedDict):
        thing: Plain
        number: int

    def build(state, **kwargs):
        async def node(state): return {}
        builder = StateGraph(state, **kwargs).add_node("node", node)
        return builder.add_edge(START, "node").add_edge("node", END).compile()

    typed, model, data, opaque = build(Typed), build(Model), build(Data, context_schema=Model), build(Opaque)
    def made(config): return build(Data, context_schema=Data)
"""


@pytest.fixture
def states(tmp_path: Path) -> Iterator[GraphRegistry]:
    with clean_imports(tmp_path):
        names = ("typed", "model", "data", "opaque", "made")
        yield registry_of(tmp_path, {"states.py": STATES}, graphs={name: f"./states.py:{name}" for name in names})


async def test_a_state_of_nested_typed_dicts_has_schemas(states: GraphRegistry) -> None:
    schemas = await states.schemas("typed", {})
    for name in ("input_schema", "output_schema", "state_schema"):
        assert set(schemas[name]["properties"]) == {"items", "by_name", "kind", "messages", "copy"}
        assert schemas[name]["$defs"]["Item"]["properties"]["name"] == {"title": "Name", "type": "string"}
    assert schemas["input_schema"]["required"] == ["items", "by_name", "kind", "messages", "copy"]
    assert schemas["state_schema"]["title"] == "typed_state"


@pytest.mark.parametrize("graph_id", ["model", "data"])
async def test_states_of_models_and_dataclasses_keep_their_defaults(states: GraphRegistry, graph_id: str) -> None:
    schemas = await states.schemas(graph_id, {})
    assert schemas["input_schema"]["properties"]["number"]["default"] == 3


async def test_a_schema_without_a_json_form_is_null(states: GraphRegistry) -> None:
    schemas = await states.schemas("opaque", {})
    assert schemas["input_schema"] is None
    assert schemas["config_schema"] == {}


async def test_the_graph_of_a_factory_is_made_to_be_described(states: GraphRegistry) -> None:
    assert states.context_keys("made") is None
    assert (await states.schemas("made", {}))["context_schema"]["title"] == "Data"
    assert states.context_keys("made") == {"number"}
    assert [node["id"] for node in (await states.drawing("made", {}))["nodes"]] == ["__start__", "node", "__end__"]
