"""Threads whose time is over, on a server that sweeps all the time, on both databases."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.live import CONTRACT_CONFIG, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.rows import rows_of_threads

# Minutes: three seconds, and the fifth part of one.
TTL, SWEEP = 0.05, 0.003


@dataclass
class Sweeping:
    """A server that sweeps all the time, and where it keeps its rows."""

    server: LiveServer
    place: Path | str

    def rows(self) -> dict[str, int]:
        return rows_of_threads(self.place)


def config(directory: Path, **ttl: Any) -> Path:
    """A langgraph.json with the graphs of the contract and this `checkpointer.ttl`."""
    written = json.loads(CONTRACT_CONFIG.read_text())
    place = CONTRACT_CONFIG.parent
    graphs = {name: path.replace("./", f"{place}/") for name, path in written["graphs"].items()}
    section = {"ttl": {"sweep_interval_minutes": SWEEP, **ttl}}
    path = directory / "langgraph.json"
    path.write_text(json.dumps({"dependencies": [str(place)], "graphs": graphs, "checkpointer": section}))
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def sweeping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sweeping]:
    environment, place = {}, tmp_path / "data"
    if request.param == "postgres":
        environment["DATABASE_URL"] = place = request.getfixturevalue("postgres_url")
    server = LiveServer(config(tmp_path, default_ttl=TTL), tmp_path, environment)
    yield Sweeping(server.start(), place)
    server.stop()


@pytest.fixture
async def http(sweeping: Sweeping) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sweeping.server.url, timeout=60) as client:
        yield client


async def until_gone(http: httpx.AsyncClient, thread: str) -> None:
    async with asyncio.timeout(60):
        while (await http.get(f"/threads/{thread}")).status_code != 404:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def new_thread(http: httpx.AsyncClient, **fields: Any) -> str:
    return str((await http.post("/threads", json=fields)).json()["thread_id"])


async def use(http: httpx.AsyncClient, thread: str) -> None:
    """Runs and changes of state until the thread's end; each is refused or has its effect."""
    while True:
        body = {"assistant_id": "approval", "input": {"request": "r"}}
        answers = [await http.post(f"/threads/{thread}/runs/wait", json=body)]
        answers.append(await http.post(f"/threads/{thread}/state", json={"values": {"decision": "by hand"}}))
        codes = [answer.status_code for answer in answers]
        assert set(codes) <= {200, 404, 409}
        if codes[0] == 200:
            assert "__error__" not in answers[0].json()
        if 404 in codes:
            return
        # About as long as the thread lives: often it is just over.
        await asyncio.sleep(TTL * 60 * random.uniform(0.98, 1.1))


async def test_nothing_is_left_of_threads_that_are_over(sweeping: Sweeping, http: httpx.AsyncClient) -> None:
    threads = [await new_thread(http, metadata={"owner": "me"}) for _ in range(8)]
    for thread in threads[:4]:
        await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "approval", "input": {"request": "r"}})
        await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "approval", "command": {"resume": "y"}})
    copied = (await http.post(f"/threads/{threads[0]}/copy")).json()["thread_id"]
    made_by_run = str(uuid4())
    body = {"assistant_id": "counter", "input": {"count": 1}, "if_not_exists": "create"}
    await http.post(f"/threads/{made_by_run}/runs/wait", json=body)
    for thread in (*threads, copied, made_by_run):
        await until_gone(http, thread)
    assert sweeping.rows() == {}


async def test_late_writes_bring_nothing_back(sweeping: Sweeping, http: httpx.AsyncClient) -> None:
    threads = [await new_thread(http, metadata={"graph_id": "approval"}) for _ in range(10)]
    await asyncio.wait_for(asyncio.gather(*(use(http, thread) for thread in threads)), 120)
    for thread in threads:
        await until_gone(http, thread)
    assert sweeping.rows() == {}
    assert "Traceback" not in sweeping.server.log


async def test_run_that_takes_longer_keeps_its_thread(sweeping: Sweeping, http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    body = {"assistant_id": "slow", "input": {"ticks": 4, "delay": TTL * 60 / 2}}
    values = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert values["seen"][-1] == "done"
    assert (await http.get(f"/threads/{thread}/state")).json()["values"] == values
    await until_gone(http, thread)


async def test_thread_with_a_longer_time_of_its_own_stays_and_loses_its_past(
    sweeping: Sweeping, http: httpx.AsyncClient
) -> None:
    long = await new_thread(http, ttl={"ttl": 600})
    pruned = await new_thread(http, ttl={"ttl": TTL, "strategy": "keep_latest"})
    short = await new_thread(http)
    for thread in (long, pruned, short):
        await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "counter", "input": {"count": 1}})
    await until_gone(http, short)
    async with asyncio.timeout(60):
        while len((await http.post(f"/threads/{pruned}/history", json={"limit": 9})).json()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (await http.get(f"/threads/{pruned}/state")).json()["values"]["count"] == 4
    assert len((await http.post(f"/threads/{long}/history", json={"limit": 9})).json()) == 4
