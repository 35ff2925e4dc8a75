"""Every method of the threads client with all of its parameters, and what each of them does."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk.errors import NotFoundError

from tests.client.sdk.covering import every_parameter

COUNTED = {"count": 4, "log": ["inc", "double"]}


@pytest.fixture
async def counted(client: Any) -> str:
    """A thread on which a run has counted to four, in four checkpoints."""
    thread = (await client.threads.create(metadata={"kind": "counted"}))["thread_id"]
    assert await client.runs.wait(thread, "counter", input={"count": 1}) == COUNTED
    return str(thread)


async def test_create(sdk: Any) -> None:
    chosen = str(uuid4())
    supersteps = [
        {"updates": [{"values": {"count": 1}, "as_node": "__input__"}]},
        {"updates": [{"values": {"count": 5, "log": ["by hand"]}, "command": None, "as_node": "inc"}]},
    ]
    fields = {"thread_id": chosen, "if_exists": "do_nothing", "graph_id": "counter"}
    with every_parameter(sdk.threads.create) as create:
        ttl = {"ttl": 60, "strategy": "keep_latest"}
        made = await create(metadata={"m": 1}, supersteps=supersteps, ttl=ttl, **fields)
        again = await create(metadata={"m": 2}, **fields)
    assert made["thread_id"] == again["thread_id"] == chosen
    assert made["values"] == again["values"] == {"count": 5, "log": ["by hand"]}
    assert (again["metadata"]["m"], again["metadata"]["graph_id"]) == (1, "counter")
    assert (made["ttl"]["strategy"], made["ttl"]["ttl_minutes"]) == ("keep_latest", 60)


async def test_get(sdk: Any, client: Any, counted: str) -> None:
    await client.threads.update(counted, metadata={}, ttl=60)
    with every_parameter(sdk.threads.get) as get:
        found = await get(thread_id=counted, include=["ttl"])
    assert (found["thread_id"], found["values"]) == (counted, COUNTED)
    end = (datetime.fromisoformat(found["updated_at"]) + timedelta(minutes=60)).isoformat(timespec="microseconds")
    assert found["ttl"] == {"strategy": "delete", "ttl_minutes": 60, "expires_at": end}


async def test_update(sdk: Any, client: Any, counted: str) -> None:
    with every_parameter(sdk.threads.update) as update:
        changed = await update(thread_id=counted, metadata={"added": 1}, ttl=60)
        nothing = await update(thread_id=counted, metadata={"more": 2}, return_minimal=True)
    assert {"kind": "counted", "added": 1}.items() <= changed["metadata"].items()
    assert (changed["ttl"]["strategy"], changed["ttl"]["ttl_minutes"]) == ("delete", 60)
    assert nothing is None
    assert (await client.threads.get(counted))["metadata"]["more"] == 2


async def test_delete(sdk: Any, client: Any, counted: str) -> None:
    with every_parameter(sdk.threads.delete) as delete:
        await delete(thread_id=counted)
    with pytest.raises(NotFoundError):
        await client.threads.get(counted)


async def test_search(sdk: Any, client: Any) -> None:
    sign = {"mark": uuid4().hex}
    threads = [(await client.threads.create(metadata=sign))["thread_id"] for _ in range(3)]
    for thread in threads[:2]:
        await client.runs.wait(thread, "counter", input={"count": 1})
    filters = {"metadata": sign, "values": {"count": 4}, "ids": threads, "status": "idle"}
    order = {
        "sort_by": "created_at",
        "sort_order": "asc",
        "select": ["thread_id"],
        "extract": {"last": "values.log[-1]"},
    }
    with every_parameter(sdk.threads.search) as search:
        rows = await search(**filters, **order, limit=10, offset=0)
        second = await search(**filters, **order, limit=1, offset=1)
    assert rows == [{"thread_id": thread, "extracted": {"last": "double"}} for thread in threads[:2]]
    assert second == rows[1:]


async def test_count(sdk: Any, client: Any) -> None:
    sign = {"mark": uuid4().hex}
    for _ in range(2):
        await client.threads.create(metadata=sign)
    thread = (await client.threads.create(metadata=sign))["thread_id"]
    await client.runs.wait(thread, "counter", input={"count": 1})
    with every_parameter(sdk.threads.count) as count:
        assert await count(metadata=sign, values={"count": 4}, status="idle") == 1
        assert await count(metadata=sign) == 3


async def test_copy(sdk: Any, client: Any, counted: str) -> None:
    with every_parameter(sdk.threads.copy) as copy:
        made = await copy(thread_id=counted)
    assert made["thread_id"] != counted
    assert made["metadata"]["kind"] == "counted"
    assert len(await client.threads.get_history(made["thread_id"])) == 4
    assert (await client.threads.get_state(made["thread_id"]))["values"] == COUNTED
    assert await client.runs.list(made["thread_id"]) == []


async def test_prune(sdk: Any, client: Any, counted: str) -> None:
    empty = (await client.threads.create())["thread_id"]
    with every_parameter(sdk.threads.prune) as prune:
        kept = await prune(thread_ids=[counted], strategy="keep_latest")
        gone = await prune(thread_ids=[empty, str(uuid4())], strategy="delete")
    assert (kept, gone) == ({"pruned_count": 1}, {"pruned_count": 1})
    assert len(await client.threads.get_history(counted)) == 1
    assert (await client.threads.get_state(counted))["values"] == COUNTED
    with pytest.raises(NotFoundError):
        await client.threads.get(empty)


async def test_get_state(sdk: Any, client: Any, counted: str) -> None:
    after_inc = (await client.threads.get_history(counted))[1]["checkpoint"]
    with every_parameter(sdk.threads.get_state) as get_state:
        now = await get_state(thread_id=counted, subgraphs=True)
        then = await get_state(thread_id=counted, checkpoint=after_inc, select=["values", "next"])
        same = await get_state(thread_id=counted, checkpoint_id=after_inc["checkpoint_id"], select=["values.count"])
    assert (now["values"], now["next"]) == (COUNTED, [])
    assert then == {"values": {"count": 2, "log": ["inc"]}, "next": ["double"]}
    assert same == {"values": {"count": 2}}


async def test_get_history(sdk: Any, client: Any, counted: str) -> None:
    newest, after_inc, after_input, start = [s["checkpoint"] for s in await client.threads.get_history(counted)]

    def ids(states: list[dict[str, Any]]) -> list[str]:
        return [state["checkpoint"]["checkpoint_id"] for state in states]

    with every_parameter(sdk.threads.get_history) as get_history:
        older = await get_history(thread_id=counted, limit=2, before=newest)
        inputs = await get_history(thread_id=counted, metadata={"source": "input"})
        upwards = await get_history(thread_id=counted, checkpoint=after_inc, select=["checkpoint"])
    assert ids(older) == [after_inc["checkpoint_id"], after_input["checkpoint_id"]]
    assert ids(inputs) == [start["checkpoint_id"]]
    assert upwards[0]["checkpoint"]["checkpoint_id"] == after_inc["checkpoint_id"]
    assert all(set(state) == {"checkpoint"} for state in upwards)


async def test_update_state(sdk: Any, client: Any, counted: str) -> None:
    after_inc = (await client.threads.get_history(counted))[1]["checkpoint"]
    change = {"thread_id": counted, "values": {"count": 100}, "as_node": "double"}
    with every_parameter(sdk.threads.update_state) as update_state:
        forked = await update_state(**change, checkpoint=after_inc)
        first = await client.threads.get_state(counted)
        await update_state(**change, checkpoint_id=after_inc["checkpoint_id"])
    assert first["checkpoint"]["checkpoint_id"] == forked["checkpoint"]["checkpoint_id"]
    assert (first["values"], first["next"]) == ({"count": 102, "log": ["inc"]}, [])
    second = await client.threads.get_state(counted)
    assert second["values"] == first["values"]
    assert second["checkpoint"] != first["checkpoint"]


async def test_join_stream(sdk: Any, client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "counter", input={"count": 1}, stream_resumable=True)
    await client.runs.join(thread, run["run_id"])
    with every_parameter(sdk.threads.join_stream) as join_stream:
        parts = await join_stream.first(2, thread_id=thread, last_event_id="-", stream_mode=["lifecycle"])
    assert [part.event for part in parts] == ["metadata", "metadata"]
    assert {part.data["run_id"] for part in parts} == {run["run_id"]}
    assert parts[1].data["status"] == "run_done"
