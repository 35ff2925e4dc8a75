"""The engine of a server process: what it claims, when it wakes, how it stops."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.database import access as database
from platform_site.core.events.configured import event_log
from runs.cancel import run_cancel, run_delete
from runs.engine import engine as run_engine
from runs.engine import queue
from runs.engine.engine import Engine
from runs.models import Run, Worker
from tests.runs.conftest import Gate, claim, create, ended, eventually, use_engine
from tests.runs.graphs import script
from threads.models import Thread


@pytest.fixture
def pause(gate: Gate) -> Iterator[Gate]:
    """`{"do": "pause"}` waits at this gate."""
    with script("pause", gate.pause):
        yield gate


PAUSE: dict[str, Any] = {"input": {"do": "pause"}}


def status(run: Run) -> str:
    return Run.objects.get(pk=run.pk).status


# --- executing -------------------------------------------------------------------------------------


def test_run_is_executed_where_it_is_created(principal: Principal, engine: Engine) -> None:
    run = create(principal, input={"log": []})
    assert run.lease_owner is not None or run.finished_at is not None
    assert ended(run).status == "success"


def test_runs_of_a_thread_follow_each_other(principal: Principal, engine: Engine) -> None:
    first = create(principal, input={"log": ["a"]})
    others = [create(principal, thread_id=first.thread_id, input={"log": [word]}) for word in "bc"]
    for run in others:
        ended(run)
    values = Thread.objects.get(pk=first.thread_id).values
    assert [word for word in values["log"] if word in "abc"] == ["a", "b", "c"]


def test_run_that_was_pending_when_the_engine_started_is_executed(principal: Principal, idle_engine: Engine) -> None:
    run = create(principal, input={"log": []})
    idle_engine.start()
    try:
        assert ended(run).status == "success"
    finally:
        idle_engine.drain(0)


def test_delayed_run_is_executed_when_it_is_due(principal: Principal, engine: Engine, settings: Any) -> None:
    # The sweep would find it in the end; the dispatcher is to wake up for it.
    settings.SWEEP_SECONDS = 60
    run = create(principal, input={"log": []}, after_seconds=0.3)
    assert status(run) == "pending"
    started = ended(run).started_at
    assert started is not None
    assert started >= run.scheduled_at


def test_delayed_run_is_in_time_though_an_overdue_one_waits_for_its_thread(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any, pause: Gate
) -> None:
    settings.SWEEP_SECONDS = 60
    engine = use_engine(monkeypatch, Engine())
    engine.start()
    try:
        holding = create(principal, "scripted", **PAUSE)
        assert pause.reached.wait(10)
        create(principal, "log", holding.thread_id, input={"log": []})
        delayed = create(principal, input={"log": []}, after_seconds=0.3)
        assert ended(delayed).status == "success"
        assert status(holding) == "running"
    finally:
        pause.open.set()
        engine.drain(5)


def test_no_more_runs_than_the_capacity(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any, pause: Gate
) -> None:
    settings.CONCURRENCY = 2
    settings.SWEEP_SECONDS = 60
    engine = use_engine(monkeypatch, Engine())
    engine.start()
    eventually(engine.has_room)
    try:
        runs = [create(principal, "scripted", **PAUSE) for _ in range(4)]
        assert sorted(status(run) for run in runs) == ["pending", "pending", "running", "running"]
        assert engine.active == 2
        pause.open.set()
        # A slot that becomes free wakes the dispatcher; nobody waits for the sweep.
        assert [ended(run).status for run in runs] == ["success"] * 4
    finally:
        engine.drain(0)


def test_a_worker_has_a_thread_for_the_synchronous_node_of_each_run_it_takes(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CONCURRENCY = 1
    engine = use_engine(monkeypatch, Engine())
    # As `--concurrency` of a worker sets it.
    engine.capacity = 2
    meeting = threading.Barrier(2, timeout=10)
    engine.start()
    try:
        with script("meet", lambda *_: str(meeting.wait())):
            runs = [create(principal, "scripted_thread", input={"do": "meet"}) for _ in range(2)]
            assert [ended(run).status for run in runs] == ["success"] * 2
    finally:
        engine.drain(0)


# --- stopping single runs ----------------------------------------------------------------------------


def test_cancel_stops_a_run(principal: Principal, engine: Engine, pause: Gate) -> None:
    run = create(principal, "scripted", **PAUSE)
    assert pause.reached.wait(10)
    run_cancel(principal, run.thread_id, run.run_id)
    assert status(run) == "interrupted"
    assert ended(run).error_class == "UserInterrupt"
    assert pause.cancelled.is_set()


def test_cancel_that_comes_before_the_claim_is_handed_over_stops_the_run(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, engine: Engine, pause: Gate
) -> None:
    # As on PostgreSQL, where the commit of a claim is seen before its thread goes on.
    claims: list[Any] = []
    with monkeypatch.context() as patched:
        patched.setattr(engine, "accept", claims.append)
        run = create(principal, "scripted", **PAUSE)
    run_cancel(principal, run.thread_id, run.run_id)
    engine.accept(*claims)
    assert ended(run).error_class == "UserInterrupt"
    assert not pause.reached.is_set()


def test_cancel_frees_the_thread_for_its_next_run(principal: Principal, engine: Engine, pause: Gate) -> None:
    run = create(principal, "scripted", **PAUSE)
    assert pause.reached.wait(10)
    following = create(principal, "log", run.thread_id, input={"log": ["x"]})
    run_cancel(principal, run.thread_id, run.run_id)
    assert ended(following).status == "success"


def test_run_that_was_deleted_stops(principal: Principal, engine: Engine, pause: Gate) -> None:
    run = create(principal, "scripted", **PAUSE)
    assert pause.reached.wait(10)
    run_delete(principal, run.thread_id, run.run_id)
    assert pause.cancelled.wait(10)
    eventually(lambda: engine.active == 0)
    assert asyncio.run(event_log().is_closed(str(run.run_id)))


# --- taking up what was lost ---------------------------------------------------------------------------


def lost(principal: Principal, attempts: int = 1, graph_id: str = "scripted", **fields: Any) -> Run:
    """A run whose process died in its last attempt."""
    run = create(principal, graph_id, **(PAUSE | fields))
    claim(run, worker="died")
    Run.objects.filter(pk=run.pk).update(attempt=attempts)
    Worker.objects.filter(name="died").update(alive_until=timezone.now() - timedelta(hours=1))
    return run


def test_lost_runs_are_taken_up_one_at_a_time(
    principal: Principal, idle_engine: Engine, pause: Gate, settings: Any
) -> None:
    settings.RECOVERY_PROBATION_SECONDS = 60
    runs = [lost(principal) for _ in range(3)]
    idle_engine.start()
    try:
        assert pause.reached.wait(10)
        # Others do not wait for the recovery.
        assert ended(create(principal, "log", input={"log": []})).status == "success"
        assert [status(run) for run in runs] == ["running", "pending", "pending"]
        pause.open.set()
        assert [ended(run).attempt for run in runs] == [2, 2, 2]
    finally:
        idle_engine.drain(5)


def test_recovered_run_that_lives_lets_the_next_one_begin(
    principal: Principal, idle_engine: Engine, pause: Gate, settings: Any
) -> None:
    settings.RECOVERY_PROBATION_SECONDS = 0.1
    runs = [lost(principal) for _ in range(3)]
    idle_engine.start()
    try:
        eventually(lambda: [status(run) for run in runs] == ["running"] * 3)
    finally:
        pause.open.set()
        idle_engine.drain(5)


def test_run_that_used_up_its_attempts_ends(principal: Principal, idle_engine: Engine, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 3
    run = lost(principal, 3)
    idle_engine.start()
    try:
        found = ended(run)
        assert (found.status, found.error_class, found.attempt) == ("error", "WorkerLost", 3)
        assert Thread.objects.get(pk=run.thread_id).status == "error"
    finally:
        idle_engine.drain(0)


def test_graph_that_ended_its_process_each_time_is_not_made_once_more(
    principal: Principal, idle_engine: Engine, settings: Any
) -> None:
    # Its factory may be what kills: ending the run must not depend on it.
    settings.MAX_ATTEMPTS = 3
    called = []
    with script("kill", lambda *_: called.append(status(run)) or 1 / 0):  # type: ignore[func-returns-value]
        run = lost(principal, 3, "made", config={"configurable": {"factory": "kill"}})
        idle_engine.start()
        try:
            assert ended(run).error_class == "WorkerLost"
        finally:
            idle_engine.drain(0)
    assert "running" not in called


def test_lost_run_that_was_cancelled_is_not_tried_again(principal: Principal, idle_engine: Engine) -> None:
    run = lost(principal)
    Run.objects.filter(pk=run.pk).update(cancel_action="interrupt", status="interrupted")
    idle_engine.start()
    try:
        assert (ended(run).status, Run.objects.get(pk=run.pk).attempt) == ("interrupted", 1)
    finally:
        idle_engine.drain(0)


def test_thread_shows_the_state_that_an_abandoned_run_reached(
    principal: Principal, idle_engine: Engine, pause: Gate, settings: Any
) -> None:
    settings.MAX_ATTEMPTS = 1
    run = create(principal, "scripted", durability="sync", **PAUSE)
    idle_engine.start()
    try:
        assert pause.reached.wait(10)
        eventually(lambda: Run.objects.get(pk=run.pk).lease_owner)
        # As if this process had died: its lease is another's, and lost.
        Run.objects.filter(pk=run.pk).update(lease_owner="died/x/1", worker="died")
        idle_engine.lose([run.run_id])
        eventually(lambda: idle_engine.active == 0)
        idle_engine._loop.submit(idle_engine.take_back(everything=True)).result(10)
        assert ended(run).error_class == "WorkerLost"
        thread = eventually(lambda: Thread.objects.filter(pk=run.thread_id).exclude(values=None).first())
        assert (thread.status, thread.values["log"], thread.error["error"]) == ("error", ["begun"], "WorkerLost")
    finally:
        idle_engine.drain(0)


def test_next_run_of_a_thread_begins_after_a_lost_one_has_ended(
    principal: Principal, idle_engine: Engine, settings: Any
) -> None:
    settings.MAX_ATTEMPTS = 1
    run = lost(principal)
    following = create(principal, "log", run.thread_id, input={"log": []})
    idle_engine.start()
    try:
        assert ended(following).status == "success"
    finally:
        idle_engine.drain(0)


# --- draining --------------------------------------------------------------------------------------


def test_drain_lets_running_work_finish(principal: Principal, engine: Engine, pause: Gate) -> None:
    run = create(principal, "scripted", **PAUSE)
    assert pause.reached.wait(10)
    pause.open.set()
    engine.drain(10)
    assert status(run) == "success"


def test_drain_gives_back_what_does_not_finish(principal: Principal, engine: Engine, pause: Gate) -> None:
    run = create(principal, "scripted", **PAUSE)
    assert pause.reached.wait(10)
    engine.drain(0)
    run.refresh_from_db()
    assert (run.status, run.lease_owner, run.attempt) == ("pending", None, 0)


class Others:
    """Other processes, to which this engine offers runs."""

    def __init__(self) -> None:
        self.offered: list[UUID | None] = []

    def serve(self, worker: Engine) -> None:
        pass

    def released(self, run_id: UUID) -> None:
        pass

    def offer(self, run_id: UUID | None) -> None:
        self.offered.append(run_id)


def test_a_run_that_is_just_being_claimed_is_given_back_by_a_drain(
    principal: Principal, idle_engine: Engine, pause: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, claiming, in_db = create(principal, **PAUSE), threading.Event(), database.in_db

    async def slowly(function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is queue.claim_named:
            claiming.set()
            await asyncio.sleep(0.5)
        return await in_db(function, *args, **kwargs)

    monkeypatch.setattr(queue, "claim_next", lambda *_, **__: [])
    monkeypatch.setattr(run_engine, "in_db", slowly)
    idle_engine._peers = others = Others()  # type: ignore[assignment]
    idle_engine.start()
    taken = idle_engine._loop.submit(idle_engine.take([run.run_id]))
    assert claiming.wait(10)
    idle_engine.drain(0)
    taken.result(timeout=10)
    run.refresh_from_db()
    assert (run.status, run.lease_owner, run.attempt) == ("pending", None, 0)
    assert run.run_id in others.offered


def test_what_is_taken_after_a_drain_is_offered_to_others(principal: Principal, idle_engine: Engine) -> None:
    idle_engine._peers = others = Others()  # type: ignore[assignment]
    idle_engine.start()
    idle_engine.drain(0)
    run_id = uuid4()
    asyncio.run(asyncio.wait_for(idle_engine.take([run_id]), 10))
    assert others.offered[-1] == run_id


def test_drain_claims_nothing_new(principal: Principal, engine: Engine, pause: Gate) -> None:
    run = create(principal, "scripted", **PAUSE)
    following = create(principal, "log", run.thread_id, input={"log": []})
    assert pause.reached.wait(10)
    engine._draining = True
    pause.open.set()
    assert ended(run).status == "success"
    assert status(create(principal, "log", input={"log": []})) == "pending"
    engine._draining = False
    engine.drain(0)
    assert status(following) == "pending"


def test_drained_engine_accepts_runs_for_later(principal: Principal, engine: Engine) -> None:
    engine.drain(0)
    run = create(principal, "log", input={"log": []})
    assert (run.status, run.lease_owner) == ("pending", None)


def test_drain_of_an_engine_that_never_started(idle_engine: Engine) -> None:
    idle_engine.drain(0)


def test_drain_does_not_wait_for_ever_for_a_node_that_blocks(
    principal: Principal, engine: Engine, gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(run_engine, "GRACE_SECONDS", 0.2)
    with script("wait", gate.wait), caplog.at_level(logging.WARNING):
        run = create(principal, "scripted_thread", input={"do": "wait"})
        assert gate.reached.wait(10)
        engine.drain(0)
        # Whose process must end now: the run is still its own, and is taken up again by the next.
        assert status(run) == "running"
        gate.open.set()
