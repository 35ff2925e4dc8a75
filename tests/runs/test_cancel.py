"""POST /threads/{thread_id}/runs/{run_id}/cancel"""

from typing import Any
from uuid import uuid4

import pytest

from platform_site.core.database.access import in_db
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, claim, create, ended, run_to_end
from tests.runs.conftest import api as api
from tests.runs.graphs import script
from threads.models import Thread

NOTHING = "No matching runs to cancel. Please verify the thread ID and run IDs are correct, and the runs haven't been"


async def cancel(api: ApiClient, run: Run, **query: Any) -> Any:
    return await api.post(f"/threads/{run.thread_id}/runs/{run.run_id}/cancel", params=query)


async def test_pending_run_ends_at_once(api: ApiClient, principal: Any) -> None:
    run = await in_db(create, principal)
    answer = await cancel(api, run)
    assert (answer.status_code, answer.content) == (202, b"")
    await in_db(run.refresh_from_db)
    assert (run.status, run.cancel_action) == ("interrupted", "interrupt")
    assert run.finished_at is not None
    assert (await in_db(Thread.objects.get, pk=run.thread_id)).status == "idle"


async def test_pending_run_that_is_rolled_back_is_gone(api: ApiClient, principal: Any) -> None:
    run = await in_db(create, principal)
    assert (await cancel(api, run, action="rollback")).status_code == 202
    assert await in_db(Run.objects.count) == 0
    assert (await in_db(Thread.objects.get, pk=run.thread_id)).status == "idle"


async def test_thread_with_other_pending_runs_stays_busy(api: ApiClient, principal: Any) -> None:
    run = await in_db(create, principal)
    await in_db(create, principal, thread_id=run.thread_id)
    await cancel(api, run)
    assert (await in_db(Thread.objects.get, pk=run.thread_id)).status == "busy"


async def test_thread_whose_cancelled_run_still_holds_it_stays_busy(api: ApiClient, principal: Any) -> None:
    first = await in_db(create, principal)
    second = await in_db(create, principal, thread_id=first.thread_id)
    await in_db(claim, first)
    await cancel(api, first)
    await cancel(api, second)
    assert (await in_db(Thread.objects.get, pk=first.thread_id)).status == "busy"


async def test_cancelled_run_is_not_claimed(api: ApiClient, principal: Any) -> None:
    from runs.engine.queue import claim_next

    await cancel(api, await in_db(create, principal))
    assert await in_db(claim_next, "worker", limit=1) == []


async def test_running_run_shows_interrupted_and_keeps_its_lease(api: ApiClient, principal: Any) -> None:
    run = await in_db(create, principal)
    claimed = await in_db(claim, run)
    await cancel(api, run)
    await in_db(run.refresh_from_db)
    assert (run.status, run.lease_owner, run.finished_at) == ("interrupted", claimed.lease_owner, None)


async def test_wait_answers_when_it_has_ended(api: ApiClient, principal: Any) -> None:
    run = await in_db(create, principal)
    answer = await cancel(api, run, wait="true")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-location"] == f"/threads/{run.thread_id}/runs/{run.run_id}"


async def test_finished_run_cannot_be_cancelled(api: ApiClient, principal: Any) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    answer = await cancel(api, run)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(NOTHING)


async def test_second_cancel_finds_nothing(api: ApiClient, principal: Any) -> None:
    run = await in_db(create, principal)
    await cancel(api, run)
    assert (await cancel(api, run)).status_code == 404


@pytest.mark.parametrize("query", [{}, {"action": "rollback"}])
async def test_cancel_may_be_repeated_until_the_run_has_let_go(
    api: ApiClient, principal: Any, query: dict[str, str]
) -> None:
    run = await in_db(create, principal)
    claimed = await in_db(claim, run)
    answers = [await cancel(api, run, **query) for _ in range(3)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(202, b"")] * 3
    await in_db(run.refresh_from_db)
    assert (run.lease_owner, run.cancel_action) == (claimed.lease_owner, query.get("action", "interrupt"))


async def test_run_that_is_being_cancelled_may_be_rolled_back(api: ApiClient, principal: Any) -> None:
    run = await in_db(create, principal)
    await in_db(claim, run)
    await cancel(api, run)
    assert (await cancel(api, run, action="rollback")).status_code == 202
    await in_db(run.refresh_from_db)
    assert run.cancel_action == "rollback"


@pytest.mark.usefixtures("engine")
async def test_repeated_cancel_with_wait_answers_when_the_run_has_ended(
    api: ApiClient, principal: Any, gate: Gate
) -> None:
    import asyncio

    with script("hold", gate.wait):
        run = await in_db(create, principal, "scripted_thread", input={"do": "hold"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        await cancel(api, run)
        waiting = asyncio.ensure_future(cancel(api, run, wait="true"))
        await cancel(api, run)
        gate.open.set()
        answer = await waiting
        assert (answer.status_code, answer.json()) == (200, {})
        assert (await in_db(ended, run)).status == "interrupted"


async def test_unknown_run(api: ApiClient, principal: Any) -> None:
    answer = await api.post(f"/threads/{uuid4()}/runs/{uuid4()}/cancel")
    assert (answer.status_code, answer.json()["detail"]) == (404, "No runs found to cancel.")


async def test_unknown_action(api: ApiClient, principal: Any) -> None:
    assert (await cancel(api, await in_db(create, principal), action="x")).status_code == 422


@pytest.mark.usefixtures("engine")
async def test_wait_for_a_running_run(api: ApiClient, principal: Any, gate: Gate) -> None:
    import asyncio

    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        answer = await cancel(api, run, wait=1)
        assert (answer.status_code, answer.json()) == (200, {})
        assert (await in_db(ended, run)).status == "interrupted"
