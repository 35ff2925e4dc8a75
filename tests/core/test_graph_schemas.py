"""Schemas, drawings and subgraphs of graphs, as clients are shown them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platform_site.core.config import load_config
from platform_site.core.graphs import schemas as graph_schemas
from platform_site.core.graphs.registry import GraphRegistry
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
    assert (await states.schemas("made", {}))["context_schema"]["title"] == "Data"
    assert [node["id"] for node in (await states.drawing("made", {}))["nodes"]] == ["__start__", "node", "__end__"]


# --- as the reference gives them --------------------------------------------------------------------

SHAPES = """
    from __future__ import annotations
    import dataclasses, operator, typing, typing_extensions
    from typing import Annotated, Any, Literal, Optional
    from langgraph.func import entrypoint
    from langgraph.graph import END, START, StateGraph
    from pydantic import BaseModel

    class Old(typing.TypedDict):
        name: str
        age: typing.NotRequired[int]

    class Mixed(typing_extensions.TypedDict):
        noted: Annotated[typing_extensions.NotRequired[list[str]], operator.add]
        added: typing_extensions.NotRequired[Annotated[list[int], operator.add]]
        needed: typing_extensions.Required[str]
        old: Old
        many: list[Old]
        maybe: Optional[Old]
        _private: dict[str, Old]

    class Partial(typing.TypedDict, total=False):
        old: Old
        needed: Annotated[typing.Required[int], operator.add]

    class Tree(typing.TypedDict):
        children: list[Tree]
        size: int

    @dataclasses.dataclass
    class Data:
        number: int = 3
        items: list[Old] = dataclasses.field(default_factory=list)

    @dataclasses.dataclass
    class Holder:
        old: Old

    class Holding(typing_extensions.TypedDict):
        holder: Holder

    class Inner(BaseModel):
        number: int = 1

    class Model(BaseModel):
        inner: Inner
        maybe: Optional[Inner] = None

    class Plain:
        pass

    class Opaque(typing_extensions.TypedDict):
        thing: Plain
        number: int

    class Context(typing.TypedDict):
        tone: typing.NotRequired[str]
        old: Old

    def build(state, **kwargs):
        async def node(state): return {}
        builder = StateGraph(state, **kwargs).add_node("node", node)
        return builder.add_edge(START, "node").add_edge("node", END).compile()

    mixed, partial, tree, data, holding = build(Mixed), build(Partial), build(Tree), build(Data), build(Holding)
    model, opaque, context = build(Model), build(Opaque), build(Tree, context_schema=Context)

    @entrypoint()
    async def work(word): return 1
"""
OLD = {
    "properties": {"age": {"title": "Age", "type": "integer"}, "name": {"title": "Name", "type": "string"}},
    "required": ["name"],
    "title": "Old",
    "type": "object",
}
OLD_REF = {"$ref": "#/$defs/Old"}


@pytest.fixture
def shapes(tmp_path: Path) -> Iterator[GraphRegistry]:
    names = ("mixed", "partial", "tree", "data", "holding", "model", "opaque", "context", "work")
    with clean_imports(tmp_path):
        yield registry_of(tmp_path, {"shapes.py": SHAPES}, graphs={name: f"./shapes.py:{name}" for name in names})


async def test_old_typed_dicts_inside_new_ones_are_described(shapes: GraphRegistry) -> None:
    schemas = await shapes.schemas("mixed", {})
    for name in ("input_schema", "output_schema"):
        assert schemas[name]["$defs"] == {"Old": OLD}
        assert schemas[name]["properties"]["noted"] == {"items": {"type": "string"}, "title": "Noted", "type": "array"}
        assert schemas[name]["required"] == ["needed", "old", "many", "maybe", "_private"]


async def test_the_state_schema_has_every_key_with_the_type_that_can_be_told(shapes: GraphRegistry) -> None:
    assert (await shapes.schemas("mixed", {}))["state_schema"] == {
        "$defs": {"Old": OLD},
        "properties": {
            # A qualifier inside `Annotated` has no type, there as here.
            "noted": {"default": None, "title": "Noted"},
            "added": {"default": None, "items": {"type": "integer"}, "title": "Added", "type": "array"},
            "needed": {"default": None, "title": "Needed", "type": "string"},
            "old": {"default": None, **OLD_REF},
            "many": {"default": None, "items": OLD_REF, "title": "Many", "type": "array"},
            "maybe": {"anyOf": [OLD_REF, {"type": "null"}], "default": None},
            "_private": {"additionalProperties": OLD_REF, "default": None, "title": "Private", "type": "object"},
        },
        "title": "mixed_state",
        "type": "object",
    }


async def test_what_is_required_is_read_from_the_qualifiers(shapes: GraphRegistry) -> None:
    assert (await shapes.schemas("partial", {}))["input_schema"]["required"] == ["needed"]


async def test_a_type_that_mentions_itself_is_described_by_a_reference(shapes: GraphRegistry) -> None:
    schemas = await shapes.schemas("tree", {})
    children = {"items": {"$ref": "#/$defs/Tree"}, "title": "Children", "type": "array"}
    assert schemas["input_schema"]["$ref"] == "#/$defs/Tree"
    assert schemas["input_schema"]["$defs"]["Tree"]["properties"]["children"] == children
    assert schemas["state_schema"]["properties"]["children"] == {"default": None, **children}


async def test_a_dataclass_with_old_typed_dicts_keeps_its_defaults(shapes: GraphRegistry) -> None:
    schema = (await shapes.schemas("data", {}))["input_schema"]
    assert schema["title"] == "data_input"
    assert schema["properties"] == {
        "number": {"default": 3, "title": "Number", "type": "integer"},
        "items": {"default": [], "items": OLD_REF, "title": "Items", "type": "array"},
    }


async def test_a_dataclass_inside_a_state_may_hold_old_typed_dicts(shapes: GraphRegistry) -> None:
    for schema in ("input_schema", "state_schema"):
        definitions = (await shapes.schemas("holding", {}))[schema]["$defs"]
        assert definitions["Old"] == OLD
        assert definitions["Holder"]["properties"] == {"old": OLD_REF}


async def test_a_reference_has_no_title_of_its_own(shapes: GraphRegistry) -> None:
    inner = {"$ref": "#/$defs/Inner"}
    assert (await shapes.schemas("model", {}))["state_schema"]["properties"] == {
        "inner": {"default": None, **inner},
        "maybe": {"anyOf": [inner, {"type": "null"}], "default": None},
    }


async def test_the_context_schema_of_old_typed_dicts(shapes: GraphRegistry) -> None:
    schemas = await shapes.schemas("context", {})
    assert schemas["context_schema"] == schemas["config_schema"]
    assert schemas["context_schema"]["required"] == ["old"]


async def test_the_state_of_an_entrypoint_is_its_result(shapes: GraphRegistry) -> None:
    state = (await shapes.schemas("work", {}))["state_schema"]
    assert state["properties"] == {"__end__": {"default": None, "title": "End  "}}


async def test_what_json_cannot_express_is_a_warning_once(
    shapes: GraphRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_schemas, "_warned", set())
    schemas = await shapes.schemas("opaque", {})
    shapes._schemas.clear()
    assert await shapes.schemas("opaque", {}) == schemas
    assert (schemas["input_schema"], schemas["output_schema"]) == (None, None)
    assert schemas["state_schema"]["properties"] == {
        "thing": {"default": None, "title": "Thing"},
        "number": {"default": None, "title": "Number", "type": "integer"},
    }
    warnings = [record.getMessage() for record in caplog.records if record.name == graph_schemas.__name__]
    assert [warning.split(":")[1].strip() for warning in warnings] == [
        "there is no input schema",
        "there is no output schema",
        "the key 'thing' of the state schema has no type",
    ]
    assert all("PydanticSchemaGenerationError: Unable to generate" in warning for warning in warnings)


AGENTS = """
    from typing import Annotated, NotRequired
    from langchain.agents import AgentState, create_agent
    from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, TodoListMiddleware
    from langchain.agents.middleware.types import PrivateStateAttr
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

    class Own(AgentMiddleware):
        class Own(AgentState):
            notes: NotRequired[Annotated[dict[str, str], PrivateStateAttr]]
        state_schema = Own

    model = GenericFakeChatModel(messages=iter([]))
    plain = create_agent(model)
    agent = create_agent(model, middleware=[Own(), TodoListMiddleware(), ModelCallLimitMiddleware(run_limit=3)])
"""


async def test_an_agent_with_middleware_is_described_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with clean_imports(tmp_path):
        graphs = {name: f"./agents.py:{name}" for name in ("plain", "agent")}
        registry = registry_of(tmp_path, {"agents.py": AGENTS}, graphs=graphs)
        assert registry.failures == {}
        for graph_id in graphs:
            schemas = await registry.schemas(graph_id, {})
            assert None not in (schemas["input_schema"], schemas["output_schema"])
            assert set(schemas["input_schema"]["properties"]) == {"messages"}
    state = schemas["state_schema"]["properties"]
    assert state["notes"]["additionalProperties"] == {"type": "string"}
    assert state["run_model_call_count"] == {"default": None, "title": "Run Model Call Count", "type": "integer"}
    assert set(state) >= {"messages", "jump_to", "structured_response", "todos", "thread_model_call_count"}
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []
