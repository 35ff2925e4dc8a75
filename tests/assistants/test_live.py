"""Two workspaces and their default assistants on a started server, on SQLite and on PostgreSQL."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from platform_site.core.graphs.registry import default_assistant_id
from tests.live import CONTRACT_CONFIG, INHERITED, ROOT, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401

COUNTER = str(default_assistant_id("counter"))
PATH = f"/assistants/{COUNTER}"
AT_ONCE = 20


class Place(NamedTuple):
    server: LiveServer
    evil: httpx.AsyncClient
    victim: httpx.AsyncClient


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A server that asks for keys, and the admins of two workspaces."""
    settings = {"AUTH": "keys", "DATA_DIR": str(tmp_path / "data")}
    if request.param == "postgres":
        settings["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    command = [sys.executable, "-m", "tests.assistants.keys", "evil", "victim"]
    made = subprocess.run(command, cwd=ROOT, env={**inherited, **settings}, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-4000:]
    evil, victim = ({"X-Api-Key": key} for key in json.loads(made.stdout).values())
    server = LiveServer(CONTRACT_CONFIG, tmp_path, settings, headers=victim).start()
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=60, headers=evil) as ours,
        httpx.AsyncClient(base_url=server.url, timeout=60, headers=victim) as theirs,
    ):
        yield Place(server, ours, theirs)
    server.stop()


async def ran(http: httpx.AsyncClient) -> dict[str, Any]:
    """What a run of the default assistant was given, and has left in its thread."""
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "counter", "input": {"count": 1}}
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.status_code == 200, answer.text
    [run] = (await http.get(f"/threads/{thread}/runs")).json()
    assert (run["status"], run["assistant_id"]) == ("success", COUNTER)
    configurable: dict[str, Any] = run["kwargs"]["config"]["configurable"]
    return {"injected": configurable.get("injected"), "values": answer.json()}


async def threads(http: httpx.AsyncClient) -> int:
    found: int = (await http.post("/threads/count", json={})).json()
    return found


async def at_once(*calls: Any) -> list[int]:
    return sorted(answer.status_code for answer in await asyncio.gather(*calls))


async def test_what_an_admin_does_to_a_default_assistant_ends_at_the_workspace(place: Place) -> None:
    server, evil, victim = place
    before, plain = (await victim.get(PATH)).json(), await ran(victim)
    assert (await evil.patch(PATH, json={"context": {"injected": "by evil"}})).status_code == 200
    assert (await ran(evil))["injected"] == "by evil"
    assert ((await victim.get(PATH)).json(), await ran(victim)) == (before, plain)
    await asyncio.to_thread(server.restart)
    assert (await ran(evil))["injected"] == "by evil"
    assert ((await victim.get(PATH)).json(), await ran(victim)) == (before, plain)
    assert (await evil.delete(PATH + "?delete_threads=true")).status_code == 204
    assert (await threads(evil), await threads(victim)) == (0, 3)
    assert (await evil.post("/runs/wait", json={"assistant_id": "counter"})).status_code == 404
    assert ((await victim.get(PATH)).json(), await ran(victim)) == (before, plain)
    await asyncio.to_thread(server.restart)
    assert ((await evil.get(PATH)).json(), await ran(evil)) == (before, plain)
    assert (await victim.get(PATH)).json() == before


async def test_changes_at_once_make_one_shadow(place: Place) -> None:
    _, evil, victim = place
    assert await at_once(*(evil.patch(PATH, json={"name": str(n)}) for n in range(AT_ONCE))) == [200] * AT_ONCE
    versions = (await evil.post(PATH + "/versions", json={"limit": 100})).json()
    assert [version["version"] for version in versions] == list(range(AT_ONCE + 1, 0, -1))
    assert {version["name"] for version in versions} == {"counter", *map(str, range(AT_ONCE))}
    assert (await evil.post("/assistants/count", json={"graph_id": "counter"})).json() == 1
    assert (await victim.get(PATH)).json()["version"] == 1


async def test_deletes_and_creations_at_once_leave_one_or_none(place: Place) -> None:
    _, evil, victim = place
    body = {"graph_id": "echo", "assistant_id": COUNTER}
    assert await at_once(*(evil.delete(PATH) for _ in range(AT_ONCE))) == [204] + [404] * (AT_ONCE - 1)
    creations = (evil.post("/assistants", json=body) for _ in range(AT_ONCE))
    assert await at_once(*creations) == [200] + [409] * (AT_ONCE - 1)
    mixed = [evil.delete(PATH), evil.patch(PATH, json={}), evil.post("/assistants", json=body)] * 5
    assert set(await at_once(*mixed)) <= {200, 204, 404, 409}
    assert (await evil.post("/assistants/count", json={"graph_id": "counter"})).json() == 0
    assert (await evil.post("/assistants/count", json={"graph_id": "echo"})).json() in (1, 2)
    assert (await victim.get(PATH)).json()["graph_id"] == "counter"


async def test_an_id_that_is_another_workspaces_is_free(place: Place) -> None:
    _, evil, victim = place
    wanted = str(uuid4())
    for http, name in ((evil, "ours"), (victim, "theirs")):
        body = {"graph_id": "echo", "assistant_id": wanted, "name": name}
        assert (await http.post("/assistants", json=body)).status_code == 200
    assert (await evil.delete(f"/assistants/{wanted}")).status_code == 204
    assert (await victim.get(f"/assistants/{wanted}")).json()["name"] == "theirs"
