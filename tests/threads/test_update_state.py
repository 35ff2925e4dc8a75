"""POST /threads/{thread_id}/state"""

from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from runs.models import PendingInterrupt, Run
from tests.api_client import ApiClient
from tests.runs.conftest import create, run_to_end
from tests.threads.conftest import Make
from threads.models import Thread


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["in"]})


async def update(api: ApiClient, thread_id: Any, **body: Any) -> Any:
    return await api.post(f"/threads/{thread_id}/state", json=body)


async def thread_of(run: Run) -> Thread:
    return await in_db(Thread.objects.get, pk=run.thread_id)


async def test_update_makes_a_checkpoint_and_reducers_apply(api: ApiClient, run: Run) -> None:
    answer = await update(api, run.thread_id, values={"log": ["mine"]}, as_node="two")
    assert answer.status_code == 200
    made = answer.json()
    assert made["configurable"] == made["checkpoint"]
    assert made["checkpoint_id"] == made["checkpoint"]["checkpoint_id"]
    state = (await api.get(f"/threads/{run.thread_id}/state")).json()
    assert (state["checkpoint_id"], state["values"]["log"]) == (made["checkpoint_id"], ["in", "one", "two", "mine"])
    assert state["metadata"]["source"] == "update"


async def test_thread_shows_the_new_state(api: ApiClient, run: Run) -> None:
    before = await thread_of(run)
    await update(api, run.thread_id, values={"log": ["mine"]}, as_node="one")
    thread = await thread_of(run)
    assert (thread.values["log"][-1], thread.status) == ("mine", "interrupted")
    assert thread.state_updated_at > before.state_updated_at


async def test_update_of_a_thread_that_failed_clears_its_error(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input="wrong")
    assert (await thread_of(run)).error is not None
    await update(api, run.thread_id, values={"log": ["x"]}, as_node="two")
    thread = await thread_of(run)
    assert (thread.status, thread.error) == ("idle", None)


async def test_update_of_a_thread_that_waits_clears_its_questions(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_twice", input={"log": []})
    await update(api, run.thread_id, values={"log": ["x"]})
    thread = await thread_of(run)
    assert (thread.status, thread.interrupts) == ("interrupted", {})
    assert await in_db(lambda: PendingInterrupt.objects.filter(answered_at=None).count()) == 0


@pytest.mark.parametrize("as_node", ["__end__", "__copy__"])
async def test_a_question_that_is_dismissed_or_forked_leaves_the_inbox(
    api: ApiClient, principal: Principal, as_node: str
) -> None:
    def open_questions() -> int:
        return PendingInterrupt.objects.filter(answered_at=None).count()

    run = await run_to_end(principal, "ask_twice", input={"log": []})
    assert await in_db(open_questions) == 1
    assert (await update(api, run.thread_id, as_node=as_node)).status_code == 200
    assert await in_db(open_questions) == 0


async def test_values_may_be_absent(api: ApiClient, run: Run) -> None:
    assert (await update(api, run.thread_id, as_node="one")).status_code == 200
    assert (await update(api, run.thread_id, values=None, as_node="one")).status_code == 200


async def test_unknown_keys_are_dropped(api: ApiClient, run: Run) -> None:
    assert (await update(api, run.thread_id, values={"zzz": 1}, as_node="one")).status_code == 200
    assert "zzz" not in (await thread_of(run)).values


async def test_as_input(api: ApiClient, run: Run) -> None:
    await update(api, run.thread_id, values={"log": ["x"]}, as_node="__start__")
    assert (await api.get(f"/threads/{run.thread_id}/state")).json()["next"] == ["one"]


@pytest.mark.parametrize("key", ["checkpoint", "checkpoint_id"])
async def test_fork_becomes_the_head(api: ApiClient, run: Run, key: str) -> None:
    parent = (await api.get(f"/threads/{run.thread_id}/state")).json()["parent_checkpoint"]
    place = {key: parent if key == "checkpoint" else parent["checkpoint_id"]}
    await update(api, run.thread_id, values={"log": ["fork"]}, as_node="one", **place)
    assert (await thread_of(run)).values == {"log": ["in", "one", "fork"]}


@pytest.mark.parametrize("node", ["zzz", "__end__", ""])
async def test_unknown_node(api: ApiClient, run: Run, node: str) -> None:
    answer = await update(api, run.thread_id, values={}, as_node=node)
    assert (answer.status_code, answer.json()["detail"]) == (400, f"Node {node} does not exist")


async def test_values_of_the_wrong_type(api: ApiClient, run: Run) -> None:
    assert (await update(api, run.thread_id, values="x")).status_code == 422
    answer = await update(api, run.thread_id, values=[1], as_node="one")
    assert (answer.status_code, answer.json()["detail"][:18]) == (400, "Expected dict, got")


async def test_thread_without_a_graph(api: ApiClient, make: Make) -> None:
    thread = (await make())["thread_id"]
    answer = await update(api, thread, values={"log": ["x"]})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"Thread '{thread}' has no assigned graph ID.")


async def test_graph_given_by_metadata(api: ApiClient, make: Make) -> None:
    thread = (await make(metadata={"graph_id": "log"}))["thread_id"]
    assert (await update(api, thread, values={"log": ["x"]}, as_node="one")).status_code == 200
    assert (await api.get(f"/threads/{thread}")).json()["values"] == {"log": ["x"]}


async def test_busy_thread(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    answer = await update(api, run.thread_id, values={})
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(f"Thread {run.thread_id} has in-flight runs:")


async def test_unknown_thread(api: ApiClient) -> None:
    assert (await update(api, uuid4(), values={})).status_code == 404


@pytest.mark.parametrize("namespace", ["nope:1", "child"])
async def test_unknown_subgraph(api: ApiClient, run: Run, namespace: str) -> None:
    answer = await update(api, run.thread_id, values={}, checkpoint={"checkpoint_ns": namespace})
    assert answer.status_code == 400, answer.text


async def test_what_the_graph_keeps_to_itself_stays_out_of_answers_before_any_run_has_ended(
    api: ApiClient, principal: Principal
) -> None:
    thread_id = (await api.post("/threads", json={"metadata": {"graph_id": "noting"}})).json()["thread_id"]
    changed = await update(api, thread_id, values={"log": ["by hand"], "note": "secret"}, as_node="note")
    assert changed.status_code == 200, changed.text
    run = await in_db(create, principal, "noting", UUID(thread_id))
    assert (await api.post(f"/threads/{thread_id}/runs/{run.run_id}/cancel")).status_code == 202
    assert (await api.get(f"/threads/{thread_id}/runs/{run.run_id}/join")).json() == {"log": ["by hand"]}
    assert (await api.get(f"/threads/{thread_id}")).json()["values"]["note"] == "secret"


async def test_state_as_deep_as_it_may_be_can_be_read(api: ApiClient, run: Run) -> None:
    deep: Any = 1
    for _ in range(252):
        deep = [deep]
    answer = await update(api, run.thread_id, values={"log": [deep]}, as_node="two")
    assert answer.status_code == 200
    state = await api.get(f"/threads/{run.thread_id}/state")
    assert (state.status_code, state.json()["values"]["log"][-1]) == (200, deep)
    assert (await api.get(f"/threads/{run.thread_id}/history")).status_code == 200
    selected = await api.get(f"/threads/{run.thread_id}/state?select=values.log")
    assert selected.json()["values"] == state.json()["values"]
    assert (await thread_of(run)).values["log"][-1] == deep
