"""GET /threads/{thread_id}/runs and /threads/{thread_id}/runs/{run_id}"""

from typing import Any
from uuid import uuid4

import pytest

from platform_site.core.database.access import in_db
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import api as api
from tests.runs.conftest import create


@pytest.fixture
async def runs(principal: Any) -> list[Run]:
    first = await in_db(create, principal)
    return [first, *[await in_db(create, principal, thread_id=first.thread_id) for _ in range(2)]]


async def listed(api: ApiClient, runs: list[Run], query: str = "") -> Any:
    answer = await api.get(f"/threads/{runs[0].thread_id}/runs{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(runs: list[Run]) -> list[str]:
    return [str(run.run_id) for run in runs]


async def test_newest_first(api: ApiClient, runs: list[Run]) -> None:
    assert [run["run_id"] for run in await listed(api, runs)] == ids(runs[::-1])


async def test_pages(api: ApiClient, runs: list[Run]) -> None:
    assert [run["run_id"] for run in await listed(api, runs, "?limit=1&offset=1")] == ids(runs[1:2])


@pytest.mark.parametrize(("query", "count"), [("?limit=0", 0), ("?limit=1001", 3), ("?limit=" + "9" * 30, 3)])
async def test_limits_are_not_enforced(api: ApiClient, runs: list[Run], query: str, count: int) -> None:
    assert len(await listed(api, runs, query)) == count


async def test_limit_that_is_no_number(api: ApiClient, runs: list[Run]) -> None:
    answer = await api.get(f"/threads/{runs[0].thread_id}/runs?limit=x")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "invalid literal for int() with base 10: 'x'"


async def test_status(api: ApiClient, runs: list[Run]) -> None:
    await in_db(lambda: Run.objects.filter(pk=runs[1].pk).update(status="error"))
    assert [run["run_id"] for run in await listed(api, runs, "?status=error")] == ids(runs[1:2])
    assert await listed(api, runs, "?status=nope") == []


async def test_select(api: ApiClient, runs: list[Run]) -> None:
    [run, *_] = await listed(api, runs, "?select=run_id&select=status")
    assert run == {"run_id": str(runs[2].run_id), "status": "pending"}


async def test_select_of_what_is_always_null(api: ApiClient, runs: list[Run]) -> None:
    assert await listed(api, runs, "?select=langsmith_session_name") == [{"langsmith_session_name": None}] * 3


async def test_select_of_an_unknown_column(api: ApiClient, runs: list[Run]) -> None:
    answer = await api.get(f"/threads/{runs[0].thread_id}/runs?select=run_id,status")
    assert (answer.status_code, answer.json()["detail"]) == (422, "Invalid select columns: ['run_id,status']")


async def test_unknown_thread(api: ApiClient, principal: Any) -> None:
    thread = uuid4()
    answer = await api.get(f"/threads/{thread}/runs")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {thread} not found")


async def test_run_of_another_thread_is_unknown(api: ApiClient, runs: list[Run]) -> None:
    answer = await api.get(f"/threads/{uuid4()}/runs/{runs[0].run_id}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Not Found")


async def test_bad_run_id(api: ApiClient, runs: list[Run]) -> None:
    answer = await api.get(f"/threads/{runs[0].thread_id}/runs/x")
    assert (answer.status_code, answer.json()["detail"]) == (422, "Invalid run ID: must be a UUID")
