"""What operators and monitors ask a server: whether it lives, what it is, how much waits."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.utils import timezone

from runs.models import Run, RunStatus


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of all workspaces. Waits are in seconds, None when nothing waits."""

    pending: int
    running: int
    longest_wait: float | None
    median_wait: float | None
    longest_unblocked_wait: float | None


def database_check() -> None:
    """Ask the database for something; raises what the database raises."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def queue_figures() -> Queue:
    """How many runs wait and run, and how long the waiting ones have been due."""
    now = timezone.now()
    due = Run.objects.filter(status=RunStatus.PENDING, scheduled_at__lte=now)
    counts = Run.objects.filter(status__in=(RunStatus.PENDING, RunStatus.RUNNING)).aggregate(
        pending=Count("pk", filter=Q(status=RunStatus.PENDING)),
        running=Count("pk", filter=Q(status=RunStatus.RUNNING)),
        due=Count("pk", filter=Q(status=RunStatus.PENDING, scheduled_at__lte=now)),
        oldest=Min("scheduled_at", filter=Q(status=RunStatus.PENDING, scheduled_at__lte=now)),
    )
    if not counts["due"]:
        return Queue(counts["pending"], counts["running"], None, None, None)
    middle = due.order_by("scheduled_at").values_list("scheduled_at", flat=True)[counts["due"] // 2 :][:1]
    return Queue(
        pending=counts["pending"],
        running=counts["running"],
        longest_wait=_since(counts["oldest"], now),
        median_wait=_since(middle.first() if middle else None, now),
        longest_unblocked_wait=_since(_unblocked(due).aggregate(oldest=Min("scheduled_at"))["oldest"], now),
    )


def _unblocked(due: QuerySet[Run]) -> QuerySet[Run]:
    """Runs that no other run of their thread keeps waiting."""
    return due.exclude(Exists(Run.objects.filter(thread=OuterRef("thread"), lease_owner__isnull=False)))


def _since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds()


def workers_max() -> int:
    """Runs that this process executes at the same time, at most."""
    return int(settings.CONCURRENCY)
