"""What the engine does again and again without being asked. It happens beside the run loop, where no graph holds it up.

Any number of processes may do it at once: what is taken back, removed or deleted is taken by compare-and-set.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from platform_site.core.background.rounds import Task
from platform_site.core.database.access import in_db, lost_a_lock, read_db
from platform_site.core.database.unavailable import DatabaseBusy
from runs.engine import engine as run_engine
from runs.engine import workers
from runs.engine.frozen import end_frozen_sessions
from runs.engine.removal import removable_runs, remove_run
from runs.models import Run, RunSpan, RunStatistic
from threads.models import Thread
from threads.services import delete_threads, finish_deletes

logger = logging.getLogger("switchyard.engine")

SPAN_FLUSH_SECONDS = 2.0
RETENTION_SECONDS = 3600.0
# Rows that are deleted in one transaction, and hidden threads that are looked at in one round.
PORTION = 5000
HIDDEN_THREADS = 1000


def engine_tasks() -> list[Task]:
    """The engine's background tasks."""
    return [
        Task("leases", take_back_leases, settings.SWEEP_SECONDS),
        Task("removals", finish_removals, settings.SWEEP_SECONDS),
        Task("spans", flush_spans, SPAN_FLUSH_SECONDS),
        Task("retention", apply_retention, RETENTION_SECONDS),
    ]


async def take_back_leases() -> None:
    """Take back runs whose owner is gone, and look for due runs whose wake-up was lost."""
    # What they have locked is taken back below, or by the next round.
    await in_db(end_frozen_sessions)
    await run_engine.engine().take_back(everything=False)
    run_engine.engine().look()


async def finish_removals() -> None:
    """Finish what a crash has left half-done: deletes of threads and of runs, and threads of stateless runs."""
    for workspace_id, thread_id, run_id in await read_db(removable_runs):
        with _left_if_locked(f"run {run_id}"):
            await remove_run(workspace_id, thread_id, run_id)
    for thread_id in await read_db(hidden_threads, timezone.now()):
        with _left_if_locked(f"thread {thread_id}"):
            if await in_db(delete_hidden_thread, thread_id):
                logger.warning("thread %s of a stateless run was left behind; it is deleted", thread_id)
    with _left_if_locked("what deleted threads have left"):
        # A portion a transaction: others write in between.
        while not await in_db(finish_deletes):
            pass


@contextmanager
def _left_if_locked(what: str) -> Iterator[None]:
    """Leave to the next round what another session has locked; the rest of this one goes on."""
    try:
        yield
    except (DatabaseError, DatabaseBusy) as error:
        if isinstance(error, DatabaseError) and not lost_a_lock(error):
            raise
        logger.warning("%s could not be removed yet: %s", what, error)


def hidden_threads(now: datetime) -> list[UUID]:
    """Threads of stateless runs that have outlived every run on them. The youngest may still get theirs."""
    old = Thread.objects.filter(ephemeral=True, created_at__lt=now - timedelta(seconds=settings.LEASE_SECONDS))
    alone = old.exclude(Exists(Run.objects.filter(thread=OuterRef("pk"))))
    return list(alone.order_by("created_at").values_list("pk", flat=True)[:HIDDEN_THREADS])


def delete_hidden_thread(thread_id: UUID) -> bool:
    """Delete the thread unless somebody has put a run on it meanwhile."""
    with transaction.atomic():
        hidden = Thread.objects.select_for_update(skip_locked=True).filter(pk=thread_id, ephemeral=True)
        workspace_id = hidden.values_list("workspace_id", flat=True).first()
        if workspace_id is None or Run.objects.filter(thread_id=thread_id).exists():
            return False
        return bool(delete_threads([thread_id], workspace_id=workspace_id))


async def flush_spans() -> None:
    """Store the spans that have ended so far, for those who watch a run."""
    await run_engine.engine().flush_spans()


async def apply_retention() -> None:
    """Delete what is kept for a time only, a portion at a time."""
    now = timezone.now()
    while await in_db(delete_old_spans, now - timedelta(days=settings.SPAN_RETENTION_DAYS)) == PORTION:
        pass
    await in_db(workers.forget, workers.DatabaseClock())
    while await in_db(delete_old_statistics, now - timedelta(days=settings.STATISTICS_RETENTION_DAYS)) == PORTION:
        pass


def delete_old_spans(horizon: datetime) -> int:
    """Delete a portion of the spans that began before the horizon; how many. They lie about in the order of time."""
    oldest = RunSpan.objects.order_by("pk").values_list("pk", "started_at")[:PORTION]
    old = [pk for pk, started_at in oldest if started_at < horizon]
    if old:
        RunSpan.objects.filter(pk__lte=old[-1], started_at__lt=horizon).delete()
    return len(old)


def delete_old_statistics(horizon: datetime) -> int:
    """Delete a portion of the statistics of minutes before the horizon; return how many.

    It looks at the rows that were made first, because rows are made nearly in the order of their minutes.
    """
    oldest = RunStatistic.objects.order_by("pk").values_list("pk", "minute")[:PORTION]
    old = [pk for pk, minute in oldest if minute < horizon]
    if old:
        RunStatistic.objects.filter(pk__lte=old[-1], minute__lt=horizon).delete()
    return len(old)
