"""POST /runs/cancel"""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from platform_site.access.models import Workspace
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, claim, create, ended, run_to_end
from tests.runs.conftest import api as api
from tests.runs.graphs import script
from threads.models import Thread

UNKNOWN = "01a1fed0-d74c-7071-a2e0-4ba4a745e1d3"


async def cancel(api: ApiClient, body: Any, **query: str) -> Any:
    return await api.post("/runs/cancel", json=body, params=query)


def statuses() -> list[str]:
    return list(Run.objects.order_by("sequence").values_list("status", flat=True))


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("pending", ["running", "interrupted"]),
        ("running", ["interrupted", "pending"]),
        ("all", ["interrupted", "interrupted"]),
    ],
)
async def test_by_status(api: ApiClient, principal: Principal, status: str, left: list[str]) -> None:
    run = await in_db(create, principal)
    await in_db(claim, run)
    await in_db(create, principal)
    answer = await cancel(api, {"status": status})
    assert (answer.status_code, answer.content) == (204, b"")
    assert await in_db(statuses) == left


async def test_by_ids_of_one_thread(api: ApiClient, principal: Principal) -> None:
    first = await in_db(create, principal)
    second = await in_db(create, principal, thread_id=first.thread_id)
    third = await in_db(create, principal)
    named = [str(run.run_id) for run in (second, third)]
    assert (await cancel(api, {"thread_id": str(first.thread_id), "run_ids": named})).status_code == 204
    assert await in_db(statuses) == ["pending", "interrupted", "pending"]


async def test_rollback(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    assert (await cancel(api, {"status": "all"}, action="rollback")).status_code == 204
    assert await in_db(statuses) == []
    assert (await in_db(Thread.objects.get, pk=run.thread_id)).status == "idle"


async def test_finished_runs_are_left_alone(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    body = {"thread_id": str(run.thread_id), "run_ids": [str(run.run_id)]}
    answer = await cancel(api, body)
    assert (answer.status_code, answer.json()["detail"]) == (404, "No runs found to cancel.")
    assert await in_db(statuses) == ["success"]


async def test_runs_of_another_workspace_are_left_alone(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    await in_db(lambda: Run.objects.update(workspace=Workspace.objects.create(slug="other", name="Other")))
    for body in ({"status": "all"}, {"thread_id": str(run.thread_id), "run_ids": [str(run.run_id)]}):
        assert (await cancel(api, body)).status_code == 404
    assert await in_db(statuses) == ["pending"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "{} is not valid under any of the schemas listed in the 'oneOf' keyword"),
        ({"status": "all", "thread_id": UNKNOWN, "run_ids": [UNKNOWN]}, '{"status":"all"'),
        ({"thread_id": UNKNOWN}, '{"thread_id":'),
        ({"run_ids": [UNKNOWN]}, '{"run_ids":'),
        ({"status": None}, '{"status":null} is not valid'),
        ({"status": "success"}, '"success" is not one of "pending", "running" or "all"'),
        ({"thread_id": "x", "run_ids": []}, "Invalid thread ID: must be a UUID"),
        ({"thread_id": UNKNOWN, "run_ids": ["x"]}, "Invalid run ID: must be a UUID"),
        ([], '[] is not of type "object"'),
    ],
    ids=str,
)
async def test_what_cannot_be_asked(api: ApiClient, principal: Principal, body: Any, detail: str) -> None:
    await in_db(create, principal)
    answer = await cancel(api, body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert await in_db(statuses) == ["pending"]


@pytest.mark.usefixtures("principal")
async def test_unknown_action(api: ApiClient) -> None:
    assert (await cancel(api, {"status": "all"}, action="x")).status_code == 422


@pytest.mark.usefixtures("principal")
async def test_nothing_found(api: ApiClient) -> None:
    for body in ({"status": "all"}, {"thread_id": str(uuid4()), "run_ids": [str(uuid4())]}):
        answer = await cancel(api, body)
        assert (answer.status_code, answer.json()["detail"]) == (404, "No runs found to cancel.")


async def test_any_number_of_ids(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    named = [*[UNKNOWN] * 300_000, str(run.run_id)]
    assert (await cancel(api, {"thread_id": str(run.thread_id), "run_ids": named})).status_code == 204
    assert await in_db(statuses) == ["interrupted"]


@pytest.mark.usefixtures("engine")
async def test_runs_in_work_stop(api: ApiClient, principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        runs = [await in_db(create, principal, "scripted", input={"do": "pause"}) for _ in range(3)]
        assert await asyncio.to_thread(gate.reached.wait, 10)
        assert (await cancel(api, {"status": "all"})).status_code == 204
        assert {(await asyncio.to_thread(ended, run)).status for run in runs} == {"interrupted"}
