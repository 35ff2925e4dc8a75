"""What a beat does: it keeps the worker alive, learns of cancels and lost runs, and gives back what nobody works on."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import create_autospec

import pytest
from django.db import InterfaceError, connection
from django.test.utils import CaptureQueriesContext

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.database.access import in_db
from platform_site.core.telemetry import logs
from runs.cancel import run_cancel
from runs.engine import queue, workers
from runs.engine.attempt import Attempt
from runs.engine.claim import Claim
from runs.engine.engine import Engine
from runs.engine.heartbeat import Heartbeat
from runs.engine.peers import Peers
from runs.models import Run, RunAttempt, Worker
from tests.runs.clock import SetClock
from tests.runs.conftest import Gate, change, claim, create, ended, eventually, use_engine
from tests.runs.graphs import script

PAUSE: dict[str, Any] = {"input": {"do": "pause"}}


@pytest.fixture
def pause(gate: Gate) -> Iterator[Gate]:
    """`{"do": "pause"}` waits at this gate."""
    with script("pause", gate.pause):
        yield gate


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def beating(principal: Principal, monkeypatch: pytest.MonkeyPatch, clock: SetClock) -> Iterator[Engine]:
    """An engine whose heart beats when the test calls `beat`, after the first beat."""
    monkeypatch.setattr(Heartbeat, "start", Heartbeat.beat)
    engine = use_engine(monkeypatch, Engine(clock=clock))
    engine.start()
    eventually(lambda: engine._dispatcher.status.rounds)
    yield engine
    engine.drain(0)


def beat(engine: Engine, times: int = 1) -> None:
    for _ in range(times):
        engine._heartbeat.beat()


def paused(principal: Principal, pause: Gate, **fields: Any) -> Run:
    """A run in work here, whose node waits at the gate."""
    run = create(principal, "scripted", **(PAUSE | fields))
    assert pause.reached.wait(10)
    return run


def unnoticed(principal: Principal, engine: Engine) -> Run:
    """A run that is due, and that no engine was told of."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "has_room", lambda taken=0: False)
        patched.setattr(engine, "wake", lambda run_id=None: None)
        return create(principal, input={"log": []})


async def beat_of(engine: Engine) -> None:
    """One beat, on a thread that is none of the database's, as the heartbeat's."""

    def beat_and_close() -> None:
        beat(engine)
        connection.close()

    await asyncio.to_thread(beat_and_close)


def never_arrives(run: Run, engine: Engine) -> Claim:
    """A claim of the engine's worker that was committed, and whose answer was lost on its way."""
    [claimed] = queue.claim_next(engine.worker, limit=1, thread_id=run.thread_id)
    return claimed


# --- learning of cancels and lost runs ---------------------------------------------------------------


def test_cancel_that_came_past_this_process_is_seen_by_the_heartbeat(
    principal: Principal, beating: Engine, pause: Gate
) -> None:
    run = paused(principal, pause)
    Run.objects.filter(pk=run.pk).update(cancel_action="interrupt", status="interrupted")
    beat(beating)
    assert ended(run).error_class == "UserInterrupt"


@pytest.mark.parametrize(
    "change", [{"lease_owner": "another/process/2", "worker": "another"}, {"lease_owner": "x/y/1"}]
)
def test_run_that_was_taken_away_stops(
    principal: Principal, beating: Engine, pause: Gate, change: dict[str, str]
) -> None:
    run = paused(principal, pause)
    Run.objects.filter(pk=run.pk).update(**change)
    beat(beating)
    assert pause.cancelled.wait(10)
    eventually(lambda: beating.active == 0)
    assert Run.objects.get(pk=run.pk).lease_owner == change["lease_owner"]


def test_a_run_that_was_taken_away_is_left_to_whoever_has_it_now(
    principal: Principal, beating: Engine, pause: Gate
) -> None:
    others = create_autospec(Peers, instance=True)
    beating._peers = others
    run = create(principal, "scripted", **PAUSE)
    beating.look()
    assert pause.reached.wait(10)
    Run.objects.filter(pk=run.pk).update(lease_owner="another/process/2", worker="another")
    beat(beating)
    assert pause.cancelled.wait(10)
    eventually(lambda: beating.active == 0)
    others.lose.assert_not_called()


def test_run_in_work_is_left_alone(principal: Principal, beating: Engine, pause: Gate) -> None:
    run = paused(principal, pause)
    beat(beating, 3)
    assert beating.active == 1
    pause.open.set()
    assert (ended(run).status, Run.objects.get(pk=run.pk).attempt) == ("success", 1)


def test_run_whose_lease_is_renamed_for_its_end_is_left_alone(
    principal: Principal, beating: Engine, pause: Gate
) -> None:
    # A cancelled attempt on PostgreSQL renames its lease in the database before it knows the new name itself.
    run = paused(principal, pause)
    owner = str(Run.objects.get(pk=run.pk).lease_owner)
    change(run, lease_owner=owner + "/end")
    beat(beating, 3)
    assert beating.active == 1
    change(run, lease_owner=owner)
    pause.open.set()
    assert ended(run).status == "success"


def test_a_beat_makes_two_statements_however_many_runs_there_are(
    principal: Principal, beating: Engine, pause: Gate
) -> None:
    runs = [create(principal, "scripted", **PAUSE) for _ in range(5)]
    eventually(lambda: beating.active == 5)
    with CaptureQueriesContext(connection) as asked:
        beat(beating)
    assert [query["sql"].split('"')[:2] for query in asked.captured_queries if "runs_" in query["sql"]] == [
        ["UPDATE ", "runs_worker"],
        ["SELECT ", "runs_run"],
    ]
    pause.open.set()
    for run in runs:
        ended(run)


def test_heartbeat_survives_whatever_the_database_says(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any, pause: Gate
) -> None:
    settings.HEARTBEAT_SECONDS = 0.05
    engine = use_engine(monkeypatch, Engine())
    renewed, real = [], workers.renew

    def renew(name: str, clock: Any) -> Any:
        renewed.append(name)
        if len(renewed) < 3:
            raise InterfaceError("connection already closed")
        return real(name, clock)

    monkeypatch.setattr(workers, "renew", renew)
    engine.start()
    try:
        create(principal, "scripted", **PAUSE)
        eventually(lambda: len(renewed) > 3)
    finally:
        pause.open.set()
        engine.drain(5)


# --- giving back what nobody works on ---------------------------------------------------------------


def test_claim_that_never_arrived_is_given_back(principal: Principal, beating: Engine, pause: Gate) -> None:
    run = unnoticed(principal, beating)
    never_arrives(run, beating)
    beat(beating)
    # It may still be on its way.
    assert Run.objects.get(pk=run.pk).status == "running"
    beat(beating)
    found = ended(run)
    # The first claim was no attempt.
    assert (found.status, found.attempt, found.attempts.count()) == ("success", 1, 1)


def test_claim_that_arrives_after_it_was_given_back_is_refused(
    principal: Principal, beating: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beating, "look", lambda: None)
    run = unnoticed(principal, beating)
    claimed = never_arrives(run, beating)
    beat(beating, 2)
    beating.accept(claimed)
    assert beating.active == 0
    assert Run.objects.get(pk=run.pk).status == "pending"


def test_run_whose_claim_never_arrived_and_that_was_cancelled_ends(principal: Principal, beating: Engine) -> None:
    run = unnoticed(principal, beating)
    never_arrives(run, beating)
    run_cancel(principal, run.thread_id, run.run_id)
    beat(beating, 2)
    assert (ended(run).status, Run.objects.get(pk=run.pk).error_class) == ("interrupted", "UserInterrupt")


def has_broken(engine: Engine, attempts: int) -> bool:
    return len(engine._broken) == attempts and engine.active == 0


def breaks(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The first attempts break in a way that nobody foresaw."""
    left, execute = [None] * times, Attempt.execute

    async def broken(attempt: Attempt) -> list[Claim]:
        if left:
            left.pop()
            raise RuntimeError("a fault of the server")
        return await execute(attempt)

    monkeypatch.setattr(Attempt, "execute", broken)


def test_run_whose_attempt_broke_is_tried_again(
    principal: Principal, beating: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, 1)
    run = create(principal, input={"log": []})
    eventually(lambda: beating._broken)
    beat(beating, 2)
    found = ended(run)
    assert (found.status, found.attempt) == ("success", 2)
    assert [attempt.reason for attempt in found.attempts.all()] == ["lost", "finished"]


def test_run_whose_every_attempt_broke_ends(
    principal: Principal, beating: Engine, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.MAX_ATTEMPTS = 2
    breaks(monkeypatch, 2)
    run = create(principal, input={"log": []})
    for number in (1, 2):
        eventually(partial(has_broken, beating, number))
        beat(beating, 2)
    assert (ended(run).error_class, Run.objects.get(pk=run.pk).attempt) == ("WorkerLost", 2)


# --- a worker that was declared dead -----------------------------------------------------------------


def test_worker_that_was_declared_dead_stops_its_runs_and_takes_a_new_name(
    principal: Principal, beating: Engine, pause: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    run, before = paused(principal, pause), beating.worker
    lease = beating._attempts[run.run_id].lease
    workers.retire(before, beating._clock)
    beat(beating)
    assert not lease.holds()
    assert beating.worker != before
    assert logs._process["worker"] == beating.worker
    assert f"worker {before} was declared dead" in caplog.text
    assert pause.cancelled.wait(10)
    alive = Worker.objects.filter(died_at=None).values_list("name", flat=True)
    assert (beating.worker in alive, before in alive) == (True, False)


def test_worker_with_a_new_name_goes_on_with_runs(principal: Principal, beating: Engine, pause: Gate) -> None:
    run = paused(principal, pause)
    workers.retire(beating.worker, beating._clock)
    beat(beating)
    pause.open.set()
    eventually(lambda: beating.active == 0)
    beating._loop.submit(beating.take_back(everything=False)).result(10)
    found = ended(run)
    assert (found.status, found.attempt) == ("success", 2)
    assert ended(create(principal, input={"log": []})).status == "success"


def test_no_run_is_claimed_between_two_names(
    principal: Principal, beating: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.retire(beating.worker, beating._clock)
    with monkeypatch.context() as patched:
        patched.setattr(workers, "register", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            beat(beating)
        assert (beating.has_room(), beating.room()) == (False, 0)
        run = create(principal, input={"log": []})
        assert Run.objects.get(pk=run.pk).status == "pending"
    beat(beating)
    assert ended(run).status == "success"


def test_claim_in_the_old_name_that_arrives_late_is_refused(
    principal: Principal, beating: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = unnoticed(principal, beating)
    claimed = never_arrives(run, beating)
    workers.retire(beating.worker, beating._clock)
    beat(beating)
    beating.accept(claimed)
    assert beating.active == 0
    beating._loop.submit(beating.take_back(everything=False)).result(10)
    assert (ended(run).status, Run.objects.get(pk=run.pk).attempt) == ("success", 2)


async def test_dead_worker_writes_nothing_more(principal: Principal) -> None:
    # It stood still, another worker has its run now, and it has not heard of that yet.
    clock = SetClock()
    frozen, other = Engine(clock=clock), Engine(clock=clock)
    await beat_of(frozen)
    run = await in_db(create, principal, input={"log": []})
    claimed = await in_db(claim, run, frozen.worker)
    clock.advance_leases(1.1)
    await beat_of(other)
    await other.take_back(everything=False)
    again = await in_db(claim, run, other.worker)
    assert (again.attempt, again.is_recovery) == (2, True)

    late = Attempt(claimed, lambda: None)
    assert not await in_db(queue.release, claimed, counts=True, reason=RunAttempt.Reason.LOST)
    assert not await in_db(queue.save_baseline, claimed, {})
    await beat_of(frozen)
    assert frozen.worker != claimed.worker
    late.lease.lose()
    saver = late.scope.saver((), late._losses)
    config: Any = {"configurable": {"thread_id": str(run.thread_id), "checkpoint_ns": "", "checkpoint_id": "1"}}
    with pytest.raises(LeaseLost):
        await saver.aput_writes(config, [("log", "late")], "task")


def test_drained_worker_says_that_it_has_ended(principal: Principal, engine: Engine) -> None:
    engine.drain(5)
    assert Worker.objects.get(name=engine.worker).died_at is not None


def test_worker_that_leaves_an_attempt_behind_keeps_its_threads_until_its_time_is_over(
    principal: Principal, engine: Engine, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setattr("runs.engine.engine.GRACE_SECONDS", 0.1)
    with script("block", gate.wait):
        run = create(principal, "scripted", input={"do": "block"})
        assert gate.reached.wait(10)
        engine.drain(0)
        assert Run.objects.get(pk=run.pk).worker == engine.worker
        assert Worker.objects.get(name=engine.worker).died_at is None
        gate.open.set()


# --- several processes --------------------------------------------------------------------------------


async def test_runs_of_a_worker_that_is_silent_for_a_lease_are_taken_back(principal: Principal) -> None:
    clock = SetClock()
    silent, other = Engine(clock=clock), Engine(clock=clock)
    for engine in (silent, other):
        await beat_of(engine)
    run, beside = await in_db(create, principal), await in_db(create, principal)
    await in_db(claim, run, silent.worker)
    other._register(await in_db(claim, beside, other.worker))
    for _ in range(5):
        clock.advance_leases(0.25)
        await beat_of(other)
    await other.take_back(everything=False)
    statuses = await in_db(lambda: dict(Run.objects.values_list("pk", "status")))
    assert statuses == {run.pk: "pending", beside.pk: "running"}


async def test_worker_that_is_only_late_keeps_its_runs(principal: Principal) -> None:
    clock = SetClock()
    late, other = Engine(clock=clock), Engine(clock=clock)
    for engine in (late, other):
        await beat_of(engine)
    run = await in_db(create, principal)
    claimed = await in_db(claim, run, late.worker)
    late._register(claimed)
    for _ in range(3):
        clock.advance_leases(0.9)
        await beat_of(late)
        await other.take_back(everything=False)
    assert (await in_db(Run.objects.get, pk=run.pk)).lease_owner == claimed.lease_owner
