"""The end of a run: everything that must be true together, in one transaction. Runs in a database thread."""

import math
from datetime import datetime

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from platform_site.core.database.access import moment_param, uuid_param
from platform_site.core.graphs.output import Output
from runs.engine.claim import Claim
from runs.engine.endings import Ending
from runs.engine.queue import claim_next, end_run, forget_run, record_attempt
from runs.hooks import RunEnd, run_ended
from runs.interrupts import interrupts_reconcile, interrupts_restore
from runs.models import Run, RunAttempt, RunSpan, RunStatus
from threads.head import Head, thread_mirror
from threads.messages import messages_put_back
from threads.models import Thread, ThreadStatus

REASONS = {
    RunStatus.SUCCESS: RunAttempt.Reason.FINISHED,
    RunStatus.ERROR: RunAttempt.Reason.FAILED,
    RunStatus.TIMEOUT: RunAttempt.Reason.TIMED_OUT,
    RunStatus.INTERRUPTED: RunAttempt.Reason.CANCELLED,
}


def finish(claim: Claim, ending: Ending, worker: str | None) -> list[Claim] | None:
    """End the run if the lease is still held: run, thread, interrupts, spans, statistics, the next claim.

    Return the claims on the thread's next run, or None if the end was not ours to write.

    A run that somebody has cancelled ends here as cancelled only: they were told that it will. `worker` claims the
    thread's next due run in the same transaction; None leaves it to others.
    """
    now = timezone.now()
    # Without a savepoint: whoever has a transaction already rolls back all of it, should this raise.
    # One cursor, because to make one costs as much as a statement.
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        told = _row_to_tell(claim)
        if not (forget_run(cursor, claim) if claim.is_temporary else _keep(cursor, claim, ending, now)):
            return None
        busy = not (claim.is_temporary and _forget_thread(cursor, claim)) and _has_more(cursor, claim)
        _count(cursor, claim, ending, now)
        if not claim.is_temporary:
            thread_mirror(claim.thread_id, ending.head, status=_thread_status(ending), error=ending.error, busy=busy)
        claims = claim_next(worker, limit=1, thread_id=claim.thread_id) if busy and worker else []
        if told is not None:
            run_ended.send(told, _run_end(claim, ending), now)
    return claims


def _row_to_tell(claim: Claim) -> Run | None:
    """Return the run's row if its end is announced. The row is read before the end, which may delete it."""
    if not claim.kwargs.get("webhook"):
        return None
    run = Run.objects.filter(sequence=claim.sequence).first()
    # A run that was deleted meanwhile has lost its webhook.
    return run if run is not None and run.kwargs.get("webhook") else None


def _run_end(claim: Claim, ending: Ending) -> RunEnd:
    """Return the end as `run_ended` announces it: what was forgotten or rolled back has no values."""
    if claim.is_temporary or ending.rollback:
        return RunEnd(ending.status, ending.error)
    if ending.head is None:
        return RunEnd(ending.status, ending.error, values=None)
    return RunEnd(ending.status, ending.error, (ending.head.output or Output()).shown_json(ending.head.values))


def show_state(claim: Claim, head: Head) -> None:
    """Mirror the state that was read after a run had ended, unless its thread has moved on. An error stays."""
    with transaction.atomic():
        thread = Thread.objects.select_for_update().filter(thread_id=claim.thread_id).first()
        if thread is None or thread.status == ThreadStatus.BUSY:
            return
        status = thread.status if thread.status == ThreadStatus.ERROR else head.status
        thread_mirror(claim.thread_id, head, status=status, error=thread.error)
        if Run.objects.filter(sequence=claim.sequence).exists():
            interrupts_reconcile(claim, head)
        else:
            interrupts_restore(claim.thread_id, head, claim.run_id)


def _keep(cursor: CursorWrapper, claim: Claim, ending: Ending, now: datetime) -> bool:
    """Write how the run ended, or remove it if it is rolled back. False if the lease is lost."""
    if not end_run(cursor, claim, ending, now):
        return False
    if ending.rollback:
        Run.objects.filter(sequence=claim.sequence).delete()
        messages_put_back(claim.thread_id, claim.kwargs)
        if ending.head is not None:
            interrupts_restore(claim.thread_id, ending.head, claim.run_id)
    else:
        record_attempt(claim, REASONS[ending.status])
        _save_spans(claim, ending.spans)
        if ending.head is not None:
            interrupts_reconcile(claim, ending.head)
    return True


def _forget_thread(cursor: CursorWrapper, claim: Claim) -> bool:
    """Delete the thread of a stateless run. False if it stays: somebody has put a run of their own on it."""
    cursor.execute(
        "DELETE FROM threads_thread WHERE thread_id = %s "
        "AND NOT EXISTS (SELECT 1 FROM runs_run r WHERE r.thread_id = threads_thread.thread_id)",
        [uuid_param(claim.thread_id)],
    )
    return bool(cursor.rowcount)


def _has_more(cursor: CursorWrapper, claim: Claim) -> bool:
    cursor.execute(
        "SELECT 1 FROM runs_run WHERE thread_id = %s AND status IN ('pending', 'running') LIMIT 1",
        [uuid_param(claim.thread_id)],
    )
    return cursor.fetchone() is not None


def _thread_status(ending: Ending) -> str:
    if ending.status in (RunStatus.ERROR, RunStatus.TIMEOUT):
        return "error"
    return ending.head.status if ending.head is not None else "idle"


def flush_spans(claim: Claim, spans: list[RunSpan]) -> None:
    """Store spans that have ended of a run that goes on, unless it was deleted meanwhile."""
    with transaction.atomic():
        # A constraint would say so only at the commit.
        if Run.objects.select_for_update(no_key=True).filter(sequence=claim.sequence).exists():
            _save_spans(claim, spans)


def _save_spans(claim: Claim, spans: list[RunSpan]) -> None:
    if not spans:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO runs_runspan (run_id, span_id, parent_id, attempt, kind, name, namespace, started_at, "
            "ended_at, input_tokens, output_tokens, error) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    claim.sequence,
                    uuid_param(span.span_id),
                    uuid_param(span.parent_id) if span.parent_id else None,
                    span.attempt,
                    span.kind,
                    span.name,
                    span.namespace,
                    moment_param(span.started_at),
                    moment_param(span.ended_at),
                    span.input_tokens,
                    span.output_tokens,
                    span.error,
                )
                for span in spans
            ],
        )


def bucket(seconds: float) -> int:
    """The statistics bucket of a duration: `round(4 * log2(milliseconds + 1))`."""
    return round(4 * math.log2(max(seconds, 0) * 1000 + 1))


def _count(cursor: CursorWrapper, claim: Claim, ending: Ending, now: datetime) -> None:
    """Add the run to the statistics of this minute: one upsert."""
    cursor.execute(
        "INSERT INTO runs_runstatistic (workspace_id, assistant_id, minute, status, error_class, wait_bucket, "
        "run_bucket, runs, input_tokens, output_tokens) VALUES (%s, %s, %s, %s, %s, %s, %s, 1, %s, %s) "
        "ON CONFLICT (workspace_id, minute, assistant_id, status, error_class, wait_bucket, run_bucket) "
        "DO UPDATE SET runs = runs_runstatistic.runs + 1, "
        "input_tokens = runs_runstatistic.input_tokens + excluded.input_tokens, "
        "output_tokens = runs_runstatistic.output_tokens + excluded.output_tokens",
        [
            claim.workspace_id,
            uuid_param(claim.assistant_id),
            moment_param(now.replace(second=0, microsecond=0)),
            ending.status.value,
            (ending.error or {}).get("error", "")[:200],
            bucket((claim.started_at - claim.scheduled_at).total_seconds()),
            bucket((now - claim.started_at).total_seconds()),
            ending.input_tokens,
            ending.output_tokens,
        ],
    )
