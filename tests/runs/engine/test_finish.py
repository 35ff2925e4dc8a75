"""The end of a run: all that must be true together."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError
from django.utils import timezone

from assistants.models import Assistant
from platform_site.access.principal import Principal
from platform_site.console.statistics import figures
from platform_site.core.database.access import in_db
from runs.engine import finish as finishing
from runs.engine import sweep
from runs.engine.claim import Claim
from runs.engine.endings import Ending
from runs.engine.finish import bucket, finish
from runs.engine.sweep import apply_retention
from runs.models import PendingInterrupt, Run, RunSpan, RunStatistic, RunStatus
from tests.runs.conftest import claim, create, run_to_end, table_counts
from threads.head import Head
from threads.models import Thread

SUCCESS = RunStatus.SUCCESS


def head(values: bytes = b'{"log":["x"]}', *, interrupts: dict[str, Any] | None = None, next: bool = False) -> Head:
    return Head(values=values, interrupts=interrupts or {}, nodes={}, has_next=next)


def a_claim(principal: Principal, **fields: Any) -> tuple[Run, Claim]:
    run = create(principal, **fields)
    return run, claim(run)


def span(name: str = "one") -> RunSpan:
    now = timezone.now()
    return RunSpan(span_id=Run().run_id, kind="node", name=name, started_at=now, ended_at=now)


def test_run_has_its_end_and_no_lease(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    finish(claimed, Ending(SUCCESS, head=head(), input_tokens=3, output_tokens=4), None)
    run.refresh_from_db()
    assert (run.status, run.lease_owner, run.worker) == ("success", None, None)
    assert run.finished_at is not None
    assert (run.input_tokens, run.output_tokens) == (3, 4)
    assert run.attempts.get().reason == "finished"


def test_failed_run_has_its_error(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    error = {"error": "KeyError", "message": "An internal error occurred"}
    finish(claimed, Ending(RunStatus.ERROR, error=error, error_text="secret", error_traceback="File"), None)
    run.refresh_from_db()
    assert (run.error_class, run.error_text, run.error_traceback) == ("KeyError", "secret", "File")
    assert Thread.objects.get(pk=run.thread_id).error == error


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (Ending(SUCCESS, head=head()), "idle"),
        (Ending(SUCCESS, head=head(next=True)), "interrupted"),
        (Ending(RunStatus.INTERRUPTED, head=head(next=True)), "interrupted"),
        (Ending(RunStatus.ERROR, head=head(next=True)), "error"),
        (Ending(RunStatus.TIMEOUT, head=head()), "error"),
    ],
    ids=["done", "waits", "cancelled", "failed", "timed out"],
)
def test_thread_shows_how_its_last_run_ended(principal: Principal, ending: Ending, status: str) -> None:
    run, claimed = a_claim(principal)
    finish(claimed, ending, None)
    thread = Thread.objects.get(pk=run.thread_id)
    assert (thread.status, thread.values, thread.interrupts) == (status, {"log": ["x"]}, {})


def test_thread_keeps_its_values_if_the_state_cannot_be_read(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    Thread.objects.filter(pk=run.thread_id).update(values={"log": ["before"]})
    finish(claimed, Ending(RunStatus.ERROR), None)
    assert Thread.objects.get(pk=run.thread_id).values == {"log": ["before"]}


def test_next_run_of_the_thread_is_claimed_at_once(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    following = create(principal, thread_id=run.thread_id)
    [next_claim] = finish(claimed, Ending(SUCCESS, head=head()), "worker") or []
    following.refresh_from_db()
    assert (next_claim.run_id, following.lease_owner) == (following.run_id, next_claim.lease_owner)
    assert Thread.objects.get(pk=run.thread_id).status == "busy"


def test_a_draining_worker_leaves_the_next_run_to_others(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    following = create(principal, thread_id=run.thread_id)
    assert finish(claimed, Ending(SUCCESS, head=head()), None) == []
    following.refresh_from_db()
    assert following.status == "pending"
    assert Thread.objects.get(pk=run.thread_id).status == "busy"


def test_runs_of_other_threads_are_not_claimed(principal: Principal) -> None:
    _, claimed = a_claim(principal)
    create(principal)
    assert finish(claimed, Ending(SUCCESS, head=head()), "worker") == []


def test_nothing_is_written_if_anything_fails(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    run, claimed = a_claim(principal)

    def fail(*_: Any) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr(finishing, "_count", fail)
    with pytest.raises(DatabaseError):
        finish(claimed, Ending(SUCCESS, head=head(), spans=[span()]), None)
    run.refresh_from_db()
    assert (run.status, run.lease_owner) == ("running", claimed.lease_owner)
    assert Thread.objects.get(pk=run.thread_id).status == "busy"
    assert not RunSpan.objects.exists()


def test_end_that_failed_can_be_written_again(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    run, claimed = a_claim(principal)
    ending = Ending(SUCCESS, head=head(), spans=[span(), span()])

    def fail(*_: Any) -> None:
        raise DatabaseError("locked")

    with monkeypatch.context() as context:
        context.setattr(finishing, "_count", fail)
        with pytest.raises(DatabaseError):
            finish(claimed, ending, None)
    # Another run's spans have taken the keys meanwhile.
    _, other = a_claim(principal)
    finish(other, Ending(SUCCESS, spans=[span(), span()]), None)
    assert finish(claimed, ending, None) is not None
    assert run.spans.count() == 2


def test_run_that_was_cancelled_does_not_end_as_success(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    Run.objects.filter(pk=run.pk).update(cancel_action="interrupt", status="interrupted")
    assert finish(claimed, Ending(SUCCESS, head=head()), None) is None
    assert finish(claimed, Ending(RunStatus.INTERRUPTED, head=head()), None) is not None


# --- interrupts ------------------------------------------------------------------------------------


def asks(*ids: str) -> Head:
    return Head(b"{}", {f"task-{name}": [{"id": name, "value": f"{name}?"}] for name in ids},
                {f"task-{name}": "ask" for name in ids}, has_next=True)  # fmt: skip


def open_interrupts() -> list[str]:
    return sorted(PendingInterrupt.objects.filter(answered_at=None).values_list("interrupt_id", flat=True))


def test_new_interrupt_opens_a_row(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    finish(claimed, Ending(SUCCESS, head=asks("a")), None)
    row = PendingInterrupt.objects.get()
    assert (row.thread_id, row.run_id, row.assistant_id) == (run.thread_id, run.run_id, run.assistant_id)
    assert (row.interrupt_id, row.task_id, row.node, row.value) == ("a", "task-a", "ask", "a?")
    assert Thread.objects.get(pk=run.thread_id).interrupts == {"task-a": [{"id": "a", "value": "a?"}]}


def test_interrupt_that_is_gone_was_answered(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    finish(claimed, Ending(SUCCESS, head=asks("a", "b")), None)
    following = create(principal, thread_id=run.thread_id)
    finish(claim(following), Ending(SUCCESS, head=asks("b", "c")), None)
    assert open_interrupts() == ["b", "c"]
    assert PendingInterrupt.objects.get(interrupt_id="a").answered_at is not None


def test_interrupt_that_stays_keeps_its_age(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    finish(claimed, Ending(SUCCESS, head=asks("a")), None)
    before = PendingInterrupt.objects.get().created_at
    finish(claim(create(principal, thread_id=run.thread_id)), Ending(SUCCESS, head=asks("a")), None)
    assert PendingInterrupt.objects.get().created_at == before


def test_rolled_back_run_leaves_no_row_of_its_own(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    finish(claimed, Ending(RunStatus.INTERRUPTED, head=head(b"null"), rollback=True), None)
    assert not Run.objects.exists()
    assert (Thread.objects.get(pk=run.thread_id).status, Thread.objects.get(pk=run.thread_id).values) == ("idle", None)


# --- statistics and spans --------------------------------------------------------------------------


def test_bucket_tells_durations_to_within_a_fifth() -> None:
    assert [bucket(0), bucket(-1)] == [0, 0]
    for milliseconds in (5, 100, 1_500, 60_000, 3_600_000):
        assert 2 ** (bucket(milliseconds / 1000) / 4) == pytest.approx(milliseconds, rel=0.2)


def test_run_is_counted_in_its_minute(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    claimed.started_at = claimed.scheduled_at + timedelta(seconds=2)
    finish(claimed, Ending(SUCCESS, head=head(), input_tokens=5, output_tokens=6), None)
    row = RunStatistic.objects.get()
    assert (row.workspace_id, row.assistant_id) == (run.workspace_id, run.assistant_id)
    assert (row.minute.second, row.minute.microsecond) == (0, 0)
    assert (row.status, row.error_class, row.runs) == ("success", "", 1)
    assert (row.input_tokens, row.output_tokens, row.wait_bucket) == (5, 6, bucket(2))


def test_runs_of_one_cell_share_a_row(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "bucket", lambda seconds: 7)
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    for _ in range(3):
        finish(a_claim(principal)[1], Ending(SUCCESS, head=head(), input_tokens=2), None)
    row = RunStatistic.objects.get()
    assert (row.runs, row.input_tokens) == (3, 6)


def test_errors_are_counted_by_class(principal: Principal) -> None:
    for name in ("KeyError", "ValueError"):
        finish(a_claim(principal)[1], Ending(RunStatus.ERROR, error={"error": name, "message": ""}), None)
    assert set(RunStatistic.objects.values_list("status", "error_class")) == {
        ("error", "KeyError"),
        ("error", "ValueError"),
    }


def test_run_of_an_assistant_that_was_deleted_is_counted(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    assistant_id = run.assistant_id
    Assistant.objects.filter(assistant_id=assistant_id).delete()
    assert finish(claimed, Ending(SUCCESS, head=asks("a")), None) is not None
    assert RunStatistic.objects.get().assistant_id == assistant_id


def test_spans_are_stored(principal: Principal) -> None:
    run, claimed = a_claim(principal)
    finish(claimed, Ending(SUCCESS, head=head(), spans=[span("one"), span("two")]), None)
    assert list(run.spans.values_list("name", flat=True)) == ["one", "two"]


def test_old_spans_are_deleted(principal: Principal, settings: Any) -> None:
    settings.SPAN_RETENTION_DAYS = 14
    run, claimed = a_claim(principal)
    old = span("old")
    old.started_at -= timedelta(days=15)
    finish(claimed, Ending(SUCCESS, head=head(), spans=[old, span("new")]), None)
    asyncio.run(apply_retention())
    assert run.spans.get().name == "new"


def test_old_spans_are_deleted_a_portion_at_a_time(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PORTION", 2)
    run, claimed = a_claim(principal)
    spans = [span(name) for name in ("1", "2", "3", "4", "5", "new")]
    for old in spans[:5]:
        old.started_at -= timedelta(days=15)
    finish(claimed, Ending(SUCCESS, head=head(), spans=spans), None)
    asyncio.run(apply_retention())
    assert run.spans.get().name == "new"


# --- stateless runs --------------------------------------------------------------------------------

OURS = ("runs_run", "runs_runattempt", "runs_runspan", "runs_pendinginterrupt", "threads_thread")


async def test_stateless_run_leaves_nothing(principal: Principal) -> None:
    from tests.runs.conftest import execute

    run = await in_db(create, principal, "models", new=False, input={"messages": "hi"})
    await execute(await in_db(claim, run))
    assert set((await in_db(table_counts, *OURS)).values()) == {0}
    assert await in_db(RunStatistic.objects.count) == 1


async def test_stateless_run_may_be_kept(principal: Principal) -> None:
    run = await run_to_end(principal, "log", new=False, input={"log": []}, on_completion="keep")
    assert (run.status, run.thread.values) == ("success", {"log": ["one", "two"]})


async def test_stateless_run_whose_lease_is_lost_deletes_nothing(principal: Principal) -> None:
    run = await in_db(create, principal, "log", new=False, input={})
    claimed = await in_db(claim, run)
    claimed.lease_owner = "somebody else"
    assert await in_db(finish, claimed, Ending(SUCCESS), None) is None
    assert await in_db(Run.objects.count) == 1


def statistic(principal: Principal, minute: datetime, **fields: Any) -> RunStatistic:
    cell: dict[str, Any] = {
        "assistant_id": uuid4(),
        "status": "success",
        "wait_bucket": 1,
        "run_bucket": 1,
        "runs": 1,
    } | fields
    return RunStatistic.objects.create(workspace_id=principal.workspace_id, minute=minute, **cell)


def test_old_statistics_are_deleted_a_portion_at_a_time(
    principal: Principal, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STATISTICS_RETENTION_DAYS = 10
    monkeypatch.setattr(sweep, "PORTION", 3)
    now = timezone.now()
    for days in (30, 20, 15, 12, 11, 9, 1):
        statistic(principal, now - timedelta(days=days))
    deleted = []
    delete = sweep.delete_old_statistics

    def spied(horizon: datetime) -> int:
        deleted.append(delete(horizon))
        return deleted[-1]

    monkeypatch.setattr(sweep, "delete_old_statistics", spied)
    asyncio.run(apply_retention())
    assert deleted == [3, 2]
    assert RunStatistic.objects.count() == 2


def test_a_cell_that_was_made_late_goes_with_its_time(
    principal: Principal, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells are nearly in the order of time: the clock of another process may be behind."""
    settings.STATISTICS_RETENTION_DAYS = 10
    now = timezone.now()
    for days in (11, 9, 12):
        statistic(principal, now - timedelta(days=days))
    asyncio.run(apply_retention())
    assert [row.minute for row in RunStatistic.objects.all()] == [now - timedelta(days=9)]


def test_charts_show_what_is_kept(principal: Principal, settings: Any) -> None:
    settings.STATISTICS_RETENTION_DAYS = 8
    now = timezone.now()
    for days in (6.9, 30):
        statistic(principal, (now - timedelta(days=days)).replace(second=0, microsecond=0))
    before = figures(principal, "7d", None).total.runs
    asyncio.run(apply_retention())
    assert figures(principal, "7d", None).total.runs == before == 1
