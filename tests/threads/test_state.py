"""Reading a thread's state: GET /threads/{id}/state, /state/{checkpoint}, POST /state/checkpoint"""

from typing import Any
from uuid import uuid4

import pytest

from platform_site.access.principal import Principal
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import run_to_end
from tests.runs.graphs import script
from tests.threads.conftest import Make

EMPTY: dict[str, Any] = {
    "values": {}, "next": [], "tasks": [], "metadata": None, "created_at": None, "checkpoint": None,
    "parent_checkpoint": None, "interrupts": [], "checkpoint_id": None, "parent_checkpoint_id": None,
}  # fmt: skip


async def state(api: ApiClient, run: Run, rest: str = "") -> Any:
    answer = await api.get(f"/threads/{run.thread_id}/state{rest}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def at(api: ApiClient, run: Run, **checkpoint: Any) -> Any:
    return await api.post(f"/threads/{run.thread_id}/state/checkpoint", json={"checkpoint": checkpoint})


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["in"]})


async def test_thread_that_never_ran(api: ApiClient, make: Make) -> None:
    thread = await make()
    assert (await api.get(f"/threads/{thread['thread_id']}/state")).json() == EMPTY


async def test_thread_with_a_graph_that_never_ran(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"graph_id": "log"})
    assert (await api.get(f"/threads/{thread['thread_id']}/state")).json() == EMPTY


async def test_state_after_a_run(api: ApiClient, run: Run) -> None:
    found = await state(api, run)
    assert (found["values"], found["next"], found["tasks"]) == ({"log": ["in", "one", "two"]}, [], [])
    assert found["checkpoint"] == {
        "thread_id": str(run.thread_id), "checkpoint_ns": "", "checkpoint_id": found["checkpoint_id"],
    }  # fmt: skip
    assert found["parent_checkpoint"]["checkpoint_id"] == found["parent_checkpoint_id"]
    assert (found["metadata"]["step"], found["metadata"]["run_id"]) == (2, str(run.run_id))


async def test_state_that_waits_for_an_answer(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_twice", input={"log": []})
    found = await state(api, run)
    [task] = found["tasks"]
    assert (found["next"], task["name"], task["path"]) == (["ask"], "ask", ["__pregel_pull", "ask"])
    assert [item["value"] for item in found["interrupts"]] == ["first?"]
    assert task["interrupts"] == found["interrupts"]


async def test_error_of_a_task_keeps_its_text(api: ApiClient, principal: Principal) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk")

    with script("fail", fail):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    assert [task["error"] for task in (await state(api, run))["tasks"]] == ["OSError('disk')"]


async def test_earlier_checkpoint(api: ApiClient, run: Run) -> None:
    parent = (await state(api, run))["parent_checkpoint_id"]
    found = await state(api, run, f"/{parent}")
    assert (found["values"], found["next"]) == ({"log": ["in", "one"]}, ["two"])
    assert (await at(api, run, checkpoint_id=parent)).json() == found


async def test_subgraph_is_named_or_shown(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_below", input={"log": []})
    [named] = (await state(api, run))["tasks"]
    assert named["state"] is None
    assert named["checkpoint"]["checkpoint_ns"].startswith("child:")
    [shown] = (await state(api, run, "?subgraphs=true"))["tasks"]
    assert (shown["checkpoint"], shown["state"]["next"]) == (None, ["left"])
    below = (await at(api, run, checkpoint_ns=named["checkpoint"]["checkpoint_ns"])).json()
    assert below["next"] == ["left"]


@pytest.mark.parametrize("unknown", ["5f3c1a52-94b1-4d0e-9c1d-3f6a8d6f0a11", "zzz", "a b", "1' OR '1'='1", "☃"])
async def test_unknown_checkpoint_is_an_empty_state_with_its_id(api: ApiClient, run: Run, unknown: str) -> None:
    answer = await at(api, run, checkpoint_id=unknown)
    assert answer.status_code == 200
    assert (answer.json()["values"], answer.json()["checkpoint_id"]) == ({}, unknown)


@pytest.mark.parametrize("namespace", ["nope:1", "child", "|", "log:1|x:2", "a" * 5000])
async def test_unknown_subgraph_is_an_empty_state(api: ApiClient, run: Run, namespace: str) -> None:
    answer = await at(api, run, checkpoint_ns=namespace)
    assert (answer.status_code, answer.json()["values"]) == (200, {})


@pytest.mark.parametrize("body", [{}, {"checkpoint": None}, {"checkpoint": "x"}, {"checkpoint": {"checkpoint_id": 5}}])
async def test_bad_checkpoint(api: ApiClient, run: Run, body: Any) -> None:
    assert (await api.post(f"/threads/{run.thread_id}/state/checkpoint", json=body)).status_code == 422


async def test_select(api: ApiClient, run: Run) -> None:
    assert await state(api, run, "?select=next&select=values.log") == {
        "next": [],
        "values": {"log": ["in", "one", "two"]},
    }


async def test_unknown_thread(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.get(f"/threads/{unknown}/state")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {unknown} not found")


async def test_graph_that_is_gone(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"graph_id": "gone"})
    assert (await api.get(f"/threads/{thread['thread_id']}/state")).status_code == 404


async def test_graph_id_that_is_no_text(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"graph_id": 5})
    assert (await api.get(f"/threads/{thread['thread_id']}/state")).json() == EMPTY


# --- patch (oldest clients) ------------------------------------------------------------------------


async def test_patch_merges_the_metadata_of_the_thread(api: ApiClient, make: Make) -> None:
    thread_id = (await make(metadata={"a": 1, "b": 2}))["thread_id"]
    answer = await api.patch(f"/threads/{thread_id}/state", json={"metadata": {"b": 3}})
    assert answer.status_code == 200
    assert (await api.get(f"/threads/{thread_id}")).json()["metadata"] == {"a": 1, "b": 3}


async def test_patch_of_an_unknown_thread(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.patch(f"/threads/{unknown}/state", json={"metadata": {}})
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {unknown} not found")


async def test_patch_without_metadata(api: ApiClient, make: Make) -> None:
    answer = await api.patch(f"/threads/{(await make())['thread_id']}/state", json={})
    assert answer.status_code == 422
