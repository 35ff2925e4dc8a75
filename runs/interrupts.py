"""The questions of graphs that wait for a person, as rows: what lists, ages and assignments are made of."""

from uuid import UUID

from django.db import connection
from django.utils import timezone

from platform_site.core.database import uuid_param
from runs.engine.queue import Claim
from runs.models import PendingInterrupt, Run
from threads.head import Head
from threads.models import Thread


def interrupts_reconcile(claim: Claim, head: Head) -> None:
    """Open a row for each new interrupt of the head state and close the rows of those it no longer has."""
    waiting = {
        (interrupt["id"], task_id): interrupt["value"]
        for task_id, interrupts in head.interrupts.items()
        for interrupt in interrupts
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, interrupt_id, task_id FROM runs_pendinginterrupt WHERE thread_id = %s AND answered_at IS NULL",
            [uuid_param(claim.thread_id)],
        )
        known = {(interrupt_id, task_id): pk for pk, interrupt_id, task_id in cursor.fetchall()}
    if answered := [pk for key, pk in known.items() if key not in waiting]:
        _answer(answered, claim.configurable.get("user_id") or "")
    if new := waiting.keys() - known.keys():
        # As the run's row has it now: the assistant may have been deleted meanwhile.
        assistant_id = Run.objects.values_list("assistant_id", flat=True).get(sequence=claim.sequence)
        PendingInterrupt.objects.bulk_create(
            PendingInterrupt(
                workspace_id=claim.workspace_id,
                thread_id=claim.thread_id,
                run_id=claim.run_id,
                assistant_id=assistant_id,
                interrupt_id=interrupt_id,
                task_id=task_id,
                node=head.nodes.get(task_id, ""),
                value=waiting[interrupt_id, task_id],
                created_at=timezone.now(),
            )
            for interrupt_id, task_id in waiting
            if (interrupt_id, task_id) in new
        )


def interrupts_close_stale(thread_id: UUID) -> None:
    """Close the rows of interrupts that a change of state by hand has removed from the thread."""
    waiting = Thread.objects.values_list("interrupts", flat=True).get(thread_id=thread_id) or {}
    ids = {(interrupt["id"], task_id) for task_id, interrupts in waiting.items() for interrupt in interrupts}
    rows = PendingInterrupt.objects.filter(thread_id=thread_id, answered_at=None)
    _answer([row.pk for row in rows if (row.interrupt_id, row.task_id) not in ids], "")


def _answer(rows: list[int], who: str) -> None:
    PendingInterrupt.objects.filter(pk__in=rows).update(answered_at=timezone.now(), answered_by=who)
