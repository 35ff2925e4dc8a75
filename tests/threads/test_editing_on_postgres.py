"""Changes of a thread's state by hand through several web processes, on PostgreSQL."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.live import CONTRACT_CONFIG, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres
CHANGES = 10


@pytest.fixture
async def servers(start_server: Callable[..., LiveServer], postgres_url: str) -> list[LiveServer]:  # noqa: F811
    """Two processes on one database."""
    return [start_server(CONTRACT_CONFIG, DATABASE_URL=postgres_url) for _ in range(2)]


async def test_changes_in_two_processes_are_made_one_after_the_other(servers: list[LiveServer]) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        thread = (await http.post(f"{servers[0].url}/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "slow", "input": {"ticks": 1, "delay": 0}}
        await http.post(f"{servers[0].url}/threads/{thread}/runs/wait", json=body)

        async def change(number: int) -> Any:
            given = {"values": {"seen": [str(number)]}, "as_node": "warm"}
            return await http.post(f"{servers[number % 2].url}/threads/{thread}/state", json=given)

        answers = await asyncio.gather(*(change(number) for number in range(CHANGES)))
        assert [answer.status_code for answer in answers] == [200] * CHANGES
        state = (await http.get(f"{servers[0].url}/threads/{thread}/state")).json()
        history = (await http.get(f"{servers[0].url}/threads/{thread}/history?limit=100")).json()
    assert sorted(word for word in state["values"]["seen"] if word.isdigit()) == sorted(map(str, range(CHANGES)))
    parents = {found["parent_checkpoint"]["checkpoint_id"] for found in history if found["parent_checkpoint"]}
    assert [found["checkpoint_id"] for found in history if found["checkpoint_id"] not in parents] == [
        state["checkpoint_id"]
    ]


async def test_change_and_run_at_once_fit_together(servers: list[LiveServer]) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        thread = (await http.post(f"{servers[0].url}/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "slow", "input": {"ticks": 1, "delay": 0}}
        place = f"/threads/{thread}"
        await http.post(f"{servers[0].url}{place}/runs/wait", json=body)
        made = 0
        for number in range(CHANGES):
            given = {"values": {"seen": [str(number)]}, "as_node": "warm"}
            change, run = await asyncio.gather(
                http.post(f"{servers[0].url}{place}/state", json=given),
                http.post(f"{servers[0].url}{place}/runs/wait", json=body),
            )
            assert (change.status_code in (200, 409), run.status_code) == (True, 200)
            made += change.status_code == 200
        seen = (await http.get(f"{servers[0].url}{place}/state")).json()["values"]["seen"]
    assert len([word for word in seen if word.isdigit()]) == made
    assert seen.count("done") == CHANGES + 1
