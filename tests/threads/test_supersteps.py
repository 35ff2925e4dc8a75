"""POST /threads with `supersteps`: a thread that begins with a state."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient
from tests.runs.conftest import run_to_end
from threads.models import Thread


def update(as_node: str, *log: str) -> dict[str, Any]:
    return {"values": {"log": list(log)}, "as_node": as_node}


async def create(api: ApiClient, *supersteps: list[dict[str, Any]], **body: Any) -> Any:
    steps = [{"updates": updates} for updates in supersteps]
    return await api.post("/threads", json={"metadata": {"graph_id": "log"}, "supersteps": steps, **body})


@pytest.fixture(autouse=True)
def _assistants(principal: Principal) -> None:
    """Every graph has its assistant."""


async def test_each_superstep_is_a_checkpoint(api: ApiClient) -> None:
    answer = await create(api, [update("__start__", "in")], [update("one", "mine")])
    assert answer.status_code == 200
    thread = answer.json()
    assert (thread["values"], thread["status"]) == ({"log": ["in", "mine"]}, "interrupted")
    history = (await api.get(f"/threads/{thread['thread_id']}/history?limit=9")).json()
    assert [(state["next"], state["values"].get("log")) for state in history] == [
        (["two"], ["in", "mine"]),
        (["one"], ["in"]),
    ]


async def test_input_is_applied_by_the_run_that_follows(api: ApiClient, principal: Principal) -> None:
    thread = (await create(api, [update("__input__", "in")])).json()
    assert thread["status"] == "interrupted"
    await run_to_end(principal, "log", UUID(thread["thread_id"]))
    state = (await api.get(f"/threads/{thread['thread_id']}/state")).json()
    assert (state["values"]["log"], state["next"]) == (["in", "one", "two"], [])


async def test_run_goes_on_from_there(api: ApiClient, principal: Principal) -> None:
    thread = (await create(api, [update("__start__", "in")], [update("one", "mine")])).json()
    await run_to_end(principal, "log", UUID(thread["thread_id"]))
    state = (await api.get(f"/threads/{thread['thread_id']}/state")).json()
    assert (state["values"]["log"], state["next"]) == (["in", "mine", "two"], [])


async def test_several_updates_and_the_end(api: ApiClient) -> None:
    thread = (await create(api, [update("__start__", "in")], [update("one", "1"), update("two", "2")])).json()
    assert (thread["values"], thread["status"]) == ({"log": ["in", "1", "2"]}, "interrupted")


async def test_command_says_where_to_go_on(api: ApiClient) -> None:
    command = {"update": {"log": ["mine"]}, "goto": "aside"}
    thread = (await create(api, [update("__start__", "in")], [{"as_node": "one", "command": command}])).json()
    assert thread["values"] == {"log": ["in", "mine"]}
    state = (await api.get(f"/threads/{thread['thread_id']}/state")).json()
    assert "aside" in state["next"]


async def test_thread_that_was_there_stays_as_it_was(api: ApiClient) -> None:
    own = str(uuid4())
    await create(api, [update("__start__", "old")], thread_id=own)
    thread = (await create(api, [update("__start__", "new")], thread_id=own, if_exists="do_nothing")).json()
    assert thread["values"] == {"log": ["old"]}


async def test_no_supersteps(api: ApiClient) -> None:
    answer = await create(api)
    assert (answer.status_code, answer.json()["values"]) == (200, None)


async def test_thread_without_a_graph_is_created_all_the_same(api: ApiClient) -> None:
    own = str(uuid4())
    answer = await create(api, [update("one", "x")], thread_id=own, metadata={})
    assert answer.status_code == 201
    begin = f"Thread {own} was created, but there were problems updating the state: Thread '{own}' has no assigned"
    assert answer.json()["detail"].startswith(begin)
    assert (await api.get(f"/threads/{own}")).status_code == 200


@pytest.mark.parametrize(
    ("updates", "status", "detail"),
    [
        ([update("zz")], 400, "Node zz does not exist"),
        ([update("__end__")], 400, "Node __end__ does not exist"),
        ([], 400, "No updates provided"),
        ([{"as_node": "one", "values": ["not", "a", "dict"]}], 400, "Expected dict"),
        ([{"values": {}}], 422, '"as_node" is a required property'),
        ([{"as_node": "one", "values": {}, "command": {}}], 422, "An update has either"),
        ([{"as_node": "one", "command": {"goto": {"input": 1}}}], 422, ""),
        ([{"as_node": "one", "values": "x"}], 422, ""),
    ],
)
async def test_faults_leave_no_thread(api: ApiClient, updates: Any, status: int, detail: str) -> None:
    answer = await create(api, [update("__start__", "in")], updates)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith(detail)
    assert await in_db(Thread.objects.count) == 0


async def test_unknown_graph(api: ApiClient) -> None:
    answer = await create(api, [update("one", "x")], metadata={"graph_id": "nope"})
    assert answer.status_code == 404
    assert await in_db(Thread.objects.count) == 0
