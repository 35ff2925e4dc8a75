"""The queue: all SQL that moves a run from pending to owned to finished. Each function runs in a database thread.

The statements here and constraints on the table keep these rules:
- at most one run of a thread is owned (has a lease) at a time; its earliest due pending run comes next;
- whoever claims a run gets a lease owner that no other attempt has, and every later write of the attempt names it;
- a run whose lease has expired goes back to pending, or ends with `error` when it has used up its attempts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from platform_site.core.database.access import IS_POSTGRES, json_param, moment, moment_param, uuid_param
from platform_site.core.telemetry import metrics
from runs.models import Run, RunAttempt, RunStatus


@dataclass
class Claim:
    """A run that this process owns, with all that its execution needs."""

    sequence: int
    run_id: UUID
    thread_id: UUID
    workspace_id: int
    assistant_id: UUID
    kwargs: dict[str, Any]
    attempt: int
    lease_owner: str
    scheduled_at: datetime
    started_at: datetime
    attempt_started_at: datetime
    baseline: dict[str, Any] | None = None
    cancel_action: str | None = None
    # Whether there was an attempt before, lost or drained.
    was_begun: bool = False

    @property
    def configurable(self) -> dict[str, Any]:
        return self.kwargs["config"]["configurable"]

    @property
    def graph_id(self) -> str:
        return str(self.configurable["graph_id"])

    @property
    def is_temporary(self) -> bool:
        """Whether the run and its thread are deleted when it ends; its checkpoints are kept in memory."""
        return bool(self.kwargs["temporary"])

    @property
    def is_recovery(self) -> bool:
        """Whether an earlier attempt was lost with its process."""
        return self.attempt > 1


def lease_owner(worker: str, run_id: UUID, attempt: int) -> str:
    """The name of one attempt's lease."""
    return f"{worker}/{run_id.hex[-12:]}/{attempt}"


def end_owner(worker: str, run: Run) -> str:
    """The name of a lease under which a run is ended without another attempt."""
    return lease_owner(worker, run.run_id, run.attempt) + "/end"


def lease_end() -> datetime:
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


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
_CLAIM_COLUMNS = """
    r.sequence, r.run_id, r.thread_id, r.workspace_id, r.assistant_id, r.kwargs, r.attempt, r.scheduled_at,
    r.started_at, r.baseline
"""


def claim_next(
    worker: str,
    *,
    limit: int,
    thread_id: UUID | None = None,
    recoveries: int | None = None,
    alone: bool = True,
) -> list[Claim]:
    """Claim up to `limit` due runs, oldest first, at most `recoveries` of them crash-recovered ones.

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
            f"SELECT {_CLAIM_COLUMNS} FROM runs_run r WHERE {wanted} AND {due} AND {_NEXT_OF_ITS_THREAD} "
            "ORDER BY r.sequence LIMIT %s" + (" FOR UPDATE OF r SKIP LOCKED" if IS_POSTGRES else ""),
            [*params, *[moment_param(now)] * 3, limit],
        )
        for row in cursor.fetchall():
            attempts = row[6]
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


def _take(cursor: Any, worker: str, row: tuple[Any, ...], now: datetime) -> Claim | None:
    sequence, run_id, thread_id, workspace_id, assistant_id, kwargs, attempts, due, started, baseline = row
    claim = Claim(
        sequence=sequence,
        run_id=_uuid(run_id),
        thread_id=_uuid(thread_id),
        workspace_id=workspace_id,
        assistant_id=_uuid(assistant_id),
        kwargs=orjson.loads(kwargs),
        attempt=attempts + 1,
        lease_owner=lease_owner(worker, _uuid(run_id), attempts + 1),
        scheduled_at=moment(due),
        started_at=moment(started) if started else now,
        attempt_started_at=now,
        baseline=orjson.loads(baseline) if baseline else None,
        was_begun=started is not None,
    )
    cursor.execute(
        "UPDATE runs_run SET status = 'running', lease_owner = %s, lease_expires_at = %s, attempt = %s, "
        "attempt_started_at = %s, started_at = %s, updated_at = %s "
        "WHERE sequence = %s AND status = 'pending' AND lease_owner IS NULL AND attempt = %s",
        [
            claim.lease_owner,
            moment_param(lease_end()),
            claim.attempt,
            moment_param(now),
            moment_param(claim.started_at),
            moment_param(now),
            sequence,
            attempts,
        ],
    )
    return claim if cursor.rowcount == 1 else None


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


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


def renew(owners: list[str]) -> dict[UUID, str | None]:
    """The heartbeat: prolong these leases; the runs that are still held, each with its cancel action.

    One that somebody has locked at this moment is left out: a transaction that hangs is not to cost the others theirs.
    """
    if not owners:
        return {}
    held = f"lease_owner IN ({', '.join(['%s'] * len(owners))})"
    if IS_POSTGRES:
        held = f"sequence IN (SELECT sequence FROM runs_run WHERE {held} FOR NO KEY UPDATE SKIP LOCKED)"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE runs_run SET lease_expires_at = %s WHERE {held} RETURNING run_id, cancel_action",
            [moment_param(lease_end()), *owners],
        )
        return {_uuid(run_id): action for run_id, action in cursor.fetchall()}


def release(claim: Claim, *, counts: bool, reason: RunAttempt.Reason) -> bool:
    """Give a run back to pending; False if the lease is lost or somebody has cancelled the run.

    An attempt that does not count (a drain) may be made again.
    """
    held = Run.objects.filter(sequence=claim.sequence, lease_owner=claim.lease_owner, cancel_action=None)
    with transaction.atomic():
        released = held.update(
            status=RunStatus.PENDING,
            lease_owner=None,
            lease_expires_at=None,
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
                claim.lease_owner.partition("/")[0],
                moment_param(claim.attempt_started_at),
                moment_param(timezone.now()),
                reason.value,
            ],
        )


def expired_runs(*, worker: str, alive: set[str], everything: bool) -> list[Run]:
    """Leased runs whose owner is gone. `everything`: no other process can be alive, so all leases of others have ended.

    `alive` are this process's leases as of a moment ago; what `worker` has claimed since then has not run out yet.
    """
    leased = Run.objects.filter(lease_owner__isnull=False)
    if everything:
        leased = leased.exclude(lease_owner__startswith=f"{worker}/")
    else:
        leased = leased.filter(lease_expires_at__lt=timezone.now())
    return [run for run in leased if run.lease_owner not in alive]


def _as_it_was(run: Run) -> "QuerySet[Run]":
    """The run, if nobody has taken or renewed its lease since it was read.

    After a database was away all leases have expired, and their owners renew them while the first sweep goes on.
    """
    held = Run.objects.filter(sequence=run.sequence, lease_owner=run.lease_owner)
    return held.filter(lease_expires_at=run.lease_expires_at)


def _is_free(held: "QuerySet[Run]") -> bool:
    """Lock the run, and return whether it is there and no other session has locked it: nobody waits for such a one."""
    return held.select_for_update(skip_locked=True).values_list("pk").first() is not None


def requeue_lost(run: Run) -> bool:
    """Take a lost run's lease away and make it pending again.

    False if somebody was faster, cancelled or renewed it, or has locked it: the next sweep looks again.
    """
    held = _as_it_was(run).filter(cancel_action=None)
    with transaction.atomic():
        lost = _is_free(held) and held.update(
            status=RunStatus.PENDING, lease_owner=None, lease_expires_at=None, updated_at=timezone.now()
        )
        if lost:
            RunAttempt.objects.create(
                run=run,
                number=run.attempt,
                worker=str(run.lease_owner).partition("/")[0],
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
    owner, held = end_owner(worker, run), _as_it_was(run)
    with transaction.atomic():
        taken = _is_free(held) and held.update(lease_owner=owner, lease_expires_at=lease_end())
    if not taken:
        return None
    metrics.LEASES_EXPIRED.inc()
    return claim_of(run, owner)


def claim_of(run: Run, owner: str) -> Claim:
    """A claim on a run that `owner` holds."""
    return Claim(
        sequence=run.sequence,
        run_id=run.run_id,
        thread_id=run.thread_id,
        workspace_id=run.workspace_id,
        assistant_id=run.assistant_id,
        kwargs=run.kwargs,
        attempt=run.attempt,
        lease_owner=owner,
        scheduled_at=run.scheduled_at,
        started_at=run.started_at or run.created_at,
        attempt_started_at=run.attempt_started_at or run.created_at,
        baseline=run.baseline,
        cancel_action=run.cancel_action,
        was_begun=run.started_at is not None,
    )


def save_baseline(claim: Claim, baseline: dict[str, Any]) -> bool:
    """Remember what the thread held before the run first touched it; False if the lease is lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_run SET baseline = %s WHERE run_id = %s AND lease_owner = %s",
            [json_param(baseline), uuid_param(claim.run_id), claim.lease_owner],
        )
        return bool(cursor.rowcount)
