"""Copies of threads: the row and all checkpoints, under a new id. A crash or a delete meanwhile leaves no halves."""

import logging
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import orjson
from django.db import connection, transaction
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db, moment_param, read_db, uuid_param
from platform_site.core.errors import BadRequest, Conflict
from platform_site.core.graphs.registry import BrokenGraph, UnknownGraph
from platform_site.core.loops import state_loop
from platform_site.core.quotas import require_free_disk
from threads.editing import editing
from threads.head import head_of, thread_state_changed
from threads.models import ThreadStatus, ThreadTombstone
from threads.selectors import thread_for_state, thread_get, threads_visible
from threads.services import finish_deletes, require_thread_quota
from threads.state import head_of_thread
from threads.time_to_live import default_time_to_live, ttl_params

logger = logging.getLogger("switchyard.threads")

# A sweep may take an unfinished copy for what is left of a deleted thread; hardly ever, and never so often.
_TRIES = 5
_ANSWERED = ("thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config")


@dataclass(frozen=True)
class _Source:
    # None if there is no such thread.
    created_at: datetime | None = None
    is_busy: bool = False


async def thread_copy(principal: Principal, source: UUID) -> bytes:
    """Copy the thread with its checkpoints, metadata and messages, but no runs; the new thread as JSON.

    Raises `Conflict` if there is no such thread or the workspace has as many as it may have, and `InsufficientStorage`
    if the disk is nearly full. A busy thread is copied as it is at one moment.
    """
    require_free_disk()
    for _ in range(_TRIES):
        target = uuid4()
        found = await in_db(_begin, principal, source, target)
        if found.created_at is None:
            break
        await state_loop().run(checkpoints().copy_thread(source, target))
        if await in_db(_finish, principal, source, found.created_at, target):
            if found.is_busy:
                await _show_own_state(principal, target)
            return _answer(await read_db(thread_get, principal, target))
    raise Conflict


def _begin(principal: Principal, source: UUID, target: UUID) -> _Source:
    """Leave a tombstone first: what a crash leaves of the copy is swept away."""
    row = threads_visible(principal).filter(thread_id=source).values_list("created_at", "status").first()
    if row is None:
        return _Source()
    require_free_disk()
    require_thread_quota(principal.workspace_id)
    ThreadTombstone.objects.create(thread_id=target)
    return _Source(row[0], is_busy=row[1] == ThreadStatus.BUSY)


def _finish(principal: Principal, source: UUID, created_at: datetime, target: UUID) -> bool:
    """Put the copy's row in the place of its tombstone. False if either was gone: then nothing is left of the copy."""
    now = timezone.now()
    with transaction.atomic():
        whole = bool(ThreadTombstone.objects.filter(thread_id=target).delete()[0])
        if whole and _insert_row(principal, source, created_at, target, now):
            return True
        # A tombstone again for what was copied before, or after, the first one was swept.
        ThreadTombstone.objects.get_or_create(thread_id=target)
    finish_deletes([target])
    return False


def _insert_row(principal: Principal, source: UUID, created_at: datetime, target: UUID, now: datetime) -> bool:
    # Of the source as it was found: another workspace may have had its id in between.
    settled = f"CASE WHEN status = '{ThreadStatus.BUSY}' THEN coalesce(settled_status, 'idle') ELSE status END"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO threads_thread (thread_id, workspace_id, title, status, settled_status, metadata, config, "
            'run_config, "values", output_keys, interrupts, error, messages, ephemeral, ttl_minutes, ttl_strategy, '
            "expires_at, created_at, updated_at, state_updated_at) "
            f"SELECT %s, workspace_id, title, {settled}, settled_status, metadata, '{{}}', "
            'run_config, "values", output_keys, interrupts, error, messages, FALSE, %s, %s, %s, %s, %s, %s '
            "FROM threads_thread WHERE thread_id = %s AND workspace_id = %s AND created_at = %s",
            [
                uuid_param(target),
                *ttl_params(default_time_to_live(), now),
                *[moment_param(now)] * 3,
                uuid_param(source),
                principal.workspace_id,
                moment_param(created_at),
            ],
        )
        return bool(cursor.rowcount)


async def _show_own_state(principal: Principal, target: UUID) -> None:
    """The row of a busy thread shows the state before its run; the copy shows the state that was copied."""
    thread = await read_db(thread_for_state, principal, target)
    try:
        async with editing(principal.workspace_id, target) as edit:
            head = await state_loop().run(head_of_thread(thread))
            if head is not None:
                await in_db(thread_state_changed, edit, head_of(head.snapshot, head.output))
    except Conflict:
        # Somebody uses it already: what they do is shown.
        return
    except (BadRequest, BrokenGraph, UnknownGraph) as error:
        logger.info("the copy %s shows the state before its source's run: %s", target, error)


def _answer(thread: bytes) -> bytes:
    copied = orjson.loads(thread)
    return orjson.dumps({name: copied[name] for name in _ANSWERED})
