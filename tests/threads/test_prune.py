"""POST /threads/prune and GET /threads/{thread_id}/storage"""

from typing import Any
from uuid import uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient
from tests.runs.conftest import run_to_end
from tests.threads.conftest import Make
from threads import pruning
from threads.models import Thread
from threads.pruning import threads_prune


async def prune(api: ApiClient, *thread_ids: Any, **body: Any) -> int:
    answer = await api.post("/threads/prune", json={"thread_ids": [str(id_) for id_ in thread_ids], **body})
    assert answer.status_code == 200, answer.text
    count: int = answer.json()["pruned_count"]
    return count


async def test_delete_counts_what_existed(api: ApiClient, make: Make) -> None:
    gone, kept = await make(), await make()
    assert await prune(api, gone["thread_id"], uuid4(), gone["thread_id"]) == 1
    assert (await api.get(f"/threads/{gone['thread_id']}")).status_code == 404
    assert (await api.get(f"/threads/{kept['thread_id']}")).status_code == 200


@pytest.mark.parametrize("strategy", ["delete", "keep_latest"])
async def test_nothing_to_prune(api: ApiClient, strategy: str) -> None:
    assert await prune(api, strategy=strategy) == 0
    assert await prune(api, uuid4(), strategy=strategy) == 0


@pytest.mark.parametrize("strategy", ["delete", "keep_latest"])
async def test_more_threads_than_a_statement_takes(
    api: ApiClient, make: Make, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    threads = [(await make())["thread_id"] for _ in range(3)]
    assert await prune(api, *threads, uuid4(), *threads, strategy=strategy) == 3


async def test_keep_latest_keeps_the_thread_and_its_newest_state(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["in"]})
    before = (await api.get(f"/threads/{run.thread_id}/state")).json()
    assert await prune(api, run.thread_id, strategy="keep_latest") == 1
    history = (await api.get(f"/threads/{run.thread_id}/history?limit=9")).json()
    assert history == [before | {"parent_checkpoint": None, "parent_checkpoint_id": None}]
    await run_to_end(principal, "log", run.thread_id, input={"log": ["more"]})
    state = (await api.get(f"/threads/{run.thread_id}/state")).json()
    assert state["values"]["log"] == ["in", "one", "two", "more", "one", "two"]


async def test_keep_latest_of_a_waiting_subgraph_can_be_answered(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_below", input={"log": []})
    await prune(api, run.thread_id, strategy="keep_latest")
    await run_to_end(principal, "ask_below", run.thread_id, command={"resume": "yes"})
    await prune(api, run.thread_id, strategy="keep_latest")
    await run_to_end(principal, "ask_below", run.thread_id, command={"resume": "no"})
    state = (await api.get(f"/threads/{run.thread_id}/state")).json()
    assert state["values"]["log"] == ["before", "before", "yes", "no", "after"]


@pytest.mark.parametrize("strategy", ["delete", "keep_latest"])
async def test_threads_of_another_workspace_are_not_there(principal: Principal, strategy: str) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    stranger = Principal(workspace_id=principal.workspace_id + 1)
    assert await threads_prune(stranger, [run.thread_id], strategy=strategy) == 0
    assert await in_db(Thread.objects.count) == 1


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, '"thread_ids" is a required property'),
        ({"thread_ids": ["nope"]}, "Invalid thread ID: must be a UUID"),
        ({"thread_ids": [], "strategy": "some"}, '"some" is not one of "delete" or "keep_latest"'),
    ],
)
async def test_bad_bodies(api: ApiClient, body: dict[str, Any], detail: str) -> None:
    answer = await api.post("/threads/prune", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


async def test_storage(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["x" * 1000]})
    found = (await api.get(f"/threads/{run.thread_id}/storage")).json()
    assert found["thread_id"] == str(run.thread_id)
    assert found["checkpoints"]["count"] == 4
    assert found["channel_values"]["by_channel"]["log"]["versions"] == 3
    assert found["channel_values"]["by_channel"]["log"]["bytes"] >= 3000
    assert found["pending_writes"]["count"] > 0
    parts = (found[part]["bytes"] for part in ("checkpoints", "channel_values", "pending_writes"))
    assert found["total_bytes"] == sum(parts)


async def test_storage_of_an_unknown_thread(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.get(f"/threads/{unknown}/storage")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {unknown} not found")
