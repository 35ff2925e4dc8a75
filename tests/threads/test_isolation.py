"""The state of a thread is read and changed on that thread, in the caller's name, whatever is stored and sent."""

from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db, read_db
from platform_site.core.run_config import SERVER_KEYS
from platform_site.core.scope import OutOfScope
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import run_to_end
from tests.runs.graphs import log, script
from threads.editing import editing
from threads.models import Thread
from threads.selectors import thread_for_state
from threads.state import config_at, graph_of

THEIRS = "theirs"
FORGED: dict[str, Any] = {
    **dict.fromkeys([*SERVER_KEYS, "langgraph_auth_scheme", "__pregel_checkpointer", "checkpoint_id"], THEIRS),
    "checkpoint_map": {"": THEIRS},
}


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["in"]})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "state", None),
        ("GET", "history", None),
        ("POST", "history", {}),
        ("POST", "state/checkpoint", {"checkpoint": {"thread_id": THEIRS}}),
        ("POST", "state", {"values": {"log": ["mine"]}, "as_node": "two"}),
    ],
)
async def test_a_factory_is_called_with_the_servers_keys(
    method: str, path: str, body: Any, api: ApiClient, principal: Principal
) -> None:
    seen: list[dict[str, Any]] = []

    def make(config: Any) -> Any:
        seen.append(config)
        return log

    forged = {**FORGED, "factory": "make", "user_id": "bob"}

    def store(run: Run) -> None:
        Thread.objects.filter(pk=run.thread_id).update(run_config={**FORGED, "configurable": forged})

    with script("make", make):
        run = await run_to_end(principal, "made", input={"log": []}, config={"configurable": {"factory": "make"}})
        await in_db(store, run)
        seen.clear()
        answer = await api.request(method, f"/threads/{run.thread_id}/{path}", json=body)
        assert answer.status_code == 200, answer.text
    assert seen
    for config in seen:
        assert config.keys() == {"configurable", "metadata"}
        assert config["configurable"] == {
            "factory": "make",
            "user_id": "bob",
            "thread_id": str(run.thread_id),
            "graph_id": "made",
            "assistant_id": str(run.assistant_id),
            "langgraph_auth_user": None,
            "langgraph_auth_user_id": "",
            "langgraph_auth_permissions": [],
        }


@pytest.mark.parametrize("changes", [False, True], ids=["read", "update"])
async def test_the_saver_serves_the_thread_that_was_asked_for(changes: bool, principal: Principal, run: Run) -> None:
    other = await run_to_end(principal, "log", input={"log": ["secret"]})
    thread = await read_db(thread_for_state, principal, run.thread_id)
    async with AsyncExitStack() as stack:
        edit = await stack.enter_async_context(editing(run.workspace_id, run.thread_id)) if changes else None
        graph = await stack.enter_async_context(graph_of(thread, "log", edit))
        assert (await graph.aget_state(config_at(run.thread_id))).values["log"][0] == "in"
        for theirs in (other.thread_id, uuid4()):
            with pytest.raises(OutOfScope):
                await graph.aget_state(config_at(theirs))
            with pytest.raises(OutOfScope):
                await graph.aupdate_state(config_at(theirs), {"log": ["x"]}, as_node="two")


async def test_a_checkpoint_of_another_thread_is_looked_for_on_the_own_one(
    api: ApiClient, principal: Principal, run: Run
) -> None:
    other = await run_to_end(principal, "log", input={"log": ["secret"]})
    theirs = (await api.get(f"/threads/{other.thread_id}/state")).json()["checkpoint"]
    before = (await api.get(f"/threads/{other.thread_id}/history?limit=99")).text
    for path, body in (
        ("state/checkpoint", {"checkpoint": theirs}),
        ("state", {"checkpoint": theirs, "values": {"log": ["x"]}, "as_node": "two"}),
        ("history", {"checkpoint": theirs, "before": theirs}),
    ):
        answer = await api.post(f"/threads/{run.thread_id}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        assert "secret" not in answer.text
    assert (await api.get(f"/threads/{other.thread_id}/history?limit=99")).text == before


@pytest.mark.parametrize("wrong", [5, "x", [], {"": 5}, {"": None}, {"": {}}], ids=str)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("state", {"values": {"log": []}, "as_node": "two", "checkpoint": {}}),
        ("state/checkpoint", {"checkpoint": {}}),
        ("history", {"checkpoint": {}}),
    ],
)
async def test_a_checkpoint_map_is_an_object_of_strings(
    path: str, body: dict[str, Any], wrong: Any, api: ApiClient, run: Run
) -> None:
    answer = await api.post(f"/threads/{run.thread_id}/{path}", json={**body, "checkpoint": {"checkpoint_map": wrong}})
    assert answer.status_code == 422, answer.text
    assert 'On instance["checkpoint"]["checkpoint_map"]' in answer.json()["detail"]
