"""Those who wait for a run are answered although its events were forgotten before they began to listen."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from platform_site.access.models import Workspace
from platform_site.core.database.access import in_db, read_db
from platform_site.core.events.configured import event_log
from platform_site.core.events.memory import MemoryEventLog
from runs import api as views
from runs.engine.engine import Engine
from runs.models import Run
from runs.services import CreatedRun
from tests.api_client import ApiClient
from tests.runs.conftest import Gate
from tests.runs.conftest import api as api
from tests.runs.graphs import script

# A view that never answers is not to hold up the tests.
PATIENCE = 30


@pytest.fixture
def log() -> MemoryEventLog:
    found = event_log()
    assert isinstance(found, MemoryEventLog)
    return found


@pytest.fixture(params=["time", "weight"])
def forgetful(request: pytest.FixtureRequest, log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch) -> MemoryEventLog:
    """A log that forgets a run as soon as it ends: because it keeps nothing for any time, or nothing so large."""
    if request.param == "time":
        # Logs are forgotten in the order of their ends: those of tests before this one would be in the way.
        monkeypatch.setattr(log, "_finished", deque())
        monkeypatch.setattr(log, "_finished_resumable", deque())
        monkeypatch.setattr(log, "_ttl", 0)
        monkeypatch.setattr(log, "_resumable_ttl", 0)
    else:
        monkeypatch.setattr(log._budget, "bytes", 100)
        monkeypatch.setattr(log._budget, "limit", 100)
    return log


async def _until_forgotten(log: MemoryEventLog, run_id: Any) -> None:
    def is_in_work() -> bool:
        return Run.objects.filter(run_id=run_id, workspace=Workspace.objects.get(), finished_at=None).exists()

    while await read_db(is_in_work):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    while (found := log._logs.get(str(run_id))) is not None and not (
        found.dropped or found.waiting or (found.closed and found.lost)
    ):
        # Its end is told after it is written. Of a log that is read all events but the newest are forgotten.
        await asyncio.sleep(0.01)
        log.expire()


@pytest.fixture
def slow_view(forgetful: MemoryEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that a view makes has ended, and is forgotten, when the view goes on."""

    async def slowly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        made = await in_db(function, *args, **kwargs)
        if isinstance(made, CreatedRun):
            await _until_forgotten(forgetful, made.run_id)
        return made

    monkeypatch.setattr(views, "in_db", slowly)


async def answer(asked: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(asked, PATIENCE)


@pytest.mark.usefixtures("slow_view")
@pytest.mark.parametrize("is_stateless", [False, True])
async def test_wait(api: ApiClient, engine: Engine, is_stateless: bool) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    path = "/runs/wait" if is_stateless else f"/threads/{thread}/runs/wait"
    found = await answer(api.post(path, json={"assistant_id": "log", "input": {"log": ["x" * 2000]}}))
    assert found.json()["log"][1:] == ["one", "two"]


@pytest.mark.usefixtures("slow_view")
@pytest.mark.parametrize("is_stateless", [False, True])
async def test_stream(api: ApiClient, engine: Engine, is_stateless: bool) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    path = "/runs/stream" if is_stateless else f"/threads/{thread}/runs/stream"
    found = await answer(api.post(path, json={"assistant_id": "log", "input": {"log": ["x" * 2000]}}))
    assert found.status_code == 200
    assert "event: values" in found.text


@pytest.mark.parametrize("verb", ["join", "stream"])
async def test_join_of_a_run_that_ends_while_the_view_looks(
    api: ApiClient, engine: Engine, forgetful: MemoryEventLog, monkeypatch: pytest.MonkeyPatch, gate: Gate, verb: str
) -> None:
    async def pause(*args: Any) -> str:
        await gate.pause(*args)
        return "x" * 2000

    with script("pause", pause):
        thread = (await api.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "scripted", "input": {"do": "pause"}}
        run = (await api.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]

        async def ends_meanwhile(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            found = await read_db(function, *args, **kwargs)
            gate.open.set()
            await _until_forgotten(forgetful, run)
            return found

        monkeypatch.setattr(views, "read_db", ends_meanwhile)
        found = await answer(api.get(f"/threads/{thread}/runs/{run}/{verb}"))
    assert found.status_code == 200
    if verb == "join":
        assert found.json()["log"] == ["begun"]


async def test_run_that_is_refused_leaves_no_log(api: ApiClient, engine: Engine, log: MemoryEventLog) -> None:
    kept = log.kept
    for verb in ("wait", "stream"):
        answer = await api.post(f"/runs/{verb}", json={"assistant_id": "nobody"})
        assert answer.status_code == 422
    assert log.kept == kept
