"""Is it well: database, queue, workers and memory, in one query that every page can afford."""

import time
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Count, Min, Q
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.console.checks import Check
from platform_site.console.memory_health import memory_checks
from platform_site.console.wording import number, took
from platform_site.core.background.tasks import Status, background
from platform_site.core.graphs.registry import GraphRegistry, registry
from platform_site.system.processes import processes
from runs.engine.queue import overdue
from runs.models import Run, RunStatus
from runs.pages.browse import waiting_count

# Rounds of a background task that fail one after the other before it is worth a word.
FAILURES = 2
# A due run that nobody has taken for this long means that nobody takes runs.
STUCK_SECONDS = 30
# Broken graphs that are named; more are counted.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Health:
    """Live counts of one workspace and what they say about the server."""

    due: int
    running: int
    lost: int
    waiting: int
    oldest_due: datetime | None
    database_seconds: float
    checks: list[Check] = field(default_factory=list)

    @property
    def worst(self) -> Check | None:
        """The check to worry about, if any."""
        return next((check for tone in ("bad", "late") for check in self.checks if check.tone == tone), None)


def health(principal: Principal) -> Health:
    """Counts of live runs and open questions of the workspace, with a word for database, queue and workers."""
    now = timezone.now()
    begin = time.perf_counter()
    due = Q(status=RunStatus.PENDING, scheduled_at__lte=now)
    live = Run.objects.filter(
        workspace_id=principal.workspace_id, status__in=(RunStatus.PENDING, RunStatus.RUNNING)
    ).aggregate(
        due=Count("pk", filter=due),
        oldest=Min("scheduled_at", filter=due),
        running=Count("pk", filter=Q(status=RunStatus.RUNNING)),
        lost=overdue(),
    )
    seconds = time.perf_counter() - begin
    waiting = waiting_count(principal)
    found = Health(live["due"], live["running"], live["lost"], waiting, live["oldest"], seconds)
    found.checks.extend([_database(found), _queue(found, now), _workers(found), _graphs(registry())])
    if statuses := background().statuses():
        found.checks.append(_background(statuses, time.time()))
    found.checks.extend(memory_checks(processes()))
    return found


def _database(found: Health) -> Check:
    if connection.vendor == "sqlite":
        import sqlite3

        name = f"SQLite {sqlite3.sqlite_version}"
    else:
        name = f"PostgreSQL {connection.pg_version // 10000}"  # type: ignore[attr-defined]
    slow = found.database_seconds > 0.5
    return Check("Database", "late" if slow else "ok", f"{name}, answers in {took(found.database_seconds)}")


def _queue(found: Health, now: datetime) -> Check:
    if not found.due or found.oldest_due is None:
        return Check("Queue", "ok", "Nothing waits")
    oldest = (now - found.oldest_due).total_seconds()
    late = oldest > STUCK_SECONDS
    return Check("Queue", "late" if late else "ok", f"{number(found.due)} waiting, oldest {took(oldest)}")


def _workers(found: Health) -> Check:
    if found.lost:
        return Check("Workers", "late", f"{number(found.lost)} of {number(found.running)} running lost their worker")
    if found.running:
        return Check(
            "Workers", "ok", f"{number(found.running)} running, {number(settings.CONCURRENCY)} slots a process"
        )
    return Check("Workers", "ok", f"Nothing running, {number(settings.CONCURRENCY)} slots a process")


def _graphs(graphs: GraphRegistry) -> Check:
    """Which graphs cannot be served. The reasons are on the page of the assistants, for admins."""
    if broken := [graph_id for graph_id in graphs.ids if graph_id in graphs.failures]:
        named = ", ".join(broken[:NAMED]) + (f" and {len(broken) - NAMED} more" if len(broken) > NAMED else "")
        return Check("Graphs", "bad", f"{number(len(broken))} of {number(len(graphs.ids))} cannot be served: {named}")
    loading = sum(graphs.state(graph_id) == "loading" for graph_id in graphs.ids)
    if loading:
        return Check("Graphs", "ok", f"{number(loading)} of {number(len(graphs.ids))} still loading")
    return Check("Graphs", "ok", f"{number(len(graphs.ids))} ready")


def _background(statuses: list[Status], now: float) -> Check:
    """The worst of this process's background tasks: one that fails before one that has not run for long."""
    failing = [status for status in statuses if status.failures_in_a_row >= FAILURES]
    if failing:
        worst = max(failing, key=lambda status: status.failures_in_a_row)
        text = f"{worst.name} failed {number(worst.failures_in_a_row)} times in a row, {worst.last_error_class}"
        return Check("Background", "bad", text)
    if late := [status for status in statuses if status.is_late(now)]:
        oldest = min(late, key=lambda status: status.last_run or status.started)
        since = took(now - (oldest.last_run or oldest.started))
        return Check("Background", "late", f"{oldest.name} has not run for {since}")
    return Check("Background", "ok", f"{number(len(statuses))} tasks, all well")
