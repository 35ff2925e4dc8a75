"""Services that end runs which have not ended by themselves: cancel, delete, make way for another run.

An attempt that is stopped holds its thread until it lets go, which a synchronous node does when it returns; a run that
waits behind it is claimed then. A run that is rolled back or deleted is hidden from the moment of the call
(`runs_visible`); its row goes last, after its checkpoints, so that the sweep finishes what a crash has left half-done.

Rows are locked thread first, then runs. Everything here runs in a database thread.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from platform_site.access.authorization import check
from platform_site.access.principal import Principal
from platform_site.core.errors import NotFound
from platform_site.core.events import event_log
from runs.engine import embedded
from runs.engine.queue import claim_of, end_owner, lease_end
from runs.models import FINISHED, IN_FLIGHT, CancelAction, PendingInterrupt, Run, RunStatus
from runs.schemas import RunsCancel
from runs.selectors import runs_visible
from runs.streaming.thread_stream import end_unbegun
from runs.webhooks.outbox import NO_VALUES, End, cancelled_error, webhook_owe
from runs.webhooks.services import deliveries_disown, deliveries_forget
from threads.messages import messages_put_back
from threads.models import Thread, ThreadStatus

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

    The run shows `interrupted` from now on, or is gone if it is rolled back.
    """
    check_cancel(principal)
    with transaction.atomic():
        _lock_threads([thread_id])
        run = runs_visible(principal).select_for_update().filter(run_id=run_id, thread_id=thread_id).first()
        if run is None:
            raise NotFound(NO_RUNS)
        if run.status in FINISHED:
            raise NotFound(NOTHING_TO_CANCEL)
        runs_end([run], CancelAction(action))


def runs_cancel(principal: Principal, body: RunsCancel, action: str) -> None:
    """`run_cancel` for the runs in flight that `body` names, all or none. Raises `NotFound` if there are none."""
    statuses = IN_FLIGHT if body.status in (None, "all") else (body.status,)
    wanted = runs_visible(principal).filter(status__in=statuses)
    if body.thread_id is not None:
        wanted = wanted.filter(thread_id=body.thread_id)
    with transaction.atomic():
        _lock_threads(wanted.order_by().values_list("thread_id", flat=True).distinct())
        runs = list(wanted.select_for_update().order_by("sequence"))
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
        run = runs_visible(principal).select_for_update().filter(run_id=run_id, thread_id=thread_id).first()
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
    """End the runs of threads that are deleted in this transaction: whatever they still write is refused."""
    in_flight = Run.objects.filter(
        Q(status__in=IN_FLIGHT) | Q(lease_owner__isnull=False), thread_id__in=thread_ids
    )
    run_ids = list(in_flight.values_list("run_id", flat=True))
    now = timezone.now()
    in_flight.update(
        status=RunStatus.INTERRUPTED, lease_owner=None, lease_expires_at=None, finished_at=now, updated_at=now
    )
    PendingInterrupt.objects.filter(thread_id__in=thread_ids, answered_at=None).delete()
    deliveries_disown(Q(thread_id__in=thread_ids))
    # Inside the transaction already: a checkpoint written after the delete must find its fence gone.
    embedded.engine().lose(run_ids)
    for run_id in run_ids:
        event_log().discard(str(run_id))
