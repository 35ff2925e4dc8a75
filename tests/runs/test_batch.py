"""POST /runs/batch"""

import asyncio
from typing import Any

import pytest

from platform_site.core.database.access import in_db
from runs.engine.engine import Engine
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, eventually
from tests.runs.conftest import api as api
from tests.runs.graphs import script
from threads.models import Thread


async def post(api: ApiClient, *items: dict[str, Any]) -> Any:
    return await api.post("/runs/batch", json=[{"assistant_id": "log", **item} for item in items])


@pytest.mark.usefixtures("principal")
async def test_each_run_has_a_thread_of_its_own_in_the_order_of_the_request(api: ApiClient) -> None:
    answer = await post(api, {"input": 1}, {"input": 2, "on_completion": "keep"})
    assert answer.status_code == 200
    runs = answer.json()
    assert [run["kwargs"]["input"] for run in runs] == [1, 2]
    assert [run["kwargs"]["temporary"] for run in runs] == [True, False]
    assert [run["status"] for run in runs] == ["pending", "pending"]
    assert len({run["thread_id"] for run in runs}) == 2


@pytest.mark.parametrize(
    ("bad", "status", "detail"),
    [
        ({"assistant_id": "zzz"}, 422, "Invalid assistant: 'zzz'."),
        ({"assistant_id": "01a1fed0-d74c-7071-a2e0-4ba4a745e1d3"}, 404, "Thread or assistant not found."),
        ({"stream_mode": "zzz"}, 422, '"zzz" is not'),
        ({"command": {"resume": 1}}, 400, "You must provide a thread_id when resuming."),
    ],
    ids=str,
)
@pytest.mark.usefixtures("principal")
async def test_one_bad_item_fails_all(api: ApiClient, bad: dict[str, Any], status: int, detail: str) -> None:
    answer = await post(api, {"input": 1}, bad, {"input": 2})
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(detail)
    assert await in_db(lambda: (Run.objects.count(), Thread.objects.count())) == (0, 0)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "[] has less than 1 item"),
        ({}, '{} is not of type "array"'),
        ([{}], '"assistant_id" is a required property'),
        ([[]], '[] is not of type "object"'),
    ],
    ids=str,
)
@pytest.mark.usefixtures("principal")
async def test_what_is_no_batch(api: ApiClient, body: Any, detail: str) -> None:
    answer = await api.post("/runs/batch", json=body)
    assert (answer.status_code, answer.json()["detail"].split("\n")[0]) == (422, detail)


async def test_runs_beyond_the_engines_room_wait_for_their_turn(api: ApiClient, engine: Engine, gate: Gate) -> None:
    engine.capacity = 2
    with script("pause", gate.pause):
        await post(api, *[{"assistant_id": "scripted", "input": {"do": "pause"}}] * 5)
        # The dispatcher may have claimed some more before the engine heard of the first.
        assert await in_db(lambda: Run.objects.filter(status="pending").count()) >= 5 - 2 * engine.capacity
        gate.open.set()
        await asyncio.to_thread(eventually, lambda: not Run.objects.exists())
