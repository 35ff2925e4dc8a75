"""Services that end runs which have not ended by themselves: cancel, delete, make way for another run.

An attempt that is stopped holds its thread until it lets go, which a synchronous node does when it returns; a run that
waits behind it is claimed then. A run that is rolled back or deleted is hidden from the moment of the call
(`runs_visible`); its row goes last, after its checkpoints, so that the sweep finishes what a crash has left half-done.

Rows are locked thread first, then runs, and runs so that a checkpoint that is being written holds nobody up: a worker
that stands still in the middle of one does not keep its run from being cancelled. Everything here runs in a database
thread.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.errors import NotFound
from platform_site.core.events import event_log
from runs.engine import embedded
from runs.engine.queue import claim_of, end_owner, lease_end
from runs.models import FINISHED, IN_FLIGHT, CancelAction, Run, RunStatus
from runs.schemas import RunsCancel
from runs.selectors import runs_visible
from runs.streaming.thread_stream import end_unbegun
from runs.webhooks.outbox import NO_VALUES, End, cancelled_error, webhook_owe
from runs.webhooks.services import deliveries_forget
from threads.messages import messages_put_back
from threads.models import Thread, ThreadStatus

NO_RUNS = "No runs found to cancel."
NOTHING_TO_CANCEL = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, and the runs haven't been "
    "deleted or completed."
)


def run_cancel(principal: Principal, thread_id: UUID, run_id: UUID, action: str = "interrupt") -> None:
    """Ask for the end of a run; one that has not begun ends at once. Raises `NotFound`.

    The run shows `interrupted` from now on, or is gone if it is rolled back. While it has not let go the same may be
    asked again, and more: after an interrupt a rollback.
    """
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


def runs_cancel(principal: Principal, body: RunsCancel, action: str) -> None:
    """`run_cancel` for the runs in flight that `body` names, all or none. Raises `NotFound` if there are none."""
    statuses = IN_FLIGHT if body.status in (None, "all") else (body.status,)
    wanted = runs_visible(principal).filter(status__in=statuses)
    if body.thread_id is not None:
        wanted = wanted.filter(thread_id=body.thread_id)
    with transaction.atomic():
        _lock_threads(wanted.order_by().values_list("thread_id", flat=True).distinct())
        runs = list(wanted.select_for_update(no_key=True).order_by("sequence"))
        if body.run_ids is not None:
            # Not in the query: no database takes any number of parameters.
            named = set(body.run_ids)
            runs = [run for run in runs if run.run_id in named]
        if not runs:
            raise NotFound(NO_RUNS)
        runs_end(runs, CancelAction(action))


def runs_end(runs: Iterable[Run], action: CancelAction) -> None:
    """End these runs, locked with their threads by the transaction of the caller."""
    now = timezone.now()
    freed: set[UUID] = set()
    for run in runs:
        if run.lease_owner is None and run.started_at is None:
            _end_unbegun(run, action, now)
            freed.add(run.thread_id)
        else:
            _end_begun(run, action, now)
    for thread_id in freed:
        _settle(thread_id, now)
    transaction.on_commit(embedded.engine().wake, robust=True)


def _end_unbegun(run: Run, action: CancelAction, now: datetime) -> None:
    """End a run that has left nothing on its thread."""
    place = run.workspace_id, run.thread_id, run.run_id
    is_kept = action == CancelAction.INTERRUPT and not run.kwargs.get("temporary")
    end = End(RunStatus.INTERRUPTED, cancelled_error(action), None if is_kept else NO_VALUES)
    webhook_owe(run, end, now)
    messages_put_back(run.thread_id, run.kwargs)
    if run.kwargs.get("temporary"):
        run.delete()
        _delete_hidden_thread(run.thread_id)
    elif action == CancelAction.ROLLBACK:
        run.delete()
    else:
        run.status, run.cancel_action, run.updated_at, run.finished_at = RunStatus.INTERRUPTED, action, now, now
        run.save(update_fields=["status", "cancel_action", "updated_at", "finished_at"])
    transaction.on_commit(lambda: end_unbegun(*place), robust=True)


def _delete_hidden_thread(thread_id: UUID) -> None:
    # Somebody may have put a run of their own on it; then it stays.
    if not Run.objects.filter(thread_id=thread_id).exists():
        Thread.objects.filter(thread_id=thread_id).delete()


def _end_begun(run: Run, action: CancelAction, now: datetime) -> None:
    """Ask for the end of a run that is held by an attempt, or wait for its next: what it left is looked after."""
    run.cancel_action, run.status, run.updated_at = action, RunStatus.INTERRUPTED, now
    fields = ["cancel_action", "status", "updated_at"]
    if run.lease_owner is not None:
        run_id = run.run_id
        transaction.on_commit(lambda: embedded.engine().cancel(run_id, action), robust=True)
    else:
        # Between two attempts: owned until its end is written, so that no other run begins on its thread before.
        run.lease_owner, run.lease_expires_at = end_owner(embedded.engine().worker, run), lease_end()
        fields += ["lease_owner", "lease_expires_at"]
        claim = claim_of(run, run.lease_owner)
        transaction.on_commit(lambda: embedded.engine().end(claim), robust=True)
    run.save(update_fields=fields)


def _settle(thread_id: UUID, now: datetime) -> None:
    """The thread has the status of its state again, unless a run is in flight on it or holds it."""
    if not Run.objects.filter(Q(status__in=IN_FLIGHT) | Q(lease_owner__isnull=False), thread_id=thread_id).exists():
        settled = Coalesce(F("settled_status"), Value(ThreadStatus.IDLE.value))
        Thread.objects.filter(thread_id=thread_id).update(status=settled, updated_at=now)


def _lock_threads(thread_ids: "list[UUID] | QuerySet[Run, UUID]") -> None:
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
        if run.lease_owner is None and run.started_at is not None and run.status in FINISHED:
            run.cancel_action = CancelAction.ROLLBACK
            run.save(update_fields=["cancel_action"])
            if run.kwargs.get("webhook"):
                deliveries_forget(Q(run_id=run_id))
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
    """Runs of deleted threads end with them: whatever they still write is refused."""
    run_ids = list(Run.objects.filter(thread_id__in=thread_ids).values_list("run_id", flat=True))
    # Inside the transaction already: a checkpoint written after the delete must find its fence gone.
    embedded.engine().lose(run_ids)
    for run_id in run_ids:
        event_log().discard(str(run_id))
