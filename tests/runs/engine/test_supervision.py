"""What an engine does without being asked, and that nothing but a drain ends it."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.background import rounds
from platform_site.core.background.tasks import BackgroundTasks, Status, background
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from runs.engine import engine as run_engine
from runs.engine import queue, sweep, workers
from runs.engine.engine import Engine
from runs.models import Run, Worker
from tests.runs.conftest import Gate, claim, create, ended, eventually, execute, table_counts, use_engine
from tests.runs.graphs import script
from threads.editing import EditLease
from threads.head import head_of, thread_state_changed
from threads.models import Thread
from threads.selectors import thread_for_state
from threads.state_changes import state_update

TABLES = ("threads_thread", "threads_threadtombstone", "runs_run", "runs_runattempt")


def status(name: str) -> Status:
    return next(status for status in background().statuses() if status.name == name)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Failures are followed by a short pause, heartbeats come often."""
    monkeypatch.setattr(rounds, "FIRST_BACKOFF", 0.001)
    settings.HEARTBEAT_SECONDS = 0.01


@pytest.fixture
def background_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundTasks]:
    """Background tasks that end with the test."""
    tasks = BackgroundTasks()
    yield tasks
    tasks.stop()


class Breaking:
    """Fails the first times that it is called, each time in another way."""

    def __init__(self, then: Any, *errors: type[BaseException]) -> None:
        self.then, self.errors = then, list(errors)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)("no luck")
        return self.then(*args, **kwargs)


# --- dispatcher and heartbeat ------------------------------------------------------------------------------


def test_dispatcher_survives_whatever_its_round_raises(
    principal: Principal, idle_engine: Engine, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    breaking = Breaking(queue.claim_next, ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
    monkeypatch.setattr(queue, "claim_next", breaking)
    run = create(principal, input={"log": []})
    idle_engine.start()
    try:
        assert ended(run).status == "success"
        assert eventually(lambda: status("dispatcher").rounds)
        assert (breaking.errors, status("dispatcher").failures_in_a_row) == ([], 0)
    finally:
        idle_engine.drain(0)


def test_recovery_that_fails_is_tried_again(
    principal: Principal, idle_engine: Engine, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.setattr(queue, "lost_runs", Breaking(queue.lost_runs, OSError, OSError))
    run = create(principal, input={"log": []})
    claim(run, worker="died")
    idle_engine.start()
    try:
        assert (ended(run).status, Run.objects.get(pk=run.pk).attempt) == ("success", 2)
    finally:
        idle_engine.drain(0)


def test_heartbeat_survives_whatever_it_meets(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, gate: Gate, quick: None
) -> None:
    breaking = Breaking(workers.renew, ValueError, SystemExit, KeyboardInterrupt)
    monkeypatch.setattr(workers, "renew", breaking)
    engine = use_engine(monkeypatch, Engine())
    engine.start()
    with script("pause", gate.pause):
        run = create(principal, "scripted", input={"do": "pause"})
        assert gate.reached.wait(10)
        first = Worker.objects.get(name=engine.worker).alive_until
        assert eventually(lambda: Worker.objects.get(name=engine.worker).alive_until != first)
        assert breaking.errors == []
        # Told after the lease was prolonged.
        assert eventually(lambda: status("heartbeat").failures_in_a_row == 0)
        gate.open.set()
        ended(run)
    engine.drain(0)


def test_failures_are_logged(
    principal: Principal, idle_engine: Engine, monkeypatch: pytest.MonkeyPatch, quick: None, caplog: Any
) -> None:
    monkeypatch.setattr(queue, "claim_next", Breaking(queue.claim_next, ValueError))
    with caplog.at_level(logging.INFO, "switchyard.background"):
        idle_engine.start()
        eventually(lambda: status("dispatcher").rounds)
        idle_engine.drain(0)
    [failure] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "background task dispatcher failed" in failure.getMessage()
    assert any("dispatcher works again" in record.getMessage() for record in caplog.records)


def test_drain_ends_a_dispatcher_that_pauses_after_a_failure(
    principal: Principal, idle_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "FIRST_BACKOFF", 3600.0)
    monkeypatch.setattr(rounds, "LONGEST_BACKOFF", 3600.0)
    monkeypatch.setattr(run_engine, "GRACE_SECONDS", 3600.0)
    monkeypatch.setattr(queue, "claim_next", Breaking(queue.claim_next, ValueError))
    idle_engine.start()
    eventually(lambda: status("dispatcher").failures_in_a_row)
    idle_engine.drain(0)


# --- background tasks ---------------------------------------------------------------------------------------


def test_lost_run_is_taken_back_while_a_node_blocks_the_run_loop(
    principal: Principal, engine: Engine, gate: Gate, background_tasks: BackgroundTasks
) -> None:
    async def block(*_: Any) -> str:
        return gate.wait()

    with script("block", block):
        create(principal, "scripted", input={"do": "block"})
        assert gate.reached.wait(10)
        run = create(principal, input={"log": []}, after_seconds=0.001)
        # Nobody can claim it: this is another process's, which has died.
        eventually(lambda: Run.objects.filter(pk=run.pk, scheduled_at__lte=timezone.now()).exists())
        claim(run, worker="died")
        Worker.objects.filter(name="died").update(alive_until=timezone.now() - timedelta(seconds=1))
        background_tasks.start(sweep.engine_tasks())
        assert eventually(lambda: Run.objects.get(pk=run.pk).lease_owner is None)
        gate.open.set()
    assert ended(run).status == "success"


def test_due_run_whose_wake_up_was_lost_is_found(
    principal: Principal, engine: Engine, monkeypatch: pytest.MonkeyPatch, background_tasks: BackgroundTasks
) -> None:
    eventually(lambda: status("dispatcher").rounds)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "has_room", lambda taken=0: False)
        patched.setattr(engine, "wake", lambda run_id=None: None)
        run = create(principal, input={"log": []})
    assert Run.objects.get(pk=run.pk).status == "pending"
    background_tasks.start(sweep.engine_tasks())
    assert ended(run).status == "success"


def test_nothing_is_taken_over_during_a_drain(principal: Principal, engine: Engine) -> None:
    run = create(principal, input={"log": []}, after_seconds=3600)
    Run.objects.filter(pk=run.pk).update(
        status="interrupted", cancel_action="interrupt", lease_owner="died/x/1", worker="died", attempt=1,
    )  # fmt: skip
    engine._draining = True
    asyncio.run(engine.take_back(everything=False))
    assert Run.objects.get(pk=run.pk).lease_owner == "died/x/1"
    engine._draining = False


# --- hidden threads ------------------------------------------------------------------------------------------


def hidden(principal: Principal, **fields: Any) -> Thread:
    """A thread of a stateless run that is gone, as no end of a run leaves it."""
    run = create(principal, new=False, input={"log": []}, **fields)
    Run.objects.filter(pk=run.pk).delete()
    Thread.objects.filter(pk=run.thread_id).update(created_at=timezone.now() - timedelta(hours=1))
    return Thread.objects.get(pk=run.thread_id)


async def write_checkpoint(principal: Principal, thread: Thread) -> None:
    found = await in_db(thread_for_state, principal, thread.pk)
    lease = EditLease(thread.pk, "somebody")
    await in_db(Thread.objects.filter(pk=thread.pk).update, editor=lease.lease_owner)
    _, head = await state_update(lease, found, None, {"log": ["left behind"]}, None)
    await in_db(thread_state_changed, lease, head_of(head.snapshot, head.output))


async def test_hidden_thread_without_a_run_is_deleted_with_its_checkpoints(principal: Principal) -> None:
    thread = await in_db(hidden, principal)
    await write_checkpoint(principal, thread)
    assert await checkpoints().head(thread.pk) is not None
    await sweep.finish_removals()
    assert await in_db(table_counts, *TABLES) == dict.fromkeys(TABLES, 0)
    assert await checkpoints().head(thread.pk) is None


async def test_young_hidden_thread_is_left_alone(principal: Principal) -> None:
    thread = await in_db(hidden, principal)
    await in_db(lambda: Thread.objects.filter(pk=thread.pk).update(created_at=timezone.now()))
    await sweep.finish_removals()
    assert await in_db(Thread.objects.count) == 1


async def test_hidden_thread_with_a_run_is_left_alone(principal: Principal) -> None:
    run = await in_db(create, principal, new=False, input={"log": []})
    long_ago = timezone.now() - timedelta(hours=1)
    await in_db(lambda: Thread.objects.filter(pk=run.thread_id).update(created_at=long_ago))
    await sweep.finish_removals()
    await execute(await in_db(claim, run))
    assert await in_db(table_counts, *TABLES) == dict.fromkeys(TABLES, 0)


async def test_hidden_thread_that_somebody_uses_meanwhile_stays(principal: Principal) -> None:
    thread = await in_db(hidden, principal)
    assert await in_db(sweep.hidden_threads, timezone.now()) == [thread.pk]
    await in_db(create, principal, "log", thread.pk, input={"log": []})
    assert not await in_db(sweep.delete_hidden_thread, thread.pk)
    assert await in_db(Thread.objects.count) == await in_db(Run.objects.count) == 1


async def test_thread_that_was_asked_to_be_kept_is_not_hidden(principal: Principal) -> None:
    await in_db(hidden, principal, on_completion="keep")
    assert await in_db(sweep.hidden_threads, timezone.now()) == []
