"""A run that is rolled back or deleted leaves no trace, also not on the checkpoints of the runs before it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from runs.cancel import Removal, run_delete
from runs.engine.attempt import Attempt
from runs.engine.engine import Engine
from runs.engine.stopping import Stop
from runs.engine.sweep import finish_removals
from runs.models import PendingInterrupt, Run
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, claim, create, eventually, run_to_end, use_engine
from tests.runs.conftest import api as api
from tests.runs.graphs import script
from threads.models import Thread

PAUSE = {"do": "pause"}


async def seen(api: ApiClient, run: Run) -> Any:
    """All that can be seen of a thread's state."""
    thread = (await api.get(f"/threads/{run.thread_id}")).json()
    state = (await api.get(f"/threads/{run.thread_id}/state?subgraphs=true")).json()
    history = (await api.post(f"/threads/{run.thread_id}/history", json={"limit": 100})).json()
    questions = await in_db(lambda: list(PendingInterrupt.objects.order_by("pk").values()))
    mirror = {name: thread[name] for name in ("status", "values", "interrupts")}
    return mirror, state, history, questions


async def delete(api: ApiClient, run: Run) -> None:
    assert (await api.delete(f"/threads/{run.thread_id}/runs/{run.run_id}")).status_code == 204


async def roll_back(api: ApiClient, run: Run) -> None:
    path = f"/threads/{run.thread_id}/runs/{run.run_id}/cancel"
    assert (await api.post(path, params={"wait": "true", "action": "rollback"})).status_code == 200


# --- an interrupt that the run had answered waits again -----------------------------------------------------


@pytest.mark.parametrize("graph", ["ask_in_turn", "ask_twice", "ask_both", "ask_below", "ask_then_work"])
async def test_answered_question_waits_again_after_a_delete(api: ApiClient, principal: Principal, graph: str) -> None:
    with script("work", lambda *_: "worked"):
        asked = await run_to_end(principal, graph, input={"log": ["in"], "do": "work"})
        before = await seen(api, asked)
        assert before[0]["status"] == "interrupted"
        interrupts = [waiting for each in asked.thread.interrupts.values() for waiting in each]
        resume = {interrupts[0]["id"]: "yes"} if graph == "ask_both" else "yes"
        answered = await run_to_end(principal, graph, asked.thread_id, command={"resume": resume})
        assert answered.status == "success"
        assert await seen(api, asked) != before

        await delete(api, answered)

        assert await seen(api, asked) == before


async def test_question_that_waits_again_can_be_answered_otherwise(api: ApiClient, principal: Principal) -> None:
    asked = await run_to_end(principal, "ask_below", input={"log": []})
    first = await run_to_end(principal, "ask_below", asked.thread_id, command={"resume": "wrong"})
    await delete(api, first)
    await run_to_end(principal, "ask_below", asked.thread_id, command={"resume": "right"})
    ended = await run_to_end(principal, "ask_below", asked.thread_id, command={"resume": "last"})
    assert [word for word in ended.thread.values["log"] if word != "before"] == ["right", "last", "after"]
    assert ended.thread.status == "idle"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("undo", [delete, roll_back])
async def test_answered_question_waits_again_after_a_run_in_work_is_undone(
    api: ApiClient, principal: Principal, gate: Gate, undo: Callable[[ApiClient, Run], Awaitable[None]]
) -> None:
    with script("pause", gate.pause):
        asked = await in_db(create, principal, "ask_then_work", input=PAUSE)
        await asyncio.to_thread(eventually, lambda: Run.objects.get(pk=asked.pk).finished_at)
        before = await seen(api, asked)
        run = await in_db(create, principal, "ask_then_work", asked.thread_id, command={"resume": "yes"})
        assert await asyncio.to_thread(gate.reached.wait, 10)

        await undo(api, run)

        assert await seen(api, asked) == before
    assert await in_db(lambda: list(Run.objects.values_list("run_id", flat=True))) == [asked.run_id]


@pytest.mark.usefixtures("engine")
async def test_run_that_was_cancelled_and_whose_node_runs_on_can_be_deleted(
    api: ApiClient, principal: Principal, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.api.DELETE_PATIENCE_SECONDS", 0.01)
    with script("wait", gate.wait):
        run = await in_db(create, principal, "scripted_thread", input={"do": "wait"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        path = f"/threads/{run.thread_id}/runs/{run.run_id}"
        await api.post(f"{path}/cancel")
        await delete(api, run)
        assert (await api.get(path)).status_code == 404
        assert await in_db(lambda: Run.objects.get(pk=run.pk).lease_owner) is not None
        gate.open.set()
        await asyncio.to_thread(eventually, lambda: gone(run))
    assert (await settled(run)).values is None


@pytest.mark.usefixtures("engine")
async def test_multitask_rollback_lets_the_new_run_answer(api: ApiClient, principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause), script("work", lambda *_: "worked"):
        asked = await in_db(create, principal, "ask_then_work", input=PAUSE)
        await asyncio.to_thread(eventually, lambda: Run.objects.get(pk=asked.pk).finished_at)
        await in_db(create, principal, "ask_then_work", asked.thread_id, command={"resume": "wrong"})
        assert await asyncio.to_thread(gate.reached.wait, 10)
        body = {"command": {"resume": "right", "update": {"do": "work"}}, "multitask_strategy": "rollback"}
        answer = await api.post(f"/threads/{asked.thread_id}/runs/wait", json={"assistant_id": "ask_then_work", **body})
    assert answer.json() == {"do": "work", "log": ["right"], "done": "worked"}


async def test_a_node_that_failed_again_has_its_first_error_back(api: ApiClient, principal: Principal) -> None:
    def fail(word: str) -> Callable[..., None]:
        def failing(*_: Any) -> None:
            raise ValueError(word)

        return failing

    with script("fail", fail("first")):
        failed = await run_to_end(principal, "scripted", input={"do": "fail"})
    before = await seen(api, failed)
    with script("fail", fail("second")):
        again = await run_to_end(principal, "scripted", failed.thread_id)

    await delete(api, again)

    assert await seen(api, failed) == before


# --- nothing of a run that was begun stays, however its process ended ------------------------------------------


async def begun_and_given_back(principal: Principal, gate: Gate, **fields: Any) -> Run:
    """A run between two attempts: pending, with checkpoints on its thread."""
    run = await in_db(create, principal, "scripted", input=PAUSE, durability="sync", **fields)
    attempt = Attempt(await in_db(claim, run), lambda: None)
    execution = asyncio.create_task(attempt.execute())
    assert await asyncio.to_thread(gate.reached.wait, 10)
    attempt.stop(Stop.DRAIN)
    await execution
    await in_db(run.refresh_from_db)
    assert (run.status, run.lease_owner) == ("pending", None)
    assert await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)
    return run


def gone(run: Run) -> bool:
    return not Run.objects.filter(pk=run.pk).exists()


async def settled(run: Run) -> Thread:
    def free() -> Thread | None:
        return Thread.objects.filter(pk=run.thread_id).exclude(status="busy").first()

    return await asyncio.to_thread(eventually, free)


@contextmanager
def at_work(monkeypatch: pytest.MonkeyPatch, capacity: int = 500) -> Iterator[Engine]:
    """An engine that begins its work here; with no capacity it makes no attempts."""
    engine = use_engine(monkeypatch, Engine())
    engine.capacity = capacity
    engine.start()
    try:
        yield engine
    finally:
        engine.drain(0)


async def test_pending_run_that_was_begun_is_rolled_back_with_its_checkpoints(
    api: ApiClient, principal: Principal, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with script("pause", gate.pause):
        run = await begun_and_given_back(principal, gate)
        with at_work(monkeypatch, capacity=0):
            await roll_back(api, run)
            await asyncio.to_thread(eventually, lambda: gone(run))
    assert not await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)
    thread = await settled(run)
    assert (thread.status, thread.values) == ("idle", None)


@pytest.mark.parametrize("undo", [delete, roll_back])
async def test_nothing_comes_between_the_call_and_the_end_of_the_roll_back(
    api: ApiClient,
    principal: Principal,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    undo: Callable[[ApiClient, Run], Awaitable[None]],
) -> None:
    with script("pause", gate.pause):
        run = await begun_and_given_back(principal, gate)
        # The process dies before it gets to it: its engine does not work.
        undoing = asyncio.ensure_future(undo(api, run))
        await asyncio.to_thread(eventually, lambda: Run.objects.get(pk=run.pk).lease_owner)
        following = await in_db(create, principal, "log", run.thread_id, input={"log": ["new"]})
        assert await in_db(lambda: Run.objects.get(pk=following.pk).status) == "pending"
        assert (await api.get(f"/threads/{run.thread_id}/runs/{run.run_id}")).status_code == 404
        with at_work(monkeypatch):
            thread = await settled(run)
            await undoing
    assert thread.values == {"log": ["new", "one", "two"]}
    assert await in_db(gone, run)
    assert not await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)


async def test_a_crash_during_a_roll_back_is_made_good_by_the_sweep(
    api: ApiClient, principal: Principal, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with script("pause", gate.pause):
        run = await begun_and_given_back(principal, gate)
        await in_db(claim, run, "a process that dies")
        await api.post(f"/threads/{run.thread_id}/runs/{run.run_id}/cancel?action=rollback")
        with at_work(monkeypatch):
            await asyncio.to_thread(eventually, lambda: gone(run))
    assert not await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)
    assert (await settled(run)).values is None


async def test_interrupted_between_two_attempts_the_run_keeps_its_steps(
    api: ApiClient, principal: Principal, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with script("pause", gate.pause):
        run = await begun_and_given_back(principal, gate)
        with at_work(monkeypatch, capacity=0):
            await api.post(f"/threads/{run.thread_id}/runs/{run.run_id}/cancel", params={"wait": "true"})
            await asyncio.to_thread(eventually, lambda: Thread.objects.get(pk=run.thread_id).values)
    await in_db(run.refresh_from_db)
    thread = await settled(run)
    assert (run.status, run.error_class, run.lease_owner) == ("interrupted", "UserInterrupt", None)
    assert (thread.status, thread.values) == ("interrupted", {"do": "pause", "log": ["begun"]})


async def test_the_sweep_finishes_a_delete_that_a_crash_cut_off(api: ApiClient, principal: Principal) -> None:
    kept = await run_to_end(principal, "log", input={"log": ["kept"]})
    run = await run_to_end(principal, "log", kept.thread_id, input={"log": ["gone"]})
    assert await in_db(run_delete, principal, run.thread_id, run.run_id) is Removal.HIDDEN
    assert (await api.get(f"/threads/{run.thread_id}/runs/{run.run_id}")).status_code == 404
    await finish_removals()
    assert await in_db(gone, run)
    assert (await settled(run)).values == kept.thread.values
    assert not await checkpoints().has_checkpoint_of_run(run.thread_id, run.run_id)


# --- the thread's status -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_thread_has_the_status_of_its_state_when_a_pending_run_is_cancelled(
    api: ApiClient, principal: Principal, action: str
) -> None:
    # A static interrupt, which does not show among the thread's interrupts.
    stopped = await run_to_end(principal, "log", input={"log": []}, interrupt_before=["two"])
    assert (stopped.thread.status, stopped.thread.interrupts) == ("interrupted", {})
    pending = await in_db(create, principal, "log", stopped.thread_id)
    await api.post(f"/threads/{pending.thread_id}/runs/{pending.run_id}/cancel", params={"action": action})
    assert (await api.get(f"/threads/{pending.thread_id}")).json()["status"] == "interrupted"


async def test_thread_stays_failed_when_an_earlier_run_is_deleted(api: ApiClient, principal: Principal) -> None:
    first = await run_to_end(principal, "log", input={"log": []})
    failed = await run_to_end(principal, "scripted", first.thread_id, input={"do": "unknown"})
    assert failed.thread.status == "error"
    await delete(api, first)
    thread = (await api.get(f"/threads/{first.thread_id}")).json()
    assert (thread["status"], thread["error"]["error"]) == ("error", "KeyError")


async def test_pending_stateless_run_takes_its_thread_along(api: ApiClient, principal: Principal) -> None:
    run = (await api.post("/runs", json={"assistant_id": "log", "after_seconds": 3600})).json()
    await api.post(f"/threads/{run['thread_id']}/runs/{run['run_id']}/cancel")
    assert (await api.get(f"/threads/{run['thread_id']}")).status_code == 404
    assert await in_db(Run.objects.count) == 0
