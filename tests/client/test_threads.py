"""Threads through the official client."""

from uuid import UUID, uuid4

import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError

from tests.live import Client


async def test_new_thread_is_idle_and_empty(client: Client) -> None:
    thread = await client.threads.create(metadata={"who": "me"})
    assert (thread["status"], thread["values"], thread["metadata"]) == ("idle", None, {"who": "me"})


async def test_new_thread_id_is_a_version_7_uuid(client: Client) -> None:
    assert UUID((await client.threads.create())["thread_id"]).version == 7


async def test_thread_can_be_created_with_a_chosen_id(client: Client) -> None:
    chosen = str(uuid4())
    await client.threads.create(thread_id=chosen)
    assert (await client.threads.get(chosen))["thread_id"] == chosen


async def test_creating_an_id_twice_is_a_conflict(client: Client) -> None:
    thread = await client.threads.create()
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=thread["thread_id"])


async def test_creating_an_id_twice_can_return_the_first(client: Client) -> None:
    thread = await client.threads.create(metadata={"a": 1})
    again = await client.threads.create(thread_id=thread["thread_id"], metadata={"a": 2}, if_exists="do_nothing")
    assert again["metadata"] == {"a": 1}


async def test_update_merges_metadata_at_the_top_level(client: Client) -> None:
    thread = await client.threads.create(metadata={"keep": 1, "nest": {"a": 1}})
    changed = await client.threads.update(thread["thread_id"], metadata={"nest": {"b": 2}})
    assert changed["metadata"] == {"keep": 1, "nest": {"b": 2}}


async def test_update_answers_nothing_when_asked_to(client: Client) -> None:
    thread = await client.threads.create()
    assert await client.threads.update(thread["thread_id"], metadata={"a": 1}, return_minimal=True) is None
    assert (await client.threads.get(thread["thread_id"]))["metadata"] == {"a": 1}


async def test_deleted_thread_is_gone_with_its_state(client: Client) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "counter", input={"count": 1})
    await client.threads.delete(thread["thread_id"])
    for gone in (client.threads.get, client.threads.get_state, client.threads.get_history, client.runs.list):
        with pytest.raises(NotFoundError):
            await gone(thread["thread_id"])


async def test_thread_id_can_be_used_again_after_delete(client: Client) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "counter", input={"count": 1})
    await client.threads.delete(thread["thread_id"])
    again = await client.threads.create(thread_id=thread["thread_id"])
    assert again["values"] is None
    assert (await client.threads.get_state(thread["thread_id"]))["values"] == {}


async def test_a_busy_thread_can_be_deleted(client: Client) -> None:
    thread = await client.threads.create()
    await client.runs.create(thread["thread_id"], "slow", input={"ticks": 50, "delay": 0.1})
    await client.threads.delete(thread["thread_id"])
    with pytest.raises(NotFoundError):
        await client.threads.get(thread["thread_id"])


async def test_search_filters_by_contained_metadata(client: Client) -> None:
    tag = str(uuid4())
    thread = await client.threads.create(metadata={"tag": tag, "nest": {"a": 1, "b": [1, 2]}})
    await client.threads.create(metadata={"tag": tag, "nest": {"a": "1"}})
    found = await client.threads.search(metadata={"tag": tag, "nest": {"a": 1}})
    assert [row["thread_id"] for row in found] == [thread["thread_id"]]


async def test_search_filters_by_status(client: Client) -> None:
    tag = str(uuid4())
    waiting = await client.threads.create(metadata={"tag": tag})
    await client.threads.create(metadata={"tag": tag})
    await client.runs.wait(waiting["thread_id"], "approval", input={"request": "r"})
    found = await client.threads.search(metadata={"tag": tag}, status="interrupted")
    assert [row["thread_id"] for row in found] == [waiting["thread_id"]]


@pytest.mark.usefixtures("not_the_reference")
async def test_search_filters_by_contained_values(client: Client) -> None:
    tag = str(uuid4())
    threads = [await client.threads.create(metadata={"tag": tag}) for _ in range(2)]
    for count, thread in enumerate(threads):
        await client.runs.wait(thread["thread_id"], "counter", input={"count": count})
    found = await client.threads.search(metadata={"tag": tag}, values={"count": 4})
    assert [row["thread_id"] for row in found] == [threads[1]["thread_id"]]


async def test_search_finds_given_ids(client: Client) -> None:
    threads = [(await client.threads.create())["thread_id"] for _ in range(3)]
    found = await client.threads.search(ids=threads[:2])
    assert {row["thread_id"] for row in found} == set(threads[:2])


async def test_search_extracts_parts_of_the_values(client: Client) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "counter", input={"count": 1})
    found = await client.threads.search(
        ids=[thread["thread_id"]], extract={"last": "values.log[-1]"}, select=["thread_id"]
    )
    assert found == [{"thread_id": thread["thread_id"], "extracted": {"last": "double"}}]


async def test_search_sorts_and_pages(client: Client) -> None:
    tag = str(uuid4())
    made = [(await client.threads.create(metadata={"tag": tag}))["thread_id"] for _ in range(3)]
    page = await client.threads.search(metadata={"tag": tag}, sort_by="created_at", sort_order="asc", limit=2, offset=1)
    assert [row["thread_id"] for row in page] == made[1:]


async def test_count_counts_what_search_finds(client: Client) -> None:
    tag = str(uuid4())
    for _ in range(2):
        await client.threads.create(metadata={"tag": tag})
    assert await client.threads.count(metadata={"tag": tag}) == 2
    assert await client.threads.count(metadata={"tag": tag}, status="busy") == 0
