"""Services that end runs which have not ended by themselves: cancel, delete, make way for another run.

An attempt that is stopped holds its thread until it lets go, which a synchronous node does when it returns; a run that
waits behind it is claimed then. A run that is rolled back or deleted is hidden from the moment of the call
(`runs_visible`); its row goes last, after its checkpoints, so that the sweep finishes what a crash has left half-done.

Rows are locked thread first, then runs, and runs so that a checkpoint that is being written holds nobody up: a worker
that stands still in the middle of one does not keep its run from being cancelled. What is not `async`
here runs in a database thread.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum, auto
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from platform_site.access.authorization import check
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db, read_db
from platform_site.core.errors import NotFound
from platform_site.core.events.configured import event_log
from runs.engine import engine as run_engine
from runs.engine.endings import cancelled_error
from runs.engine.queue import IS_HELD, end_all_of, hold_to_end
from runs.hooks import NO_VALUES, RunEnd, run_deleting, run_ended
from runs.models import FINISHED, IN_FLIGHT, CancelAction, PendingInterrupt, Run, RunStatus
from runs.schemas import RunsCancel
from runs.selectors import runs_visible
from runs.streaming.thread_stream import end_unbegun
from threads.messages import messages_put_back
from threads.models import Thread, ThreadStatus

# Runs that are ended by one statement, and in one transaction where a call names many.
PORTION = 200
NO_RUNS = "No runs found to cancel."
NOTHING_TO_CANCEL = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, and the runs haven't been "
    "deleted or completed."
)


def check_cancel(principal: Principal) -> None:
    """Raise `Forbidden` unless the caller may end runs: to cancel a run is to change it, however it is asked for."""
    check(principal, "runs", writes=True)


def run_cancel(principal: Principal, thread_id: UUID, run_id: UUID, action: str = "interrupt") -> None:
    """Ask for the end of a run; one that has not begun ends at once. Raises `NotFound`, and `Forbidden` for readers.

    The run shows `interrupted` from now on, or is gone if it is rolled back. While it has not let go the same may be
    asked again, and more: after an interrupt a rollback.
    """
    check_cancel(principal)
    with transaction.atomic():
        _lock_threads([thread_id])
        run = _cancellable(principal, action).filter(run_id=run_id, thread_id=thread_id).first()
        if run is None:
            raise NotFound(NO_RUNS)
        if run.status in FINISHED and (run.cancel_action is None or run.finished_at is not None):
            raise NotFound(NOTHING_TO_CANCEL)
        runs_end([run], CancelAction(action))


def _cancellable(principal: Principal, action: str) -> "QuerySet[Run]":
    """The runs that a caller may name, locked: for a rollback also those that are being rolled back."""
    runs = runs_visible(principal)
    if action == CancelAction.ROLLBACK:
        runs |= Run.objects.filter(workspace_id=principal.workspace_id, cancel_action=action, finished_at=None)
    return runs.select_for_update(no_key=True)


async def runs_cancel(principal: Principal, body: RunsCancel, action: str) -> None:
    """`run_cancel` for the runs in flight that `body` names. Raises `NotFound` if there are none.

    A portion a transaction: after a crash in between, the call can be repeated for the others. Runs that are made
    meanwhile are left alone.
    """
    check_cancel(principal)
    newest = await read_db(_newest)
    total, portion = 0, _Portion(0, 0)
    while portion.end is not None:
        portion = await in_db(_cancel_portion, principal, body, action, portion.end, newest)
        total += portion.runs
    if not total:
        raise NotFound(NO_RUNS)


def _newest() -> int:
    return Run.objects.aggregate(newest=Max("sequence"))["newest"] or 0


class _Portion(NamedTuple):
    """How many runs were ended, and behind which the next portion begins, or None if this was the last."""

    runs: int
    end: int | None


def _cancel_portion(principal: Principal, body: RunsCancel, action: str, after: int, newest: int) -> _Portion:
    """End a portion of the runs behind `after`."""
    statuses = IN_FLIGHT if body.status in (None, "all") else (body.status,)
    wanted = runs_visible(principal).filter(status__in=statuses, sequence__lte=newest)
    if body.thread_id is not None:
        wanted = wanted.filter(thread_id=body.thread_id)
    found = list(
        wanted.filter(sequence__gt=after).order_by("sequence").values_list("sequence", "thread_id", "run_id")[:PORTION]
    )
    # Not in the query: no database takes any number of parameters.
    named = None if body.run_ids is None else set(body.run_ids)
    chosen = [row for row in found if named is None or row[2] in named]
    count = 0
    if chosen:
        with transaction.atomic():
            _lock_threads([thread_id for _, thread_id, _ in chosen])
            locked = (
                wanted.select_for_update(no_key=True)
                .filter(sequence__in=[row[0] for row in chosen])
                .order_by("sequence")
            )
            runs = list(locked)
            runs_end(runs, CancelAction(action))
            count = len(runs)
    return _Portion(count, found[-1][0] if len(found) == PORTION else None)


def runs_end(runs: Iterable[Run], action: CancelAction) -> None:
    """End these runs, locked with their threads by the transaction of the caller.

    A portion costs the same number of statements whatever its size, but for runs with a webhook or with messages.
    """
    now, runs = timezone.now(), list(runs)
    for start in range(0, len(runs), PORTION):
        portion = runs[start : start + PORTION]
        unbegun = [run for run in portion if run.lease_owner is None and run.started_at is None]
        _end_unbegun(unbegun, action, now)
        _end_begun([run for run in portion if run not in unbegun], action, now)
        _settle({run.thread_id for run in unbegun}, now)
    transaction.on_commit(run_engine.engine().wake, robust=True)


def _end_unbegun(runs: list[Run], action: CancelAction, now: datetime) -> None:
    """End runs that have left nothing on their threads."""
    is_temporary = {run.pk: bool(run.kwargs.get("temporary")) for run in runs}
    kept = [run for run in runs if action == CancelAction.INTERRUPT and not is_temporary[run.pk]]
    for run in runs:
        if run.kwargs.get("webhook"):
            values = None if run in kept else NO_VALUES
            run_ended.send(run, RunEnd(RunStatus.INTERRUPTED, cancelled_error(action), values), now)
    # The last first: what an earlier run had taken goes in front.
    for run in reversed(runs):
        messages_put_back(run.thread_id, run.kwargs)
    gone = [run.pk for run in runs if run not in kept]
    Run.objects.filter(pk__in=gone).only("pk").delete()
    _delete_hidden_threads([run.thread_id for run in runs if is_temporary[run.pk]])
    Run.objects.filter(pk__in=[run.pk for run in kept]).update(
        status=RunStatus.INTERRUPTED, cancel_action=action, updated_at=now, finished_at=now
    )
    places = [(run.workspace_id, run.thread_id, run.run_id) for run in runs]

    def tell() -> None:
        for place in places:
            end_unbegun(*place)

    transaction.on_commit(tell, robust=True)


def _delete_hidden_threads(thread_ids: list[UUID]) -> None:
    # Somebody may have put a run of their own on one; then it stays.
    used = Run.objects.filter(thread_id=OuterRef("pk"))
    Thread.objects.filter(~Exists(used), pk__in=thread_ids).only("pk").delete()


def _end_begun(runs: list[Run], action: CancelAction, now: datetime) -> None:
    """Ask for the end of runs that an attempt holds, or that wait for their next: what they left is looked after."""
    held = [run for run in runs if run.lease_owner is not None]
    Run.objects.filter(pk__in=[run.pk for run in held]).update(
        cancel_action=action, status=RunStatus.INTERRUPTED, updated_at=now
    )
    for run in held:
        transaction.on_commit(partial(run_engine.engine().cancel, run.run_id, action), robust=True)
    for run in runs:
        if run not in held:
            _end_between_attempts(run, action, now)


def _end_between_attempts(run: Run, action: CancelAction, now: datetime) -> None:
    claim = hold_to_end(run, action, run_engine.engine().worker, now)
    transaction.on_commit(lambda: run_engine.engine().end(claim), robust=True)


def _settle(thread_ids: set[UUID], now: datetime) -> None:
    """The threads have the status of their state again, unless a run is in flight on one or holds it."""
    in_use = Run.objects.filter(Q(status__in=IN_FLIGHT) | IS_HELD, thread_id=OuterRef("pk"))
    settled = Coalesce(F("settled_status"), Value(ThreadStatus.IDLE.value))
    Thread.objects.filter(~Exists(in_use), pk__in=thread_ids).update(status=settled, updated_at=now)


def _lock_threads(thread_ids: list[UUID]) -> None:
    # In one order, so that two calls never wait for each other.
    list(Thread.objects.select_for_update().filter(pk__in=thread_ids).order_by("pk").values_list("pk"))


class Removal(Enum):
    """How far the delete of a run came."""

    DONE = auto()
    # Hidden; its checkpoints are the caller's to remove (`runs.engine.removal`).
    HIDDEN = auto()
    # Hidden; it is removed when the attempt that holds it has let go.
    HELD = auto()


def run_delete(principal: Principal, thread_id: UUID, run_id: UUID) -> Removal:
    """Delete a run; one that runs is stopped first. It is gone for everybody from now on. Raises `NotFound`."""
    with transaction.atomic():
        _lock_threads([thread_id])
        run = runs_visible(principal).select_for_update(no_key=True).filter(run_id=run_id, thread_id=thread_id).first()
        if run is None:
            raise NotFound("Run not found")
        run_deleting.send(run)
        if run.lease_owner is None and run.started_at is not None and run.status in FINISHED:
            run.cancel_action = CancelAction.ROLLBACK
            run.save(update_fields=["cancel_action"])
            return Removal.HIDDEN
        if run.kwargs.get("webhook"):
            # Nobody is told of the end of a run that is no more.
            run.kwargs["webhook"] = None
            run.save(update_fields=["kwargs"])
        is_held = run.lease_owner is not None or run.started_at is not None
        runs_end([run], CancelAction.ROLLBACK)
        # For those who listen it is over now.
        transaction.on_commit(lambda: event_log().discard(str(run_id)), robust=True)
    return Removal.HELD if is_held else Removal.DONE


def runs_stop_of_threads(thread_ids: list[UUID]) -> None:
    """End the runs of threads that are deleted in this transaction: whatever they still write is refused."""
    run_ids = end_all_of(thread_ids, timezone.now())
    PendingInterrupt.objects.filter(thread_id__in=thread_ids, answered_at=None).delete()
    # Inside the transaction already: a checkpoint written after the delete must find its fence gone.
    run_engine.engine().lose(run_ids)
    for run_id in run_ids:
        event_log().discard(str(run_id))
