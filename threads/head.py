"""What a thread's row mirrors of its head checkpoint, and how it gets there."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.utils import timezone
from langgraph.types import StateSnapshot

from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.database.access import encode_shown, json_param, moment_param, storable, uuid_param
from platform_site.core.graphs.output import Output
from platform_site.core.hooks import state_updated
from platform_site.core.wire import encode, keep
from threads.editing import EditLease, edit_over
from threads.models import Thread, ThreadStatus
from threads.selectors import thread_not_found
from threads.state import interrupts_by_task


@dataclass(frozen=True)
class Head:
    """The head state of a thread, encoded for its row."""

    values: bytes
    interrupts: dict[str, list[dict[str, Any]]]
    nodes: dict[str, str]
    has_next: bool
    next_nodes: tuple[str, ...] = ()
    # The part of the values that the answers of runs show. None keeps the part that the thread's row names.
    output: Output | None = None

    @property
    def status(self) -> str:
        return "interrupted" if self.has_next else "idle"


def head_of(snapshot: StateSnapshot, output: Output) -> Head:
    """Return the head as `snapshot` shows it. `nodes` maps the tasks that wait to their nodes."""
    interrupts = interrupts_by_task(snapshot)
    return Head(
        values=keep(encode_shown(snapshot.values)) if snapshot.created_at else b"null",
        interrupts=orjson.loads(encode_shown(interrupts)) if interrupts else {},
        nodes={task.id: task.name for task in snapshot.tasks if task.id in interrupts},
        has_next=bool(snapshot.next),
        next_nodes=snapshot.next,
        output=output,
    )


def thread_mirror(
    thread_id: UUID, head: Head | None, *, status: str, error: Any = None, busy: bool = False, edited: bool = False
) -> None:
    """Write the thread's status and error, and its values and interrupts where a head is given.

    A `busy` thread has the status once nothing is in flight any more. `edited`: whose lease it was gives it back.
    """
    now = moment_param(timezone.now())
    columns: dict[str, Any] = {
        "status": ThreadStatus.BUSY.value if busy else status,
        "settled_status": status,
        "error": storable(encode(error)).decode() if error is not None else None,
    }
    if head is not None:
        values = None if head.values == b"null" else head.values.decode()
        columns |= {"values": values, "interrupts": encode(head.interrupts).decode(), "state_updated_at": now}
        if head.output is not None:
            columns["output_keys"] = None if head.output.keys is None else json_param(head.output.keys)
    if edited:
        columns |= {"editor": None, "edited_until": None}
    assignments = ", ".join(f'"{column}" = %s' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE threads_thread SET {assignments}, updated_at = %s WHERE thread_id = %s",
            [*columns.values(), now, uuid_param(thread_id)],
        )


def thread_state_changed(edit: EditLease, head: Head) -> None:
    """Mirror a change of state that a person or program made, announce it, and let others change the thread.

    A thread on which a run waits meanwhile stays busy. Raises `NotFound` if the thread was deleted meanwhile; then the
    change is gone with it.
    """
    thread_id = edit.thread_id
    with transaction.atomic():
        locked = Thread.objects.select_for_update().filter(thread_id=thread_id)
        found = locked.values_list("status", "editor", "workspace_id").first()
        if found is not None:
            status, editor, workspace_id = found
            if workspace_id is None:
                # It is deleted, and the rest of it goes in portions.
                raise thread_not_found(thread_id)
            if editor != edit.lease_owner:
                raise LeaseLost(edit)
            thread_mirror(thread_id, head, status=head.status, busy=status == ThreadStatus.BUSY, edited=True)
            state_updated.send(thread_id)
            edit_over(thread_id, status)
            transaction.on_commit(edit.end)
            return
    # Its checkpoint may have come after those of the thread were deleted.
    checkpoints().delete_threads_sync([thread_id])
    raise thread_not_found(thread_id)
