"""The sweep of threads whose time is over. Any number of processes may sweep at once.

A thread with a run, at work or waiting, is left alone: its time begins anew when the run ends. One that waits for a
person is idle, and goes. Until it is swept a thread is there for everybody.
"""

import logging
from collections import Counter
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from platform_site.core.background.rounds import Task
from platform_site.core.database.access import in_db, read_db
from platform_site.core.telemetry import metrics
from threads.models import Thread, ThreadStatus, TTLStrategy
from threads.pruning import keep_latest
from threads.services import delete_threads
from threads.time_to_live import TimeToLive, default_sweep, ttl_end

logger = logging.getLogger("switchyard.threads")

# A thread whose pruning was begun and not finished, or that could not be swept, is tried again after this.
AGAIN = timedelta(minutes=5)


class Expiry(Enum):
    """What became of a thread that the sweep looked at."""

    DELETED = auto()
    PRUNED = auto()
    # It was used since: the sweep comes back at its end.
    USED = auto()
    # Gone, at work, or somebody else's at this moment.
    SKIPPED = auto()
    FAILED = auto()


def thread_tasks() -> list[Task]:
    """The background task of threads."""

    async def sweep() -> None:
        await sweep_threads(timezone.now())

    return [Task("threads", sweep, default_sweep().interval)]


async def sweep_threads(now: datetime, limit: int | None = None) -> Counter[Expiry]:
    """Apply the strategies of at most `limit` threads whose time was over at `now`; what became of how many.

    A thread that cannot be swept holds up no other. Raises the last failure when the others are done.
    """
    done: Counter[Expiry] = Counter()
    failure: Exception | None = None
    for thread_id in await read_db(_due, now, limit or default_sweep().limit):
        try:
            expired = await _expire(thread_id, now)
            done[expired] += 1
            metrics.THREADS_SWEPT.labels(expired.name.lower()).inc()
        except Exception as error:
            logger.exception("thread %s could not be swept", thread_id)
            done[Expiry.FAILED] += 1
            metrics.THREADS_SWEPT.labels("failed").inc()
            failure = error
            # Not the first of every sweep: there may be as many as a sweep takes.
            await in_db(_put_off, thread_id, now)
    if done[Expiry.DELETED] or done[Expiry.PRUNED]:
        logger.info(
            "%d threads were deleted, %d pruned: their time was over", done[Expiry.DELETED], done[Expiry.PRUNED]
        )
    if failure is not None:
        raise failure
    return done


def _due(now: datetime, limit: int) -> list[UUID]:
    threads = Thread.objects.filter(expires_at__lte=now).exclude(status=ThreadStatus.BUSY)
    return list(threads.order_by("expires_at").values_list("thread_id", flat=True)[:limit])


async def _expire(thread_id: UUID, now: datetime) -> Expiry:
    done = await in_db(_delete_or_claim, thread_id, now)
    if done is Expiry.PRUNED:
        await keep_latest(thread_id)
        await in_db(_pruned, thread_id, now)
    return done


def _delete_or_claim(thread_id: UUID, now: datetime) -> Expiry:
    """Delete the thread, or make sure that nobody else prunes it now."""
    with transaction.atomic():
        # Under its lock: a run that begins meanwhile waits, and finds the thread gone; one that came before is seen.
        threads = Thread.objects.select_for_update(skip_locked=True).filter(pk=thread_id, expires_at__lte=now)
        thread = threads.exclude(status=ThreadStatus.BUSY).defer("values", "metadata", "config", "messages").first()
        if thread is None or thread.workspace_id is None or thread.ttl_minutes is None or thread.expires_at is None:
            return Expiry.SKIPPED
        end = ttl_end(TimeToLive(thread.ttl_minutes, thread.ttl_strategy), thread.updated_at, thread.expires_at)
        if end > now:
            Thread.objects.filter(pk=thread_id).update(expires_at=end)
            return Expiry.USED
        if thread.ttl_strategy == TTLStrategy.KEEP_LATEST:
            Thread.objects.filter(pk=thread_id).update(expires_at=now + AGAIN)
            return Expiry.PRUNED
        delete_threads([thread_id], workspace_id=thread.workspace_id)
        return Expiry.DELETED


def _put_off(thread_id: UUID, now: datetime) -> None:
    with transaction.atomic():
        # One that another session has locked is there again in the next sweep.
        free = Thread.objects.select_for_update(skip_locked=True).filter(pk=thread_id, expires_at__lte=now)
        Thread.objects.filter(pk__in=list(free.values_list("pk", flat=True))).update(expires_at=now + AGAIN)


def _pruned(thread_id: UUID, now: datetime) -> None:
    """The thread loses its past again after the same time, unless somebody gave it another meanwhile."""
    with transaction.atomic():
        claimed = Thread.objects.select_for_update().filter(pk=thread_id, expires_at=now + AGAIN)
        minutes = claimed.values_list("ttl_minutes", flat=True).first()
        if minutes is not None:
            Thread.objects.filter(pk=thread_id).update(expires_at=now + timedelta(minutes=minutes))
