"""GET and POST /threads/{thread_id}/history"""

from typing import Any

import pytest

from platform_site.access.principal import Principal
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import run_to_end
from tests.threads.conftest import Make


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["in"]})


async def get(api: ApiClient, run: Run, query: str = "") -> Any:
    answer = await api.get(f"/threads/{run.thread_id}/history{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(api: ApiClient, run: Run, **body: Any) -> Any:
    answer = await api.post(f"/threads/{run.thread_id}/history", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def steps(states: Any) -> list[int]:
    return [state["metadata"]["step"] for state in states]


async def test_newest_first(api: ApiClient, run: Run) -> None:
    assert steps(await get(api, run, "?limit=10")) == [2, 1, 0, -1]


async def test_one_unless_more_are_asked_for(api: ApiClient, run: Run) -> None:
    assert steps(await get(api, run)) == steps(await post(api, run)) == [2]
    assert await get(api, run, "?limit=0") == []


async def test_before_in_all_forms(api: ApiClient, run: Run) -> None:
    newest = (await get(api, run))[0]["checkpoint_id"]
    assert steps(await get(api, run, f"?limit=9&before={newest}")) == [1, 0, -1]
    for before in (newest, {"checkpoint_id": newest}, {"configurable": {"checkpoint_id": newest}}):
        assert steps(await post(api, run, limit=9, before=before)) == [1, 0, -1]


async def test_metadata(api: ApiClient, run: Run) -> None:
    assert steps(await post(api, run, limit=9, metadata={"step": 0})) == [0]
    assert steps(await post(api, run, limit=9, metadata={"source": "loop", "run_id": str(run.run_id)})) == [2, 1, 0]
    assert await post(api, run, limit=9, metadata={"step": "0"}) == []


@pytest.mark.parametrize("key", ["a' OR '1'='1", "a b", "ä", "", 'x"'])
async def test_metadata_keys_of_any_form(api: ApiClient, run: Run, key: str) -> None:
    assert await post(api, run, limit=9, metadata={key: 1}) == []


async def test_from_a_checkpoint(api: ApiClient, run: Run) -> None:
    second = (await get(api, run, "?limit=2"))[1]["checkpoint"]
    assert second["checkpoint_id"] in [
        state["checkpoint_id"] for state in await post(api, run, limit=9, checkpoint=second)
    ]


async def test_thread_that_never_ran(api: ApiClient, make: Make) -> None:
    thread = (await make())["thread_id"]
    assert (await api.get(f"/threads/{thread}/history?limit=10")).json() == []


@pytest.mark.parametrize(("query", "status"), [("?limit=x", 422), ("?limit=-1", 200), ("?limit=" + "9" * 30, 200)])
async def test_odd_limits(api: ApiClient, run: Run, query: str, status: int) -> None:
    assert (await api.get(f"/threads/{run.thread_id}/history{query}")).status_code == status


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": 1001}, {"before": {"x": 1}}, {"before": 5}, {"metadata": []}])
async def test_bad_bodies(api: ApiClient, run: Run, body: Any) -> None:
    assert (await api.post(f"/threads/{run.thread_id}/history", json=body)).status_code == 422


async def test_history_of_a_subgraph(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_below", input={"log": []})
    [task] = (await get(api, run))[0]["tasks"]
    below = await post(api, run, limit=9, checkpoint={"checkpoint_ns": task["checkpoint"]["checkpoint_ns"]})
    assert steps(below) == [0, -1]
    assert {state["checkpoint"]["checkpoint_ns"] for state in below} == {task["checkpoint"]["checkpoint_ns"]}
    older = await post(
        api,
        run,
        limit=9,
        checkpoint={"checkpoint_ns": task["checkpoint"]["checkpoint_ns"]},
        before=below[0]["checkpoint"],
    )
    assert steps(older) == [-1]


@pytest.mark.parametrize("before", ["zzz", "0", "☃"])
async def test_what_is_no_checkpoint_id_comes_before_nothing(api: ApiClient, run: Run, before: str) -> None:
    assert steps(await get(api, run, f"?limit=9&before={before}")) == [2, 1, 0, -1]
    assert steps(await post(api, run, limit=9, before=before)) == [2, 1, 0, -1]


@pytest.mark.parametrize("namespace", ["nope:1", "child"])
async def test_unknown_subgraph_has_no_history(api: ApiClient, run: Run, namespace: str) -> None:
    assert await post(api, run, limit=9, checkpoint={"checkpoint_ns": namespace}) == []


async def test_a_filter_of_any_number_of_keys(api: ApiClient, principal: Principal) -> None:
    """SQLite takes expressions of a thousand levels."""
    run = await run_to_end(principal, "log", input={"log": []})
    path = f"/threads/{run.thread_id}/history"
    some = {f"k{number}": number for number in range(5_000)}
    assert (await api.post(path, json={"metadata": some, "limit": 10})).json() == []
    many = {f"key{number}": number for number in range(100_000)}
    answer = await api.post(path, json={"metadata": many})
    assert answer.status_code == 422
    assert "at most 100000 bytes" in answer.json()["detail"]
