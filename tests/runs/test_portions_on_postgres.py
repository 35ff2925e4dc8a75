"""Limits and portions on PostgreSQL, where rows are locked one by one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.live import CONTRACT_CONFIG, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres
DELAYED = {"assistant_id": "slow", "input": {"ticks": 1, "delay": 0.01}, "after_seconds": 3600}


@pytest.fixture
async def http(tmp_path: Path, postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811
    environment = {"DATABASE_URL": postgres_url, "MAX_PENDING_RUNS": "900", "MAX_STATE_BYTES": "100000"}
    server = LiveServer(CONTRACT_CONFIG, tmp_path, environment).start()
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        yield client
    server.stop()


async def test_many_runs_are_cancelled_while_others_post(http: httpx.AsyncClient) -> None:
    answer = await http.post("/runs/batch", json=[DELAYED] * 850)
    assert answer.status_code == 200
    assert (await http.post("/runs/batch", json=[DELAYED] * 100)).status_code == 429
    cancels = [http.post("/runs/cancel", json={"status": "all"}) for _ in range(3)]
    threads = [(await http.post("/threads", json={})).json()["thread_id"] for _ in range(5)]
    posts = [http.post(f"/threads/{thread}/runs", json={**DELAYED, "after_seconds": 0}) for thread in threads]
    answers = await asyncio.gather(*cancels, *posts)
    assert {answer.status_code for answer in answers} <= {200, 204, 404}
    assert 204 in {answer.status_code for answer in answers[:3]}
    # The runs of the batch were stateless: nothing of them is left.
    await asyncio.gather(*(http.get(f"/threads/{thread}/runs") for thread in threads))
    assert (await http.post("/threads/count", json={})).json() == len(threads)
    assert (await http.post("/runs/batch", json=[DELAYED] * 850)).status_code == 200


async def test_a_state_that_is_too_large_fails_its_run(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": "x" * 200_000}]}}
    failed = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert failed["__error__"]["error"] == "StateTooLarge"
    assert "MAX_STATE_BYTES" in failed["__error__"]["message"]
    body["input"] = {"messages": [{"role": "user", "content": "small"}]}
    assert "__error__" not in (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()


async def test_the_brake_counts_guesses_in_the_database(http: httpx.AsyncClient) -> None:
    """Guesses at the same moment meet in one row."""
    page = await http.get("/dashboard/sign-in")
    token = page.cookies["csrftoken"]
    form = {"username": "admin", "password": "no", "csrfmiddlewaretoken": token}
    headers = {"Referer": str(page.url)}
    answers = await asyncio.gather(*(http.post("/dashboard/sign-in", data=form, headers=headers) for _ in range(20)))
    statuses = [answer.status_code for answer in answers]
    assert sorted(set(statuses)) == [422, 429]
    assert statuses.count(422) == 5
