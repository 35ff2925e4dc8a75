"""What pages read of runs: filtered lists, one run with what belongs to it. Always through the principal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, Q, QuerySet, Value
from django.utils import timezone

from assistants.selectors import assistant_column
from platform_site.access.principal import Principal
from platform_site.console.finding import as_uuid, id_contains
from runs import status
from runs.models import PendingInterrupt, Run, RunAttempt, RunSpan, RunStatus
from runs.selectors import runs_at_breakpoints, runs_visible
from threads.models import LARGE_COLUMNS_OF_THREAD, Thread, ThreadStatus

PER_PAGE = 50
MAX_SPANS = 400


@dataclass(frozen=True, slots=True)
class RunFilters:
    """What a list of runs is narrowed by; empty means any."""

    word: str = ""
    assistant: str = ""
    error_class: str = ""
    text: str = ""
    thread: UUID | None = None

    def __bool__(self) -> bool:
        return any((self.word, self.assistant, self.error_class, self.text, self.thread))


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as a list shows it."""

    run: Run
    shown: status.Shown
    seconds: float | None
    now: datetime

    @property
    def waits_in_queue(self) -> bool:
        return self.run.status == RunStatus.PENDING

    @property
    def tokens(self) -> int:
        return self.run.input_tokens + self.run.output_tokens


def _runs(principal: Principal) -> QuerySet[Run]:
    asked = PendingInterrupt.objects.filter(
        thread_id=OuterRef("thread_id"), run_id=OuterRef("run_id"), answered_at__isnull=True
    )
    waits = Exists(asked) | Exists(runs_at_breakpoints().filter(pk=OuterRef("pk")))
    return (
        runs_visible(principal)
        .annotate(waits=waits, assistant_name=assistant_column(principal, "name"))
        .select_related("thread")
        .defer("kwargs", "metadata", "baseline", "error_text", "error_traceback")
        .defer(*LARGE_COLUMNS_OF_THREAD)
    )


def _narrowed(runs: QuerySet[Run], filters: RunFilters) -> QuerySet[Run]:
    ended = Q(status__in=(RunStatus.SUCCESS, RunStatus.INTERRUPTED))
    conditions = {
        status.QUEUED: Q(status=RunStatus.PENDING),
        status.RUNNING: Q(status=RunStatus.RUNNING),
        status.WAITING: ended & Q(waits=True),
        status.DONE: Q(status=RunStatus.SUCCESS, waits=False),
        status.CANCELLED: Q(status=RunStatus.INTERRUPTED, waits=False),
        status.FAILED: Q(status=RunStatus.ERROR),
        status.TIMED_OUT: Q(status=RunStatus.TIMEOUT),
    }
    if filters.word:
        runs = runs.filter(conditions.get(filters.word, Q()))
    if filters.assistant:
        whole = as_uuid(filters.assistant)
        runs = runs.filter(assistant_id=whole) if whole else runs.none()
    if filters.error_class:
        runs = runs.filter(error_class=filters.error_class)
    if filters.thread:
        runs = runs.filter(thread_id=filters.thread)
    if filters.text:
        annotation, condition = id_contains("run_id", filters.text)
        text = Q(thread__title__icontains=filters.text) | Q(error_class__icontains=filters.text)
        runs = runs.annotate(**annotation).filter(condition | text)
    return runs


def run_row(run: Run, now: datetime | None = None) -> RunRow:
    """`run` must come with its `waits` annotation."""
    now = now or timezone.now()
    if run.status == RunStatus.PENDING:
        seconds: float | None = (now - run.scheduled_at).total_seconds()
    elif run.started_at is None:
        seconds = None
    else:
        seconds = ((run.finished_at or now) - run.started_at).total_seconds()
    return RunRow(run, status.run_shown(run, run.waits), seconds, now)  # type: ignore[attr-defined]


def runs_page(principal: Principal, filters: RunFilters, page: str) -> tuple[Page[Run], list[RunRow]]:
    """One page of the workspace's runs, newest first."""
    found = Paginator(_narrowed(_runs(principal), filters).order_by("-sequence"), PER_PAGE).get_page(page)
    now = timezone.now()
    return found, [run_row(run, now) for run in found]


def recent_runs(principal: Principal, count: int) -> list[RunRow]:
    now = timezone.now()
    return [run_row(run, now) for run in _runs(principal).order_by("-sequence")[:count]]


def runs_of_thread(principal: Principal, thread_id: UUID, count: int, without: UUID | None = None) -> list[RunRow]:
    """The newest runs of a thread, one left out if asked."""
    runs = _runs(principal).filter(thread_id=thread_id)
    if without is not None:
        runs = runs.exclude(run_id=without)
    now = timezone.now()
    return [run_row(run, now) for run in runs.order_by("-sequence")[:count]]


def runs_found(principal: Principal, text: str, count: int) -> list[RunRow]:
    """Runs whose id, title or error class has this text in it."""
    runs = _narrowed(_runs(principal), RunFilters(text=text)).order_by("-sequence")[:count]
    return [run_row(run) for run in runs]


def find_run(principal: Principal, run_id: UUID) -> Run | None:
    """The whole run with its thread and its assistant's name and graph, or None if this principal may not see it."""
    runs = _runs(principal).defer(None).defer("thread__values", "baseline")
    runs = runs.annotate(assistant_graph=assistant_column(principal, "graph_id"))
    return runs.filter(run_id=run_id).first()


def attempts_of(run: Run) -> list[RunAttempt]:
    return list(run.attempts.all())


def spans_of(run: Run) -> tuple[list[RunSpan], bool]:
    """The spans of a run in order of their start, at most MAX_SPANS; True if there are more."""
    spans: Sequence[RunSpan] = list(run.spans.all()[: MAX_SPANS + 1])
    return list(spans[:MAX_SPANS]), len(spans) > MAX_SPANS


def questions_of_thread(principal: Principal, thread_id: UUID) -> list[PendingInterrupt]:
    """The open questions of a thread, oldest first."""
    return list(
        PendingInterrupt.objects.filter(
            workspace_id=principal.workspace_id, thread_id=thread_id, answered_at__isnull=True
        ).order_by("created_at", "pk")
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A thread that waits for a person: for an answer, or to be let past a breakpoint."""

    thread: Thread
    since: datetime
    assistant_name: str | None
    node: str


def waiting_for_people(principal: Principal, count: int) -> list[Waiting]:
    """Return what waits for a person in the workspace, the longest waiting first."""
    found = [
        Waiting(question.thread, question.created_at, question.assistant_name, question.node)  # type: ignore[attr-defined]
        for question in questions_waiting(principal, count)
    ]
    stopped = _runs(principal).filter(pk__in=runs_at_breakpoints().filter(workspace_id=principal.workspace_id))
    for run in stopped.order_by("finished_at", "pk")[:count]:
        node, since = f"before {', '.join(run.stopped_before)}", run.finished_at or run.created_at
        found.append(Waiting(run.thread, since, run.assistant_name, node))  # type: ignore[attr-defined]
    return sorted(found, key=lambda waiting: waiting.since)[:count]


def waiting_count(principal: Principal) -> int:
    """Return how many questions are open and how many threads stand at a breakpoint, added."""
    asked = PendingInterrupt.objects.filter(workspace_id=principal.workspace_id, answered_at=None)
    # From the threads, of which few are interrupted: runs that were stopped once are many.
    threads = Thread.objects.filter(workspace_id=principal.workspace_id, status=ThreadStatus.INTERRUPTED)
    stopped = threads.filter(Exists(runs_at_breakpoints().filter(thread_id=OuterRef("thread_id"))))
    one = Value(1)
    return asked.order_by().values_list(one).union(stopped.order_by().values_list(one), all=True).count()


def questions_waiting(principal: Principal, count: int) -> list[PendingInterrupt]:
    """The longest waiting open questions of the workspace."""
    return list(
        PendingInterrupt.objects.filter(workspace_id=principal.workspace_id, answered_at__isnull=True)
        .annotate(assistant_name=assistant_column(principal, "name"))
        .select_related("thread")
        .defer(*LARGE_COLUMNS_OF_THREAD)
        .order_by("created_at", "pk")[:count]
    )
