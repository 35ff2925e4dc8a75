"""Every method of the assistants client with all of its parameters, and what each of them does."""

from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk.errors import NotFoundError

from tests.client.sdk.covering import every_parameter


def mark() -> str:
    """Something that only one test's objects have."""
    return uuid4().hex


@pytest.fixture
async def assistant(client: Any) -> dict[str, Any]:
    made: dict[str, Any] = await client.assistants.create("counter", metadata={"mark": mark()}, name="First")
    return made


async def test_create(sdk: Any) -> None:
    chosen = str(uuid4())
    fields = {
        "graph_id": "ctx",
        "config": {"tags": ["t"], "recursion_limit": 7},
        "context": {"tone": "warm"},
        "metadata": {"m": 1},
        "name": "Named",
        "description": "Described",
    }
    with every_parameter(sdk.assistants.create) as create:
        made = await create(assistant_id=chosen, if_exists="do_nothing", **fields)
        again = await create(**{**fields, "name": "Other"}, assistant_id=chosen, if_exists="do_nothing")
    assert made == again
    assert made["assistant_id"] == chosen
    assert {name: made[name] for name in fields} == {
        **fields,
        "config": {"tags": ["t"], "recursion_limit": 7, "configurable": {"tone": "warm"}},
    }


async def test_get(sdk: Any, assistant: dict[str, Any]) -> None:
    with every_parameter(sdk.assistants.get) as get:
        assert await get(assistant_id=assistant["assistant_id"]) == assistant


async def test_update(sdk: Any, assistant: dict[str, Any]) -> None:
    fields = {
        "graph_id": "ctx",
        "config": {"tags": ["new"]},
        "context": {"tone": "cold"},
        "name": "Second",
        "description": "Changed",
    }
    with every_parameter(sdk.assistants.update) as update:
        changed = await update(assistant_id=assistant["assistant_id"], metadata={"added": 1}, **fields)
    assert changed["version"] == assistant["version"] + 1
    assert changed["metadata"] == {**assistant["metadata"], "added": 1}
    assert {name: changed[name] for name in ("graph_id", "context", "name", "description")} == {
        name: fields[name] for name in ("graph_id", "context", "name", "description")
    }
    assert changed["config"]["tags"] == ["new"]


async def test_delete(sdk: Any, client: Any, assistant: dict[str, Any]) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], assistant["assistant_id"], input={"count": 1})
    with every_parameter(sdk.assistants.delete) as delete:
        await delete(assistant_id=assistant["assistant_id"], delete_threads=True)
    with pytest.raises(NotFoundError):
        await client.assistants.get(assistant["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.threads.get(thread["thread_id"])


async def test_get_graph(sdk: Any) -> None:
    with every_parameter(sdk.assistants.get_graph) as get_graph:
        flat = await get_graph(assistant_id="nested", xray=False)
        deep = await get_graph(assistant_id="nested", xray=1)
    assert {node["id"] for node in flat["nodes"]} == {"__start__", "prep", "child", "__end__"}
    assert {"child:inner_a", "child:inner_b"} <= {node["id"] for node in deep["nodes"]}


async def test_get_schemas(sdk: Any, assistant: dict[str, Any]) -> None:
    with every_parameter(sdk.assistants.get_schemas) as get_schemas:
        schemas = await get_schemas(assistant_id=assistant["assistant_id"])
    assert schemas["graph_id"] == "counter"
    assert set(schemas["input_schema"]["properties"]) == {"count", "log", "note"}


async def test_get_subgraphs(sdk: Any, client: Any) -> None:
    nested = (await client.assistants.search(graph_id="nested"))[0]["assistant_id"]
    with every_parameter(sdk.assistants.get_subgraphs) as get_subgraphs:
        everything = await get_subgraphs(assistant_id=nested, recurse=True)
        named = await get_subgraphs(assistant_id=nested, namespace="child", recurse=False)
        unknown = await get_subgraphs(assistant_id=nested, namespace="nobody", recurse=False)
    assert set(everything) == set(named) == {"child"}
    assert "text" in named["child"]["input_schema"]["properties"]
    assert unknown == {}


async def test_get_versions(sdk: Any, client: Any, assistant: dict[str, Any]) -> None:
    name = assistant["assistant_id"]
    for number in (2, 3, 4):
        await client.assistants.update(name, metadata={"even": number % 2 == 0})
    with every_parameter(sdk.assistants.get_versions) as get_versions:
        even = await get_versions(assistant_id=name, metadata={"even": True}, limit=1, offset=1)
    assert [version["version"] for version in even] == [2]


async def test_set_latest(sdk: Any, client: Any, assistant: dict[str, Any]) -> None:
    await client.assistants.update(assistant["assistant_id"], name="Second")
    with every_parameter(sdk.assistants.set_latest) as set_latest:
        back = await set_latest(assistant_id=assistant["assistant_id"], version=1)
    assert (back["version"], back["name"]) == (1, "First")


async def test_search(sdk: Any, client: Any) -> None:
    sign = mark()
    made = [await client.assistants.create("counter", metadata={"mark": sign}, name=f"Found {n}") for n in (1, 2, 3)]
    await client.assistants.create("echo", metadata={"mark": sign}, name="Found in another graph")
    await client.assistants.create("counter", metadata={"mark": sign}, name="Of another name")
    filters = {"metadata": {"mark": sign}, "graph_id": "counter", "name": "found"}
    order = {"sort_by": "name", "sort_order": "desc", "select": ["assistant_id", "name"]}
    with every_parameter(sdk.assistants.search) as search:
        page = await search(**filters, **order, limit=1, offset=1, response_format="object")
        rows = await search(**filters, **order, limit=10, offset=0, response_format="array")
    assert page == {"assistants": rows[1:2], "next": "2"}
    assert rows == [{"assistant_id": row["assistant_id"], "name": row["name"]} for row in reversed(made)]


async def test_count(sdk: Any, client: Any) -> None:
    sign = mark()
    for graph, name in (("counter", "Counted"), ("counter", "Not this"), ("echo", "Counted")):
        await client.assistants.create(graph, metadata={"mark": sign}, name=name)
    with every_parameter(sdk.assistants.count) as count:
        assert await count(metadata={"mark": sign}, graph_id="counter", name="counted") == 1
        assert await count(metadata={"mark": sign}) == 3
