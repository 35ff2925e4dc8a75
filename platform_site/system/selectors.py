"""What operators and monitors ask a server: whether it lives, what it is, how much waits."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.utils import timezone

from runs.engine.queue import IS_HELD, overdue
from runs.models import Run, RunStatus
from threads.models import Thread


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of all workspaces. Waits are in seconds, None when nothing waits."""

    pending: int
    running: int
    longest_wait: float | None
    median_wait: float | None
    longest_unblocked_wait: float | None
    # Of the pending ones: those whose time has come, of these those that could be claimed, and the others.
    due: int = 0
    unblocked: int = 0
    delayed: int = 0
    # Runs whose worker's time is over and that were not taken back yet.
    overdue: int = 0


def database_check() -> None:
    """Ask the database for something; raises what the database raises."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def queue_figures() -> Queue:
    """Return how many runs wait and run, and how long the waiting ones have been due."""
    now = timezone.now()
    due = Run.objects.filter(status=RunStatus.PENDING, scheduled_at__lte=now)
    counts = Run.objects.filter(status__in=(RunStatus.PENDING, RunStatus.RUNNING)).aggregate(
        pending=Count("pk", filter=Q(status=RunStatus.PENDING)),
        running=Count("pk", filter=Q(status=RunStatus.RUNNING)),
        due=Count("pk", filter=Q(status=RunStatus.PENDING, scheduled_at__lte=now)),
        oldest=Min("scheduled_at", filter=Q(status=RunStatus.PENDING, scheduled_at__lte=now)),
        overdue=overdue(),
    )
    pending, running, delayed = counts["pending"], counts["running"], counts["pending"] - counts["due"]
    if not counts["due"]:
        return Queue(pending, running, None, None, None, delayed=delayed, overdue=counts["overdue"])
    unblocked = _unblocked(due, now).aggregate(runs=Count("pk"), oldest=Min("scheduled_at"))
    middle = due.order_by("scheduled_at").values_list("scheduled_at", flat=True)[counts["due"] // 2 :][:1]
    return Queue(
        pending=pending,
        running=running,
        longest_wait=_since(counts["oldest"], now),
        median_wait=_since(middle.first() if middle else None, now),
        longest_unblocked_wait=_since(unblocked["oldest"], now),
        due=counts["due"],
        unblocked=unblocked["runs"],
        delayed=delayed,
        overdue=counts["overdue"],
    )


def _unblocked(due: QuerySet[Run], now: datetime) -> QuerySet[Run]:
    """Return the runs that neither another run of their thread nor a change of its state keeps waiting."""
    of_thread = Run.objects.filter(thread=OuterRef("thread"))
    earlier = of_thread.filter(status=RunStatus.PENDING, sequence__lt=OuterRef("sequence"), scheduled_at__lte=now)
    edited = Thread.objects.filter(pk=OuterRef("thread"), edited_until__gt=now)
    return due.exclude(Exists(of_thread.filter(IS_HELD)) | Exists(earlier) | Exists(edited))


def _since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds()


def workers_max() -> int:
    """Return how many runs this process executes at the same time at most: none in scale mode, where workers do it."""
    return 0 if settings.REDIS_URL else int(settings.CONCURRENCY)


def mode() -> str:
    """Return how the server is set up: in one process on SQLite or on PostgreSQL, or as web processes and workers."""
    if settings.REDIS_URL:
        return "scaled"
    return "embedded-postgresql" if settings.DATABASE_URL else "embedded"
