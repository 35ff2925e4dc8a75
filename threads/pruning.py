"""Pruning of threads: all of them, or all of their past."""

from uuid import UUID

from platform_site.access.principal import Principal
from platform_site.core.checkpoints import checkpoints
from platform_site.core.database import in_db, read_db
from platform_site.core.loops import state_loop
from threads.selectors import threads_visible
from threads.services import delete_threads


async def threads_prune(principal: Principal, thread_ids: list[UUID], *, strategy: str) -> int:
    """Delete the threads, or all but the newest checkpoints of each; how many of them there were."""
    if strategy == "delete":
        return await in_db(delete_threads, thread_ids, workspace_id=principal.workspace_id)
    found = await read_db(_found, principal, thread_ids)
    await state_loop().run(checkpoints().keep_latest(found))
    return len(found)


def _found(principal: Principal, thread_ids: list[UUID]) -> list[UUID]:
    return list(threads_visible(principal).filter(thread_id__in=thread_ids).values_list("thread_id", flat=True))
