"""The queue: all SQL that moves a run from pending to owned to finished, and so all SQL that touches a run's lease.

Each function runs in a database thread. The rules, kept by the statements here and by constraints on the table:
- at most one run of a thread is owned (has a lease) at a time; its earliest due pending run comes next;
- whoever claims a run gets a lease whose name no other attempt had or will have, and every later write of the attempt
  names it;
- a lease names its worker. It is alive while the worker's row is (`workers.py`), however long that takes: nothing
  renews a lease. No run is claimed for a worker that is dead;
- a run whose lease is lost goes back to pending, or ends with `error` when it has used up its attempts.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from platform_site.core.database.access import IS_POSTGRES, json_param, moment_param, uuid_param
from platform_site.core.error_texts import storable_text
from platform_site.core.telemetry import metrics
from runs.engine.claim import (
    COLUMNS,
    END,
    Claim,
    LeaseOf,
    NewRun,
    RunRow,
    decoded,
    lease_name,
    make_claim,
    row_of,
    worker_of,
)
from runs.engine.workers import ALIVE, Clock, DatabaseClock, alive_in_time
from runs.models import IN_FLIGHT, CancelAction, Run, RunAttempt, RunStatus, Worker

if TYPE_CHECKING:
    # With the graph's state comes LangGraph, which takes a second to import.
    from runs.engine.endings import Ending

# The query of a fence (`core/checkpoints/fence.py`). The key lock keeps the lease as it is until the commit, because
# the lease's columns are a key of the table. Cancels change other columns, and do not wait for the lock.
HELD: LiteralString = "SELECT 1 FROM runs_run WHERE run_id = %s AND lease_owner = %s FOR KEY SHARE"
# Names a lease anew that ends its run (`claim.END`). The statement waits for those key locks.
RENAME: LiteralString = (
    "UPDATE runs_run SET lease_owner = lease_owner || '/end' WHERE run_id = %s AND lease_owner = %s"
    " RETURNING lease_owner AS value"
)
# Runs that an attempt holds, and the columns of a run that nobody holds.
IS_HELD = Q(lease_owner__isnull=False)
_FREE: dict[str, Any] = {"lease_owner": None, "worker": None}


_INSERT = """
INSERT INTO runs_run (run_id, workspace_id, thread_id, assistant_id, status, kwargs, metadata, multitask_strategy,
    scheduled_at, created_at, updated_at, started_at, worker, lease_owner, attempt, attempt_started_at, error_class,
    error_message, error_text, error_traceback, input_tokens, output_tokens)
SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '', '', '', '', 0, 0
"""


def add_run(cursor: CursorWrapper, run: NewRun, now: datetime, worker: str | None) -> Claim | None:
    """Insert a run, claimed for `worker` by the statement that makes it, and return the claim.

    Without a worker, or if the worker is dead, the run is pending and None is returned.
    """
    if worker is not None:
        owner = lease_name(worker, run.run_id, 1)
        if (sequence := _insert(cursor, run, now, owner)) is not None:
            fields = run.run_id, run.thread_id, run.workspace_id, run.assistant_id, run.kwargs
            return make_claim(RunRow(sequence, *fields, 0, run.due, None), owner, 1, now)
    _insert(cursor, run, now, None)
    return None


def _insert(cursor: CursorWrapper, run: NewRun, now: datetime, owner: str | None) -> int | None:
    """Insert the run and return its sequence; None if it is to have an owner whose worker is dead."""
    worker = worker_of(owner) if owner else None
    started = moment_param(now) if owner else None
    cursor.execute(
        _INSERT + (f"WHERE {ALIVE} " if owner else "") + "RETURNING sequence",
        [
            uuid_param(run.run_id),
            run.workspace_id,
            uuid_param(run.thread_id),
            uuid_param(run.assistant_id),
            RunStatus.RUNNING.value if owner else RunStatus.PENDING.value,
            json_param(run.kwargs),
            json_param(run.metadata),
            run.multitask_strategy,
            moment_param(run.due),
            moment_param(run.due),
            moment_param(now),
            started,
            worker,
            owner,
            1 if owner else 0,
            started,
            *([worker] if owner else []),
        ],
    )
    row = cursor.fetchone()
    return None if row is None else int(row[0])


# The thread's runs that come before `r` or hold it, and who changes its state by hand: none may be there when `r` is
# claimed.
_NEXT_OF_ITS_THREAD = """
    NOT EXISTS (SELECT 1 FROM runs_run o WHERE o.thread_id = r.thread_id AND o.lease_owner IS NOT NULL)
    AND NOT EXISTS (
        SELECT 1 FROM runs_run e WHERE e.thread_id = r.thread_id AND e.status = 'pending'
        AND e.sequence < r.sequence AND e.scheduled_at <= %s
    )
    AND NOT EXISTS (SELECT 1 FROM threads_thread t WHERE t.thread_id = r.thread_id AND t.edited_until > %s)
"""


def claim_next(
    worker: str,
    *,
    limit: int,
    thread_id: UUID | None = None,
    recoveries: int | None = None,
    alone: bool = True,
) -> list[Claim]:
    """Claim up to `limit` due runs, oldest first, at most `recoveries` of them crash-recovered ones; none if the worker
    is dead.

    Runs of one thread are taken in order of sequence, one at a time. A recovered run that is on its last attempt is
    claimed only where `alone` says that no other recovered run is on probation, and no other is claimed with it. Those
    after it wait for it.
    """
    place, params = ("TRUE", []) if thread_id is None else ("r.thread_id = %s", [uuid_param(thread_id)])
    return _claim(worker, place, params, limit=limit, recoveries=recoveries, alone=alone)


def claim_named(worker: str, run_ids: list[UUID]) -> list[Claim]:
    """Claim those of these runs that are due and next on their threads. None that was lost before: see `claim_next`."""
    if not run_ids:
        return []
    named = f"r.run_id IN ({', '.join(['%s'] * len(run_ids))})"
    ids = [uuid_param(run_id) for run_id in run_ids]
    return _claim(worker, named, ids, limit=len(run_ids), recoveries=0, alone=False)


def _claim(
    worker: str, wanted: str, params: list[Any], *, limit: int, recoveries: int | None, alone: bool
) -> list[Claim]:
    now = timezone.now()
    due = "r.status = 'pending' AND r.scheduled_at <= %s" + (" AND r.attempt = 0" if recoveries == 0 else "")
    claims: list[Claim] = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM runs_run r WHERE {wanted} AND {due} AND {_NEXT_OF_ITS_THREAD} AND {ALIVE} "
            "ORDER BY r.sequence LIMIT %s" + (" FOR UPDATE OF r SKIP LOCKED" if IS_POSTGRES else ""),
            [*params, *[moment_param(now)] * 3, worker, limit],
        )
        for row in map(decoded, cursor.fetchall()):
            attempts = row.attempt
            if attempts > 0 and recoveries is not None:
                is_last = attempts + 1 >= settings.MAX_ATTEMPTS
                if recoveries <= 0 or (is_last and not alone):
                    recoveries = 0
                    continue
                recoveries = 0 if is_last else recoveries - 1
                alone = False
            if (claim := _take(cursor, worker, row, now)) is not None:
                claims.append(claim)
    return claims


def _take(cursor: Any, worker: str, row: RunRow, now: datetime) -> Claim | None:
    claim = make_claim(row, lease_name(worker, row.run_id, row.attempt + 1), row.attempt + 1, now)
    cursor.execute(
        "UPDATE runs_run SET status = 'running', worker = %s, lease_owner = %s, attempt = %s, "
        "attempt_started_at = %s, started_at = %s, updated_at = %s "
        "WHERE sequence = %s AND status = 'pending' AND lease_owner IS NULL AND attempt = %s",
        [
            worker,
            claim.lease_owner,
            claim.attempt,
            moment_param(now),
            moment_param(claim.started_at),
            moment_param(now),
            row.sequence,
            row.attempt,
        ],
    )
    return claim if cursor.rowcount == 1 else None


def any_delayed(run_ids: list[UUID]) -> bool:
    """Whether one of these runs waits to become due."""
    waiting = Run.objects.filter(run_id__in=run_ids, status=RunStatus.PENDING, scheduled_at__gt=timezone.now())
    return waiting.exists()


def ending_run(run_id: UUID, owner: str) -> Run | None:
    """The run, if it is still held to be ended by whoever takes it from `owner`."""
    return Run.objects.filter(run_id=run_id, lease_owner=owner, cancel_action__isnull=False).first()


def is_held(run_id: UUID) -> bool:
    """Whether an attempt holds the run."""
    return Run.objects.filter(run_id=run_id, lease_owner__isnull=False).exists()


def pending_of(thread_id: UUID) -> list[UUID]:
    """The thread's runs that wait, the earliest first."""
    waiting = Run.objects.filter(thread_id=thread_id, status=RunStatus.PENDING).order_by("sequence")
    return list(waiting.values_list("run_id", flat=True))


def next_due(after: datetime) -> datetime | None:
    """When the first of the runs that are pending and were not due at `after` becomes due."""
    due = Run.objects.filter(status=RunStatus.PENDING, scheduled_at__gt=after).order_by("scheduled_at")
    return due.values_list("scheduled_at", flat=True).first()


def leases_of(worker: str) -> list[LeaseOf]:
    """Return all leases in the worker's name: one query of an index, which no lock of a row holds up."""
    leased = Run.objects.filter(worker=worker, lease_owner__isnull=False)
    rows = leased.values_list("run_id", "lease_owner", "cancel_action")
    return [LeaseOf(run_id, str(owner), action) for run_id, owner, action in rows]


def release(claim: Claim, *, counts: bool, reason: RunAttempt.Reason) -> bool:
    """Give a run back to pending; False if the lease is lost or somebody has cancelled the run.

    An attempt that does not count (a drain) may be made again.
    """
    held = Run.objects.filter(sequence=claim.sequence, lease_owner=claim.lease_owner, cancel_action=None)
    with transaction.atomic():
        released = held.update(
            status=RunStatus.PENDING,
            **_FREE,
            attempt=claim.attempt if counts else F("attempt") - 1,
            updated_at=timezone.now(),
        )
        if released:
            record_attempt(claim, reason)
    return bool(released)


def cancel_asked(claim: Claim) -> str | None:
    """How the run was asked to end, if it was and the lease is still held."""
    held = Run.objects.filter(sequence=claim.sequence, lease_owner=claim.lease_owner)
    return held.values_list("cancel_action", flat=True).first()


def record_attempt(claim: Claim, reason: RunAttempt.Reason) -> None:
    """Keep a row of an attempt that has ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_runattempt (run_id, number, worker, started_at, ended_at, reason) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [
                claim.sequence,
                claim.attempt,
                claim.worker,
                moment_param(claim.attempt_started_at),
                moment_param(timezone.now()),
                reason.value,
            ],
        )


def lost_runs() -> list[Run]:
    """Return the runs whose lease names a worker that is dead, or of which there is no row."""
    return list(Run.objects.filter(IS_HELD & ~Exists(Worker.objects.filter(name=OuterRef("worker"), died_at=None))))


def overdue(clock: Clock | None = None) -> Count:
    """Return the count of the runs whose worker's time is over, whether or not somebody has declared it dead."""
    alive = alive_in_time(clock or DatabaseClock()).filter(name=OuterRef("worker"))
    return Count("pk", filter=Q(IS_HELD, ~Exists(alive)))


def run_under(lease_owner: str) -> Run | None:
    """Return the run that is held under this lease."""
    return Run.objects.filter(worker=worker_of(lease_owner), lease_owner=lease_owner).first()


def _as_it_was(run: Run) -> "QuerySet[Run]":
    """Return the run if it has the lease under which it was read."""
    return Run.objects.filter(sequence=run.sequence, lease_owner=run.lease_owner)


def _is_free(held: "QuerySet[Run]") -> bool:
    """Lock the run, and return whether it is there and no other session has locked it: nobody waits for such a one."""
    return held.select_for_update(skip_locked=True).values_list("pk").first() is not None


def requeue_lost(run: Run, *, begun: bool = True) -> bool:
    """Take a lost run's lease away and make it pending again.

    An attempt that had not `begun` does not count. False if somebody was faster, cancelled the run, or has locked it:
    the next sweep looks again.
    """
    held = _as_it_was(run).filter(cancel_action=None)
    with transaction.atomic():
        lost = _is_free(held) and held.update(
            status=RunStatus.PENDING,
            **_FREE,
            attempt=F("attempt") if begun else F("attempt") - 1,
            updated_at=timezone.now(),
        )
        if lost and begun:
            RunAttempt.objects.create(
                run=run,
                number=run.attempt,
                worker=worker_of(str(run.lease_owner)),
                started_at=run.attempt_started_at or run.created_at,
                ended_at=timezone.now(),
                reason=RunAttempt.Reason.LOST,
            )
    metrics.LEASES_EXPIRED.inc(lost)
    return bool(lost)


def take_over(run: Run, worker: str) -> Claim | None:
    """Own a lost run without another attempt, to end it.

    None if somebody else was faster, its owner included, or has locked it: the next sweep looks again.
    """
    owner, held = _end_name(worker, run), _as_it_was(run)
    with transaction.atomic():
        taken = _is_free(held) and held.update(lease_owner=owner, worker=worker)
    if not taken:
        return None
    metrics.LEASES_EXPIRED.inc()
    return claim_of(run, owner)


def hold_to_end(run: Run, action: CancelAction, worker: str, now: datetime) -> Claim:
    """Own a run between two attempts until its end is written, so that no other run begins on its thread before.

    The caller's transaction has locked the run. If the worker does not end the run, a sweep does.
    """
    run.cancel_action, run.status, run.updated_at = action, RunStatus.INTERRUPTED, now
    run.worker, run.lease_owner = worker, _end_name(worker, run)
    run.save(update_fields=["cancel_action", "status", "updated_at", "lease_owner", "worker"])
    return claim_of(run, run.lease_owner)


def _end_name(worker: str, run: Run) -> str:
    return lease_name(worker, run.run_id, run.attempt) + END


def claim_of(run: Run, owner: str) -> Claim:
    """Return the claim on a run that `owner` holds."""
    return make_claim(row_of(run), owner, run.attempt, run.attempt_started_at or run.created_at)


def save_baseline(claim: Claim, baseline: dict[str, Any]) -> bool:
    """Remember what the thread held before the run first touched it; False if the lease is lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_run SET baseline = %s WHERE run_id = %s AND lease_owner = %s",
            [json_param(baseline), uuid_param(claim.run_id), claim.lease_owner],
        )
        return bool(cursor.rowcount)


# --- the end of a run --------------------------------------------------------------------------------


def end_run(cursor: CursorWrapper, claim: Claim, ending: "Ending", now: datetime) -> bool:
    """Write how the run ended and free its lease, if the lease is still held and the ending stands."""
    lock, locked, thread = _thread_first(claim.thread_id)
    stopped = ending.stopped_before
    cursor.execute(
        f"{lock}UPDATE runs_run SET status = %s, finished_at = %s, updated_at = %s, lease_owner = NULL, "
        "worker = NULL, error_class = %s, error_message = %s, error_text = %s, error_traceback = %s, "
        "input_tokens = %s, output_tokens = %s, stopped_before = %s WHERE sequence = %s AND lease_owner = %s"
        f"{locked}{_stands(ending)}",
        [
            *thread,
            ending.status.value,
            moment_param(now),
            moment_param(now),
            (ending.error or {}).get("error", "")[:200],
            storable_text((ending.error or {}).get("message", "")),
            storable_text(ending.error_text),
            storable_text(ending.error_traceback),
            ending.input_tokens,
            ending.output_tokens,
            json_param(stopped) if stopped else None,
            claim.sequence,
            claim.lease_owner,
        ],
    )
    return bool(cursor.rowcount)


def forget_run(cursor: CursorWrapper, claim: Claim) -> bool:
    """Delete a stateless run: it was promised to leave nothing. False if the lease is lost."""
    lock, locked, thread = _thread_first(claim.thread_id)
    if claim.is_recovery:
        cursor.execute("DELETE FROM runs_runattempt WHERE run_id = %s", [claim.sequence])
    cursor.execute(
        f"{lock}DELETE FROM runs_run WHERE sequence = %s AND lease_owner = %s{locked}",
        [*thread, claim.sequence, claim.lease_owner],
    )
    return bool(cursor.rowcount)


def end_all_of(thread_ids: list[UUID], now: datetime) -> list[UUID]:
    """End the runs in flight of threads that are deleted, whoever holds them, and return their ids."""
    in_flight = Run.objects.filter(Q(status__in=IN_FLIGHT) | IS_HELD, thread_id__in=thread_ids)
    run_ids = list(in_flight.values_list("run_id", flat=True))
    in_flight.update(status=RunStatus.INTERRUPTED, **_FREE, finished_at=now, updated_at=now)
    return run_ids


def _stands(ending: "Ending") -> str:
    """Return the SQL condition that refuses this ending if somebody asked for another one.

    A cancel beats an end of the graph's own, and a rollback beats both.
    """
    if ending.rollback:
        return ""
    if ending.status is RunStatus.INTERRUPTED:
        return " AND (cancel_action IS NULL OR cancel_action <> 'rollback')"
    return " AND cancel_action IS NULL"


def _thread_first(thread_id: UUID) -> tuple[str, str, list[Any]]:
    """Return what makes a statement on a run lock its thread first: a prefix, a condition, and a parameter.

    All code locks a thread before its runs.
    """
    if not IS_POSTGRES:
        return "", "", []
    lock = "WITH thread AS (SELECT 1 FROM threads_thread WHERE thread_id = %s FOR UPDATE) "
    return lock, " AND EXISTS (SELECT 1 FROM thread)", [uuid_param(thread_id)]
