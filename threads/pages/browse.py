"""What pages read of threads, always through the principal. Part of the roof: it looks at runs for open questions."""

from dataclasses import dataclass
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from platform_site.access.principal import Principal
from platform_site.console.finding import id_contains
from runs.models import PendingInterrupt, Run
from runs.selectors import runs_at_breakpoints
from runs.status import FAILED, WAITING, Shown, thread_shown
from threads.models import LARGE_COLUMNS, Thread, ThreadStatus

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """A thread as a list shows it."""

    thread: Thread
    shown: Shown
    runs: int


def _threads(principal: Principal) -> QuerySet[Thread]:
    asked = PendingInterrupt.objects.filter(thread_id=OuterRef("thread_id"), answered_at__isnull=True)
    return (
        Thread.objects.filter(workspace_id=principal.workspace_id)
        .annotate(waits=Exists(asked) | Exists(runs_at_breakpoints().filter(thread_id=OuterRef("thread_id"))))
        .defer(*LARGE_COLUMNS)
    )


def _narrowed(threads: QuerySet[Thread], word: str, text: str) -> QuerySet[Thread]:
    idle_or_stopped = ~Q(status=ThreadStatus.BUSY)
    conditions = {
        "idle": Q(status=ThreadStatus.IDLE, waits=False),
        "running": Q(status=ThreadStatus.BUSY),
        WAITING: idle_or_stopped & Q(waits=True),
        "paused": Q(status=ThreadStatus.INTERRUPTED, waits=False),
        FAILED: Q(status=ThreadStatus.ERROR, waits=False),
    }
    if word:
        threads = threads.filter(conditions.get(word, Q()))
    if text:
        annotation, condition = id_contains("thread_id", text)
        threads = threads.annotate(**annotation).filter(condition | Q(title__icontains=text))
    return threads


def _rows(threads: list[Thread]) -> list[ThreadRow]:
    counted = Run.objects.filter(thread_id__in=[thread.pk for thread in threads]).values("thread_id")
    runs = {row["thread_id"]: row["runs"] for row in counted.annotate(runs=Count("pk")).order_by()}
    return [
        ThreadRow(thread, thread_shown(thread, thread.waits), runs.get(thread.pk, 0))  # type: ignore[attr-defined]
        for thread in threads
    ]


def threads_page(principal: Principal, word: str, text: str, page: str) -> tuple[Page[Thread], list[ThreadRow]]:
    """One page of the workspace's threads, last used first."""
    threads = _narrowed(_threads(principal), word, text).order_by("-updated_at", "-thread_id")
    found = Paginator(threads, PER_PAGE).get_page(page)
    return found, _rows(list(found))


def threads_found(principal: Principal, text: str, count: int) -> list[ThreadRow]:
    """Threads whose id or title has this text in it."""
    return _rows(list(_narrowed(_threads(principal), "", text).order_by("-updated_at")[:count]))


def find_thread(principal: Principal, thread_id: UUID) -> tuple[Thread, Shown] | None:
    """The whole thread and its status, or None if this principal may not see it."""
    thread = _threads(principal).defer(None).filter(thread_id=thread_id).first()
    return (thread, thread_shown(thread, thread.waits)) if thread else None  # type: ignore[attr-defined]
