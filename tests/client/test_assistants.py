"""Assistants through the official client."""

from uuid import UUID, uuid4, uuid5

import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from tests.live import Client

# The namespace of the contract: not one of the four well-known ones, the last group differs.
DEFAULT_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


async def test_every_graph_has_a_default_assistant(client: Client) -> None:
    found = await client.assistants.search(metadata={"created_by": "system"}, limit=100)
    assert {"echo", "chat", "counter", "approval", "nested", "slow", "failing"} <= {row["graph_id"] for row in found}


async def test_the_id_of_a_default_assistant_follows_from_its_graph(client: Client) -> None:
    assistant = await client.assistants.get(str(uuid5(DEFAULT_NAMESPACE, "echo")))
    assert (assistant["name"], assistant["metadata"]) == ("echo", {"created_by": "system"})


async def test_created_assistant_can_be_read_back(client: Client) -> None:
    made = await client.assistants.create("echo", metadata={"team": "a"}, name="mine", description="what it does")
    assert await client.assistants.get(made["assistant_id"]) == made


async def test_new_assistant_id_is_a_version_4_uuid(client: Client) -> None:
    made = await client.assistants.create("echo")
    assert UUID(made["assistant_id"]).version == 4


async def test_creating_an_id_twice_is_a_conflict(client: Client) -> None:
    made = await client.assistants.create("echo")
    with pytest.raises(ConflictError):
        await client.assistants.create("echo", assistant_id=made["assistant_id"])


async def test_creating_an_id_twice_can_return_the_first(client: Client) -> None:
    made = await client.assistants.create("echo", name="first")
    again = await client.assistants.create("chat", assistant_id=made["assistant_id"], if_exists="do_nothing")
    assert again == made


async def test_context_is_mirrored_into_configurable(client: Client) -> None:
    made = await client.assistants.create("ctx", context={"tone": "dry"})
    assert made["config"] == {"configurable": {"tone": "dry"}}


async def test_update_merges_metadata_and_replaces_the_rest(client: Client) -> None:
    made = await client.assistants.create("echo", metadata={"a": 1}, context={"x": 1})
    changed = await client.assistants.update(made["assistant_id"], metadata={"b": 2}, context={"y": 2})
    assert (changed["metadata"], changed["context"]) == ({"a": 1, "b": 2}, {"y": 2})


async def test_every_update_makes_a_version(client: Client) -> None:
    made = await client.assistants.create("echo", name="one")
    await client.assistants.update(made["assistant_id"], name="two")
    versions = await client.assistants.get_versions(made["assistant_id"])
    assert [(row["version"], row["name"]) for row in versions] == [(2, "two"), (1, "one")]


@pytest.mark.usefixtures("not_the_reference")
async def test_an_older_version_can_be_made_the_latest(client: Client) -> None:
    made = await client.assistants.create("echo", name="one", description="first", context={"x": 1})
    await client.assistants.update(
        made["assistant_id"], name="two", description="second", context={"x": 2}, graph_id="chat"
    )
    back = await client.assistants.set_latest(made["assistant_id"], 1)
    # Graph, context and description go back, too: the recorded server forgets them (a quirk).
    assert (back["name"], back["description"], back["context"], back["graph_id"]) == ("one", "first", {"x": 1}, "echo")


async def test_search_filters_by_contained_metadata(client: Client) -> None:
    tag = str(uuid4())
    made = await client.assistants.create("echo", metadata={"tag": tag, "nest": {"a": 1, "b": 2}})
    await client.assistants.create("echo", metadata={"tag": tag, "nest": {"a": 2}})
    found = await client.assistants.search(metadata={"tag": tag, "nest": {"a": 1}})
    assert [row["assistant_id"] for row in found] == [made["assistant_id"]]


async def test_search_walks_through_pages(client: Client) -> None:
    tag = str(uuid4())
    for number in range(3):
        await client.assistants.create("echo", metadata={"tag": tag}, name=f"page {number}")
    first = await client.assistants.search(metadata={"tag": tag}, limit=2, response_format="object")
    assert (len(first["assistants"]), first["next"]) == (2, "2")
    rest = await client.assistants.search(metadata={"tag": tag}, limit=2, offset=2, response_format="object")
    assert (len(rest["assistants"]), rest["next"]) == (1, None)


async def test_search_returns_the_newest_first(client: Client) -> None:
    tag = str(uuid4())
    for name in ("older", "newer"):
        await client.assistants.create("echo", metadata={"tag": tag}, name=name)
    found = await client.assistants.search(metadata={"tag": tag})
    assert [row["name"] for row in found] == ["newer", "older"]


async def test_search_returns_only_selected_columns(client: Client) -> None:
    found = await client.assistants.search(limit=1, select=["graph_id", "version"])
    assert [set(row) for row in found] == [{"graph_id", "version"}]


async def test_count_counts_what_search_finds(client: Client) -> None:
    tag = str(uuid4())
    for _ in range(2):
        await client.assistants.create("echo", metadata={"tag": tag})
    assert await client.assistants.count(metadata={"tag": tag}) == 2


async def test_deleted_assistant_is_gone(client: Client) -> None:
    made = await client.assistants.create("echo")
    await client.assistants.delete(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.assistants.get(made["assistant_id"])


async def test_deleting_an_assistant_keeps_its_threads(client: Client) -> None:
    made = await client.assistants.create("counter")
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], made["assistant_id"], input={"count": 1})
    await client.assistants.delete(made["assistant_id"])
    assert (await client.threads.get(thread["thread_id"]))["values"]["count"] == 4


async def test_deleting_an_assistant_can_delete_its_threads(client: Client) -> None:
    made = await client.assistants.create("counter")
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], made["assistant_id"], input={"count": 1})
    await client.assistants.delete(made["assistant_id"], delete_threads=True)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread["thread_id"])


async def test_unknown_graph_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError, match="Graph 'nope' not found"):
        await client.assistants.create("nope")


async def test_a_graph_id_is_no_assistant_id(client: Client) -> None:
    with pytest.raises(UnprocessableEntityError, match="must be a UUID"):
        await client.assistants.get("echo")


async def test_drawing_shows_nodes_and_edges(client: Client) -> None:
    drawing = await client.assistants.get_graph("counter")
    assert [node["id"] for node in drawing["nodes"]] == ["__start__", "inc", "double", "__end__"]


async def test_drawing_opens_subgraphs_on_request(client: Client) -> None:
    drawing = await client.assistants.get_graph("nested", xray=True)
    assert "child:inner_a" in [node["id"] for node in drawing["nodes"]]


async def test_schemas_describe_the_context(client: Client) -> None:
    schemas = await client.assistants.get_schemas(str(uuid5(DEFAULT_NAMESPACE, "ctx")))
    assert set(schemas["context_schema"]["properties"]) == {"tone", "level"}


async def test_subgraphs_are_named_by_their_node(client: Client) -> None:
    assert set(await client.assistants.get_subgraphs(str(uuid5(DEFAULT_NAMESPACE, "nested")))) == {"child"}
