"""Pruning of threads: all of them, or all of their past."""

from uuid import UUID

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db, read_db
from platform_site.core.loops import state_loop
from threads.models import Thread, ThreadStatus
from threads.selectors import threads_visible
from threads.services import BATCH, delete_threads


async def threads_prune(principal: Principal, thread_ids: list[UUID], *, strategy: str) -> int:
    """Delete the threads, or all but the newest checkpoints of each; how many of them there were."""
    pruned, thread_ids = 0, list(dict.fromkeys(thread_ids))
    # Others can write in between.
    for start in range(0, len(thread_ids), BATCH):
        batch = thread_ids[start : start + BATCH]
        if strategy == "delete":
            pruned += await in_db(delete_threads, batch, workspace_id=principal.workspace_id)
        elif found := await read_db(_found, principal, batch):
            for thread_id in found:
                await keep_latest(thread_id)
            pruned += len(found)
    return pruned


async def keep_latest(thread_id: UUID) -> None:
    """Delete the past of the thread; of one that is busy not what its run may yet be rolled back to."""
    await state_loop().run(checkpoints().keep_latest(thread_id, lambda: read_db(_is_busy, thread_id)))


def _is_busy(thread_id: UUID) -> bool:
    return Thread.objects.filter(thread_id=thread_id, status=ThreadStatus.BUSY).exists()


def _found(principal: Principal, thread_ids: list[UUID]) -> list[UUID]:
    return list(threads_visible(principal).filter(thread_id__in=thread_ids).values_list("thread_id", flat=True))
