"""`multitask_strategy`: what becomes of a thread's runs when another is posted."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from runs.engine.engine import Engine
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, claim, create, ended, eventually
from tests.runs.conftest import api as api
from tests.runs.graphs import script
from threads.models import Thread

IN_USE = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
PAUSE = {"do": "pause"}
POSTS = 50


async def post(api: ApiClient, run: Run, verb: str = "", **body: Any) -> Any:
    return await api.post(f"/threads/{run.thread_id}/runs{verb}", json={"assistant_id": "log", **body})


async def shown(api: ApiClient, run: Run) -> Any:
    return await api.get(f"/threads/{run.thread_id}/runs/{run.run_id}")


async def thread_of(run: Run) -> Thread:
    return await in_db(Thread.objects.get, pk=run.thread_id)


async def row(run_id: str) -> Run:
    return await in_db(Run.objects.get, run_id=run_id)


# --- many posts at once ----------------------------------------------------------------------------------


class Census:
    """Counts the attempts that are in their node at the same time, and remembers in which order they came."""

    def __init__(self) -> None:
        self.alive = 0
        self.most = 0
        self.order: list[str] = []
        self._lock = threading.Lock()

    def _enter(self, config: RunnableConfig) -> None:
        with self._lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
            self.order.append(str(config["metadata"]["run_id"]))

    def _leave(self) -> None:
        with self._lock:
            self.alive -= 1

    async def pause(self, state: Any, config: RunnableConfig) -> str:
        self._enter(config)
        try:
            await asyncio.sleep(0.005)
        finally:
            self._leave()
        return "done"

    def sleep(self, state: Any, config: RunnableConfig) -> str:
        self._enter(config)
        try:
            # A cancel cannot stop it.
            time.sleep(0.02)
        finally:
            self._leave()
        return "done"


@pytest.fixture(params=["scripted", "scripted_thread"])
def counted(request: pytest.FixtureRequest) -> Iterator[tuple[str, Census]]:
    """A graph with an asynchronous node, and one with a synchronous node."""
    census = Census()
    with script("count", census.pause if request.param == "scripted" else census.sleep):
        yield request.param, census


async def post_many(api: ApiClient, principal: Principal, graph: str, strategy: str) -> tuple[list[Any], list[Run]]:
    """Fifty posts at once on one thread; their answers and the runs that are left when all have ended."""
    thread = await in_db(lambda: Thread.objects.create(workspace_id=principal.workspace_id))
    body = {"assistant_id": graph, "input": {"do": "count"}, "multitask_strategy": strategy}
    answers = await asyncio.gather(*(api.post(f"/threads/{thread.pk}/runs", json=body) for _ in range(POSTS)))

    def all_ended() -> bool:
        return not Run.objects.filter(thread=thread).exclude(finished_at__isnull=False, lease_owner=None).exists()

    await asyncio.to_thread(eventually, all_ended, 60)
    assert (await in_db(Thread.objects.get, pk=thread.pk)).status != "busy"
    return answers, await in_db(lambda: list(Run.objects.filter(thread=thread).order_by("sequence")))


@pytest.mark.usefixtures("engine")
async def test_enqueued_runs_come_in_order_one_at_a_time(
    api: ApiClient, principal: Principal, counted: tuple[str, Census]
) -> None:
    graph, census = counted
    answers, runs = await post_many(api, principal, graph, "enqueue")
    assert {answer.status_code for answer in answers} == {200}
    assert [run.status for run in runs] == ["success"] * POSTS
    assert census.order == [str(run.run_id) for run in runs]
    assert census.most == 1


@pytest.mark.usefixtures("engine")
async def test_rejected_posts_leave_nothing(api: ApiClient, principal: Principal, counted: tuple[str, Census]) -> None:
    graph, census = counted
    answers, runs = await post_many(api, principal, graph, "reject")
    accepted = {answer.json()["run_id"] for answer in answers if answer.status_code == 200}
    assert accepted == {str(run.run_id) for run in runs}
    assert {answer.status_code for answer in answers} == {200, 409}
    assert {run.status for run in runs} == {"success"}
    assert census.most == 1


@pytest.mark.usefixtures("engine")
async def test_interrupted_runs_are_kept_and_the_last_one_wins(
    api: ApiClient, principal: Principal, counted: tuple[str, Census]
) -> None:
    graph, census = counted
    answers, runs = await post_many(api, principal, graph, "interrupt")
    assert {answer.status_code for answer in answers} == {200}
    assert len(runs) == POSTS
    assert runs[-1].status == "success"
    assert {run.status for run in runs[:-1]} <= {"interrupted", "success"}
    assert census.most == 1


@pytest.mark.usefixtures("engine")
async def test_rolled_back_runs_are_gone_and_the_last_one_wins(
    api: ApiClient, principal: Principal, counted: tuple[str, Census]
) -> None:
    graph, census = counted
    answers, runs = await post_many(api, principal, graph, "rollback")
    assert {answer.status_code for answer in answers} == {200}
    assert {run.status for run in runs} == {"success"}
    thread = await thread_of(runs[-1])
    # One pass for each run that was not rolled back.
    assert thread.values == {"do": "count", "log": ["begun"] * len(runs), "done": "done"}
    assert census.most == 1
    states = (await api.post(f"/threads/{thread.pk}/history", json={"limit": 1000})).json()
    assert {state["metadata"]["run_id"] for state in states} == {str(run.run_id) for run in runs}


@pytest.mark.usefixtures("engine")
async def test_delayed_run_keeps_nobody_waiting(api: ApiClient, principal: Principal) -> None:
    delayed = await in_db(create, principal, "log", after_seconds=3600)
    answer = await post(api, delayed, "/wait", input={"log": ["new"]})
    assert answer.json()["log"] == ["new", "one", "two"]
    assert (await shown(api, delayed)).json()["status"] == "pending"
    assert (await thread_of(delayed)).status == "busy"


# --- reject ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["", "/stream", "/wait"])
async def test_reject_while_a_run_is_pending(api: ApiClient, principal: Principal, verb: str) -> None:
    run = await in_db(create, principal)
    answer = await post(api, run, verb, multitask_strategy="reject")
    assert (answer.status_code, answer.json()) == (409, {"detail": IN_USE})
    assert await in_db(Run.objects.count) == 1


async def test_reject_while_a_run_is_running(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    await in_db(claim, run)
    assert (await post(api, run, multitask_strategy="reject")).status_code == 409


async def test_a_cancelled_run_that_still_holds_the_thread_is_waited_for_not_rejected(
    api: ApiClient, principal: Principal
) -> None:
    run = await in_db(create, principal)
    await in_db(claim, run)
    await api.post(f"/threads/{run.thread_id}/runs/{run.run_id}/cancel")
    answer = await post(api, run, multitask_strategy="reject")
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    assert (await row(answer.json()["run_id"])).lease_owner is None


# --- interrupt -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_interrupted_run_keeps_its_finished_steps(api: ApiClient, principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input=PAUSE)
        assert await asyncio.to_thread(gate.reached.wait, 10)
        answer = await post(api, run, "/wait", multitask_strategy="interrupt", input={"log": ["new"]})
    assert answer.json()["log"] == ["begun", "new", "one", "two"]
    assert (await shown(api, run)).json()["status"] == "interrupted"
    assert (await thread_of(run)).status == "idle"


async def test_pending_runs_are_interrupted_at_once(api: ApiClient, principal: Principal) -> None:
    first = await in_db(create, principal)
    second = await in_db(create, principal, thread_id=first.thread_id)
    new = (await post(api, first, multitask_strategy="interrupt")).json()
    listed = (await api.get(f"/threads/{first.thread_id}/runs?select=run_id&select=status")).json()
    assert listed == [
        {"run_id": new["run_id"], "status": "pending"},
        {"run_id": str(second.run_id), "status": "interrupted"},
        {"run_id": str(first.run_id), "status": "interrupted"},
    ]
    assert (await thread_of(first)).status == "busy"


@pytest.mark.usefixtures("engine")
async def test_new_run_waits_until_the_synchronous_node_of_the_old_one_returns(
    api: ApiClient, principal: Principal, gate: Gate
) -> None:
    with script("wait", gate.wait):
        run = await in_db(create, principal, "scripted_thread", input={"do": "wait"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        answer = await post(api, run, multitask_strategy="interrupt", input={"log": ["new"]})
        assert (await shown(api, run)).json()["status"] == "interrupted"
        new = await row(answer.json()["run_id"])
        assert (new.status, new.lease_owner) == ("pending", None)
        gate.open.set()
        assert (await asyncio.to_thread(ended, new)).status == "success"
    assert (await thread_of(run)).values["log"] == ["begun", "new", "one", "two"]


# --- rollback --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_rolled_back_run_is_hidden_while_its_node_runs_on_and_leaves_nothing(
    api: ApiClient, principal: Principal, gate: Gate
) -> None:
    before = await in_db(create, principal, "log", input={"log": ["old"]})
    await asyncio.to_thread(ended, before)
    with script("wait", gate.wait):
        run = await in_db(create, principal, "scripted_thread", before.thread_id, input={"do": "wait"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        answer = await post(api, run, multitask_strategy="rollback", input={"log": ["new"]})
        assert (await shown(api, run)).status_code == 404
        listed = (await api.get(f"/threads/{run.thread_id}/runs?select=run_id")).json()
        assert listed == [{"run_id": answer.json()["run_id"]}, {"run_id": str(before.run_id)}]
        gate.open.set()
        new = await row(answer.json()["run_id"])
        assert (await asyncio.to_thread(ended, new)).status == "success"
    assert (await thread_of(run)).values == {"log": ["old", "one", "two", "new", "one", "two"]}
    assert await in_db(lambda: not Run.objects.filter(pk=run.pk).exists())
    assert not await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)


async def test_pending_runs_are_rolled_back_at_once(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal)
    new = (await post(api, run, multitask_strategy="rollback")).json()
    assert await in_db(lambda: [str(found.run_id) for found in Run.objects.all()]) == [new["run_id"]]


async def test_thread_that_was_only_waited_for_is_taken_at_once(
    api: ApiClient, principal: Principal, engine: Engine
) -> None:
    delayed = await in_db(create, principal, "log", after_seconds=3600)
    answer = await post(api, delayed, "/wait", multitask_strategy="interrupt", input={"log": ["new"]})
    assert answer.json()["log"] == ["new", "one", "two"]
    assert (await shown(api, delayed)).json()["status"] == "interrupted"
