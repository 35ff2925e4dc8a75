"""Changes of a thread's state by hand: one after the other, and never beside a run."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from platform_site.core.errors import Conflict
from runs.engine.engine import Engine
from runs.engine.queue import claim_next
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import create, ended, run_to_end
from threads import editing
from threads.editing import EditLease
from threads.models import Thread

CHANGES = 12


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["in"]})


async def held(run: Run) -> EditLease:
    """The lease of somebody who is at it."""
    lease = EditLease(run.thread_id, "somebody")
    assert await in_db(editing._take, run.workspace_id, lease)
    return lease


async def update(api: ApiClient, run: Run, word: str) -> Any:
    return await api.post(f"/threads/{run.thread_id}/state", json={"values": {"log": [word]}, "as_node": "two"})


async def heads(run: Run) -> list[str]:
    """The checkpoints without a child."""
    config: Any = {"configurable": {"thread_id": str(run.thread_id), "checkpoint_ns": ""}}
    found = [item async for item in checkpoints().saver().alist(config)]
    parents = {item.parent_config["configurable"]["checkpoint_id"] for item in found if item.parent_config}
    return [item.checkpoint["id"] for item in found if item.checkpoint["id"] not in parents]


async def test_changes_at_once_are_made_one_after_the_other(api: ApiClient, run: Run) -> None:
    words = [str(number) for number in range(CHANGES)]
    answers = await asyncio.gather(*(update(api, run, word) for word in words))
    assert {answer.status_code for answer in answers} == {200}
    state = (await api.get(f"/threads/{run.thread_id}/state")).json()
    assert sorted(state["values"]["log"][3:]) == sorted(words)
    assert await heads(run) == [state["checkpoint_id"]]


async def test_change_that_another_one_keeps_waiting_is_refused_after_a_while(
    api: ApiClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editing, "PATIENCE_SECONDS", 0)
    await held(run)
    answer = await update(api, run, "mine")
    assert (answer.status_code, "is being changed by somebody else" in answer.json()["detail"]) == (409, True)


async def test_change_waits_for_another_one(api: ApiClient, run: Run) -> None:
    lease = await held(run)
    waiting = asyncio.ensure_future(update(api, run, "mine"))
    await in_db(editing._give_back, lease)
    assert (await waiting).status_code == 200


async def test_lease_is_given_back_after_a_change_that_is_refused(api: ApiClient, run: Run) -> None:
    path = f"/threads/{run.thread_id}/state"
    assert (await api.post(path, json={"values": {"log": 5}, "as_node": "nobody"})).status_code == 400
    assert (await in_db(Thread.objects.get, pk=run.thread_id)).editor is None
    assert (await update(api, run, "mine")).status_code == 200


async def test_lease_that_ran_out_is_nobodys(api: ApiClient, run: Run) -> None:
    await held(run)
    await in_db(Thread.objects.filter(pk=run.thread_id).update, edited_until=timezone.now() - timedelta(seconds=1))
    assert (await update(api, run, "mine")).status_code == 200


async def write_without_lease(run: Run) -> None:
    """Go on with a change although its lease is lost."""
    async with editing.editing(run.workspace_id, run.thread_id) as edit:
        edit.end()
        saver = checkpoints().saver_for_run(edit)
        found = await saver.aget_tuple({"configurable": {"thread_id": str(run.thread_id), "checkpoint_ns": ""}})
        assert found is not None
        await saver.aput(found.config, {**found.checkpoint, "id": "2" * 32}, found.metadata, {})


async def test_change_by_one_who_lost_the_lease_is_refused(run: Run) -> None:
    before = await heads(run)
    with pytest.raises(Conflict, match="could not be changed in time"):
        await write_without_lease(run)
    assert await heads(run) == before


async def test_change_is_refused_while_a_run_is_in_flight(api: ApiClient, run: Run, principal: Principal) -> None:
    await in_db(create, principal, "log", run.thread_id, input={"log": []})
    answer = await update(api, run, "mine")
    assert (answer.status_code, "has in-flight runs" in answer.json()["detail"]) == (409, True)


def test_run_that_comes_meanwhile_waits_until_the_lease_is_given_back(principal: Principal, engine: Engine) -> None:
    run = ended(create(principal, "log", input={"log": []}))
    lease = EditLease(run.thread_id, "somebody")
    assert editing._take(run.workspace_id, lease)
    later = create(principal, "log", run.thread_id, input={"log": ["run"]})
    assert (later.status, claim_next("worker", limit=5)) == ("pending", [])
    editing._give_back(lease)
    assert ended(later).status == "success"


@pytest.mark.parametrize("strategy", ["reject", "interrupt", "rollback"])
async def test_run_waits_whatever_its_multitask_strategy(run: Run, principal: Principal, strategy: Any) -> None:
    await held(run)
    later = await in_db(create, principal, "log", run.thread_id, input={"log": ["run"]}, multitask_strategy=strategy)
    assert (later.status, await in_db(claim_next, "worker", limit=5)) == ("pending", [])


async def test_messages_added_at_once_are_all_kept(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "models", input={"messages": [{"role": "user", "content": "in"}]})
    path = f"/threads/{run.thread_id}/messages"
    words = [str(number) for number in range(CHANGES)]
    answers = await asyncio.gather(*(api.post(path, json={"role": "user", "content": word}) for word in words))
    assert {answer.status_code for answer in answers} == {200}
    shown = [message["content"] for message in (await api.get(path)).json()]
    assert sorted(word for word in shown if word in words) == sorted(words)
