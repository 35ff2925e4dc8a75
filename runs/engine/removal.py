"""The removal of an ended run that was deleted: its checkpoints, its writes on others, its questions, its row.

The row goes last. Whatever a crash leaves half-done is done again by the sweep, which finds the row.
"""

import logging
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import Portion, in_db, read_db
from platform_site.core.errors import NotFound
from platform_site.core.events.configured import event_log
from platform_site.core.loops import state_loop
from runs.engine.queue import IS_HELD
from runs.interrupts import interrupts_restore
from runs.models import CancelAction, PendingInterrupt, Run, RunAttempt, RunSpan, RunStatus
from threads.head import Head, head_of, thread_mirror
from threads.models import Thread, ThreadStatus
from threads.selectors import thread_for_state
from threads.state import head_of_thread

logger = logging.getLogger("switchyard.runs")

# Runs whose rows are looked for together.
PURGED_TOGETHER = 200


def removable_runs() -> list[tuple[int, UUID, UUID]]:
    """Workspace, thread and id of the ended runs that were deleted and are still there."""
    ended = ~IS_HELD & Q(finished_at__isnull=False)
    deleted = Run.objects.filter(ended, cancel_action=CancelAction.ROLLBACK)
    return list(deleted.values_list("workspace_id", "thread_id", "run_id"))


async def remove_run(workspace_id: int, thread_id: UUID, run_id: UUID) -> None:
    """Remove the run; its thread falls back to the state without it. May be called again."""
    await checkpoints().delete_run(thread_id, run_id)
    try:
        thread = await read_db(thread_for_state, Principal(workspace_id=workspace_id), thread_id)
    except NotFound:
        # Deleted meanwhile, and the run with it.
        return
    try:
        head = await state_loop().run(head_of_thread(thread))
    except Exception:
        # Its graph may be broken, or gone.
        logger.exception("the state of thread %s after the delete of run %s cannot be read", thread_id, run_id)
        head = None
    await in_db(_removed, thread_id, run_id, head_of(head.snapshot, head.output) if head is not None else None)


def _removed(thread_id: UUID, run_id: UUID, head: Head | None) -> None:
    with transaction.atomic():
        thread = Thread.objects.select_for_update().filter(thread_id=thread_id).first()
        Run.objects.filter(run_id=run_id).delete()
        if thread is not None and head is not None:
            last = Run.objects.filter(thread_id=thread_id).exclude(finished_at=None).order_by("-sequence").first()
            failed = last is not None and last.status in (RunStatus.ERROR, RunStatus.TIMEOUT)
            thread_mirror(
                thread_id,
                head,
                status=ThreadStatus.ERROR.value if failed else head.status,
                error=thread.error if failed else None,
                busy=thread.status == ThreadStatus.BUSY,
            )
            interrupts_restore(thread_id, head, run_id)
        transaction.on_commit(lambda: event_log().discard(str(run_id)), robust=True)


def purge_runs_of_threads(thread_ids: list[UUID], portion: Portion) -> None:
    """Delete a portion of what runs have left on deleted threads, the runs last: the rest refers to them.

    It looks at few runs at a time, so that a portion costs the same however many there are.
    """
    portion.delete(PendingInterrupt.objects.filter(thread_id__in=thread_ids))
    while not portion.is_used_up:
        runs = Run.objects.filter(thread_id__in=thread_ids).order_by()
        found = dict(runs.values_list("pk", "run_id")[:PURGED_TOGETHER])
        if not found:
            return
        portion.delete(RunSpan.objects.filter(run__in=found).order_by())
        portion.delete(RunAttempt.objects.filter(run__in=found).order_by())
        if not portion.is_used_up:
            portion.delete(Run.objects.filter(pk__in=found))
            transaction.on_commit(partial(_forget_events, list(found.values())), robust=True)


def _forget_events(run_ids: list[UUID]) -> None:
    for run_id in run_ids:
        event_log().discard(str(run_id))
