"""The questions of graphs that wait for a person, as rows: what lists, ages and assignments are made of."""

from typing import Any
from uuid import UUID

import orjson
from django.db import connection
from django.utils import timezone

from platform_site.core.database.access import uuid_param
from platform_site.core.wire import encode
from runs.engine.claim import Claim
from runs.models import PendingInterrupt
from threads.head import Head
from threads.models import Thread

_Key = tuple[str, str]


def _waiting(head: Head) -> dict[_Key, Any]:
    """The interrupts of the head: (interrupt, task) to its value as a row holds it."""
    return {
        (interrupt["id"], task_id): orjson.loads(encode(interrupt["value"]))
        for task_id, interrupts in head.interrupts.items()
        for interrupt in interrupts
    }


def _open(thread_id: UUID) -> dict[int, tuple[_Key, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, interrupt_id, task_id, value FROM runs_pendinginterrupt "
            "WHERE thread_id = %s AND answered_at IS NULL",
            [uuid_param(thread_id)],
        )
        rows = cursor.fetchall()
    return {pk: ((interrupt, task), orjson.loads(value or b"null")) for pk, interrupt, task, value in rows}


def interrupts_reconcile(claim: Claim, head: Head) -> None:
    """Open a row for each new interrupt of the head state and close the rows of those it no longer has.

    A node that asks again has the same interrupt with another value: a question of its own.
    """
    waiting, known = _waiting(head), _open(claim.thread_id)
    if answered := [pk for pk, (key, value) in known.items() if key not in waiting or waiting[key] != value]:
        _answer(answered, claim.configurable.get("user_id") or "")
    if new := waiting.keys() - {key for pk, (key, _) in known.items() if pk not in answered}:
        PendingInterrupt.objects.bulk_create(
            PendingInterrupt(
                workspace_id=claim.workspace_id,
                thread_id=claim.thread_id,
                run_id=claim.run_id,
                assistant_id=claim.assistant_id,
                interrupt_id=interrupt_id,
                task_id=task_id,
                node=head.nodes.get(task_id, ""),
                value=waiting[interrupt_id, task_id],
                created_at=timezone.now(),
            )
            for interrupt_id, task_id in waiting
            if (interrupt_id, task_id) in new
        )


def interrupts_restore(thread_id: UUID, head: Head, run_id: UUID) -> None:
    """After the run was removed: its questions are gone, and those that it had answered wait again."""
    PendingInterrupt.objects.filter(thread_id=thread_id, run_id=run_id).delete()
    waiting, known = _waiting(head), _open(thread_id)
    if stale := [pk for pk, (key, value) in known.items() if key not in waiting or waiting[key] != value]:
        _answer(stale, "")
    for key in waiting.keys() - {key for pk, (key, _) in known.items() if pk not in stale}:
        rows = PendingInterrupt.objects.filter(thread_id=thread_id, interrupt_id=key[0], task_id=key[1])
        asked = [row.pk for row in rows.order_by("-answered_at") if row.value == waiting[key]]
        PendingInterrupt.objects.filter(pk__in=asked[:1]).update(answered_at=None, answered_by="")


def interrupts_close_stale(thread_id: UUID) -> None:
    """Close the rows of interrupts that a change of state by hand has removed from the thread."""
    waiting = Thread.objects.values_list("interrupts", flat=True).get(thread_id=thread_id) or {}
    ids = {(interrupt["id"], task_id) for task_id, interrupts in waiting.items() for interrupt in interrupts}
    rows = PendingInterrupt.objects.filter(thread_id=thread_id, answered_at=None)
    _answer([row.pk for row in rows if (row.interrupt_id, row.task_id) not in ids], "")


def _answer(rows: list[int], who: str) -> None:
    PendingInterrupt.objects.filter(pk__in=rows).update(answered_at=timezone.now(), answered_by=who)
