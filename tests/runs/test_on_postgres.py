"""Multitask strategies and rollback on PostgreSQL, where posts, ends of runs and checkpoints meet in one database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.live import CONTRACT_CONFIG, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres
POSTS = 30


@pytest.fixture
async def http(tmp_path: Path, postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811
    server = LiveServer(CONTRACT_CONFIG, tmp_path, {"DATABASE_URL": postgres_url}).start()
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        yield client
    server.stop()


async def wait(http: httpx.AsyncClient, thread: str, graph: str, **body: Any) -> Any:
    return (await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": graph, **body})).json()


async def new_thread(http: httpx.AsyncClient) -> str:
    return str((await http.post("/threads", json={})).json()["thread_id"])


async def many(http: httpx.AsyncClient, strategy: str) -> None:
    """Posts at once on one thread: the state and the runs that are left fit together."""
    thread = await new_thread(http)
    body = {"assistant_id": "slow", "input": {"ticks": 1, "delay": 0.01}, "multitask_strategy": strategy}
    answers = await asyncio.gather(*(http.post(f"/threads/{thread}/runs", json=body) for _ in range(POSTS)))
    assert {answer.status_code for answer in answers} <= ({200, 409} if strategy == "reject" else {200})
    last = (await wait(http, thread, "slow", input={"ticks": 1, "delay": 0.01}))["seen"]
    runs = (await http.get(f"/threads/{thread}/runs?limit=1000&select=status")).json()
    ends = [run["status"] for run in runs]
    assert set(ends) <= ({"success", "interrupted"} if strategy == "interrupt" else {"success"})
    if strategy == "interrupt":
        # A run may have been interrupted after its last step.
        assert ends.count("success") <= last.count("done") <= last.count("warm") <= len(runs)
    else:
        assert last == ["warm", "done"] * len(runs)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert (state["values"]["seen"], state["next"]) == (last, [])


async def answered_question_waits_again(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)

    async def seen() -> Any:
        shown = (await http.get(f"/threads/{thread}")).json()
        state = (await http.get(f"/threads/{thread}/state")).json()
        return {name: shown[name] for name in ("status", "values", "interrupts")}, state

    await wait(http, thread, "approval", input={"request": "r"})
    before = await seen()
    assert before[0]["status"] == "interrupted"
    values = await wait(http, thread, "approval", command={"resume": "yes"})
    assert values["decision"] == "yes"
    [newest, _] = (await http.get(f"/threads/{thread}/runs")).json()
    assert (await http.delete(f"/threads/{thread}/runs/{newest['run_id']}")).status_code == 204
    assert await seen() == before


async def a_new_thread_is_made_once(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "counter", "input": {"count": 1}, "if_not_exists": "create"}
    thread = uuid4()
    answers = await asyncio.gather(*(http.post(f"/threads/{thread}/runs", json=body) for _ in range(POSTS)))
    assert {answer.status_code for answer in answers} == {200}
    assert len((await http.get(f"/threads/{thread}/runs?limit=1000")).json()) == POSTS


async def bulk_cancels_meet_posts_and_ends(http: httpx.AsyncClient) -> None:
    threads = [await new_thread(http) for _ in range(10)]
    body = {"assistant_id": "slow", "input": {"ticks": 2, "delay": 0.05}}
    paths = [f"/threads/{thread}/runs" for thread in threads] * 3
    cancels = [http.post("/runs/cancel", json={"status": "all"}) for _ in range(5)]
    answers = await asyncio.gather(*(http.post(path, json=body) for path in paths), *cancels)
    assert {answer.status_code for answer in answers} <= {200, 204, 404}
    for thread in threads:
        assert (await wait(http, thread, "slow", input={"ticks": 1, "delay": 0.01}))["seen"][-1] == "done"


async def test_posts_at_once_and_rollback(http: httpx.AsyncClient) -> None:
    for strategy in ("enqueue", "reject", "interrupt", "rollback"):
        await many(http, strategy)
    await asyncio.gather(*(many(http, "rollback") for _ in range(3)), *(many(http, "interrupt") for _ in range(3)))
    await a_new_thread_is_made_once(http)
    await bulk_cancels_meet_posts_and_ends(http)
    await answered_question_waits_again(http)
