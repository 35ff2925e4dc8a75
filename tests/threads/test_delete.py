"""DELETE /threads/{thread_id}: nothing is left and nothing comes back."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import IS_POSTGRES, in_db
from runs.engine.engine import Engine
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, create, eventually, run_to_end, table_counts
from tests.runs.conftest import engine as engine
from tests.runs.conftest import gate as gate
from tests.runs.graphs import script
from threads import services
from threads.models import Thread, ThreadTombstone

TABLES = ["threads_thread", "threads_threadtombstone", "runs_run", "runs_runattempt", "runs_runspan",
          "runs_pendinginterrupt"]  # fmt: skip
if not IS_POSTGRES:
    TABLES.append("threads_metadata_term")


async def kept(thread_id: UUID) -> int:
    """How many checkpoints and writes there are of the thread."""
    config: Any = {"configurable": {"thread_id": str(thread_id)}}
    found = [item async for item in checkpoints().saver().alist(config)]
    return len(found) + len(await checkpoints().command_writes(thread_id))


@pytest.fixture(autouse=True)
def _constraints_hold(transactional_db: None) -> Iterator[None]:
    yield
    connection.check_constraints()


async def test_nothing_is_left(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_twice", input={"log": []}, metadata={"a": 1})
    await run_to_end(principal, "ask_twice", run.thread_id, command={"resume": 1})
    answer = await api.delete(f"/threads/{run.thread_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert await in_db(table_counts, *TABLES) == dict.fromkeys(TABLES, 0)
    assert await kept(run.thread_id) == 0


async def test_other_threads_stay(api: ApiClient, principal: Principal) -> None:
    gone = await run_to_end(principal, "log", input={"log": []})
    other = await run_to_end(principal, "log", input={"log": []})
    await api.delete(f"/threads/{gone.thread_id}")
    assert (await api.get(f"/threads/{other.thread_id}/state")).json()["values"] == {"log": ["one", "two"]}


async def test_unknown_thread(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.delete(f"/threads/{unknown}")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {unknown} not found")


async def test_thread_of_another_workspace(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    assert await in_db(services.delete_threads, [run.thread_id], workspace_id=principal.workspace_id + 1) == 0
    assert await in_db(Thread.objects.count) == 1


async def test_running_run_ends_and_writes_nothing_more(
    api: ApiClient, principal: Principal, engine: Engine, gate: Gate
) -> None:
    with script("wait", gate.wait):
        # A synchronous node: it goes on after the delete and returns a result that must not be stored.
        run = await in_db(create, principal, "scripted_thread", input={"do": "wait"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        assert (await api.delete(f"/threads/{run.thread_id}")).status_code == 204
        gate.open.set()
        await asyncio.to_thread(eventually, lambda: engine.active == 0)
    assert await kept(run.thread_id) == 0
    assert await in_db(Thread.objects.count) == await in_db(Run.objects.count) == 0


async def test_what_a_crash_left_is_finished_by_the_sweep(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": []})

    def crash(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as context:
        context.setattr(type(checkpoints()), "delete_portion_sync", crash)
        await in_db(services.delete_threads, [run.thread_id], workspace_id=principal.workspace_id)
    assert await in_db(Thread.objects.count) == 0
    assert await in_db(ThreadTombstone.objects.count) == 1
    await in_db(services.finish_deletes)
    assert await in_db(ThreadTombstone.objects.count) == 0
    assert await kept(run.thread_id) == 0


async def test_id_can_be_used_again(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["old"]})
    own = str(run.thread_id)
    await api.delete(f"/threads/{own}")
    await api.post("/threads", json={"thread_id": own, "metadata": {"graph_id": "log"}})
    assert (await api.get(f"/threads/{own}/state")).json()["values"] == {}
    assert (await api.delete(f"/threads/{own}")).status_code == 204
