"""DELETE /threads/{thread_id}/runs/{run_id}"""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from runs.engine.engine import Engine
from runs.models import PendingInterrupt, Run
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, create, eventually, run_to_end
from tests.runs.conftest import api as api
from tests.runs.graphs import script
from threads.models import Thread


async def delete(api: ApiClient, run: Run) -> Any:
    return await api.delete(f"/threads/{run.thread_id}/runs/{run.run_id}")


async def thread_of(run: Run) -> Thread:
    return await in_db(Thread.objects.get, pk=run.thread_id)


async def test_run_goes_with_its_checkpoints(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["x"]})
    answer = await delete(api, run)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await in_db(Run.objects.count) == 0
    assert not await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)
    thread = await thread_of(run)
    assert (thread.status, thread.values) == ("idle", None)


async def test_thread_falls_back_to_what_the_run_before_left(api: ApiClient, principal: Principal) -> None:
    first = await run_to_end(principal, "log", input={"log": ["a"]})
    second = await run_to_end(principal, "log", first.thread_id, input={"log": ["b"]})
    await delete(api, second)
    assert (await thread_of(first)).values == {"log": ["a", "one", "two"]}


async def test_questions_of_the_run_are_closed(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_in_turn", input={"log": []})
    await delete(api, run)
    assert await in_db(lambda: PendingInterrupt.objects.filter(answered_at=None).count()) == 0
    assert (await thread_of(run)).status == "idle"


async def test_thread_with_another_run_stays_busy(api: ApiClient, principal: Principal) -> None:
    first = await run_to_end(principal, "log", input={"log": ["a"]})
    await in_db(create, principal, "log", first.thread_id)
    await delete(api, first)
    assert (await thread_of(first)).status == "busy"


async def test_pending_run(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    assert (await delete(api, run)).status_code == 204
    assert (await thread_of(run)).status == "idle"


async def test_running_run_stops_and_writes_nothing_more(
    api: ApiClient, principal: Principal, engine: Engine, gate: Gate
) -> None:
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        assert (await delete(api, run)).status_code == 204
        await asyncio.to_thread(eventually, lambda: engine.active == 0)
    assert not await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)
    assert (await thread_of(run)).values is None


@pytest.mark.usefixtures("principal")
async def test_unknown_run(api: ApiClient) -> None:
    answer = await api.delete(f"/threads/{uuid4()}/runs/{uuid4()}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Run not found")


@pytest.mark.usefixtures("unloaded")
async def test_run_whose_graph_is_broken_can_be_deleted(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "broken", input={})
    assert (await delete(api, run)).status_code == 204
    assert await in_db(Run.objects.count) == 0
