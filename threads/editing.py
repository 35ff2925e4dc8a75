"""The right to change a thread's state by hand: held by one at a time, in all processes, and never beside a run.

It is a lease in the thread's row. Who comes second waits a moment for it. A run that is made meanwhile waits as pending
until it is given back or has expired: it begins on the state that was made. What is written under a lease that does not
hold any more is refused, as for runs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import LiteralString
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from platform_site.core.checkpoints.fence import LeaseLost, Statement
from platform_site.core.database.access import in_db, moment_param, uuid_param
from platform_site.core.errors import Conflict
from platform_site.core.hooks import thread_freed
from threads.models import Thread, ThreadStatus
from threads.selectors import thread_not_found

# How long a change waits for another one, and how often it looks, in seconds.
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.02


# Finds the thread while it is held, and locks it until the commit.
_HELD: LiteralString = "SELECT 1 FROM threads_thread WHERE thread_id = %s AND editor = %s FOR SHARE"


class EditLease:
    """The fence of a change of a thread's state by hand."""

    def __init__(self, thread_id: UUID, lease_owner: str) -> None:
        self.run_id: UUID | None = None
        self.thread_id = thread_id
        self.lease_owner = lease_owner
        self._is_over = False

    def holds(self) -> bool:
        return not self._is_over

    def held(self) -> Statement:
        return _HELD, (self.thread_id, self.lease_owner)

    def end(self) -> None:
        self._is_over = True


@asynccontextmanager
async def editing(workspace_id: int, thread_id: UUID) -> AsyncIterator[EditLease]:
    """Change the state of the workspace's thread in this block, alone.

    Raises `NotFound`, and `Conflict` while a run of the thread is in flight, while another change takes long, or if
    this one takes longer than its lease.
    """
    edit = EditLease(thread_id, uuid4().hex)
    await _begin(workspace_id, edit)
    try:
        async with asyncio.timeout(settings.LEASE_SECONDS / 2) as limit:
            yield edit
    except (TimeoutError, LeaseLost) as error:
        if isinstance(error, TimeoutError) and not limit.expired():
            raise
        raise Conflict(f"Thread {thread_id} could not be changed in time: its graph takes too long for it.") from error
    finally:
        if edit.holds():
            edit.end()
            await in_db(_give_back, edit)


async def _begin(workspace_id: int, edit: EditLease) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await in_db(_take, workspace_id, edit):
        if asyncio.get_running_loop().time() > deadline:
            raise Conflict(f"Thread {edit.thread_id} is being changed by somebody else: try again.")
        await asyncio.sleep(PAUSE_SECONDS)


def _take(workspace_id: int, edit: EditLease) -> bool:
    """Take the lease; False if somebody has it.

    The thread that was looked up may be deleted, and its id taken by another workspace.
    """
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE threads_thread SET editor = %s, edited_until = %s "
            "WHERE thread_id = %s AND workspace_id = %s AND status <> 'busy' "
            "AND (edited_until IS NULL OR edited_until <= %s)",
            [
                edit.lease_owner,
                moment_param(now + timedelta(seconds=settings.LEASE_SECONDS)),
                uuid_param(edit.thread_id),
                workspace_id,
                moment_param(now),
            ],
        )
        if cursor.rowcount:
            return True
    own = Thread.objects.filter(thread_id=edit.thread_id, workspace_id=workspace_id)
    status = own.values_list("status", flat=True).first()
    if status is None:
        raise thread_not_found(edit.thread_id)
    if status == ThreadStatus.BUSY:
        raise Conflict(f"Thread {edit.thread_id} has in-flight runs: wait for them to finish or cancel them first.")
    return False


def _give_back(edit: EditLease) -> None:
    with transaction.atomic():
        held = Thread.objects.select_for_update().filter(thread_id=edit.thread_id, editor=edit.lease_owner)
        status = held.values_list("status", flat=True).first()
        if status is not None:
            held.update(editor=None, edited_until=None)
            edit_over(edit.thread_id, status)


def edit_over(thread_id: UUID, status: str) -> None:
    """Tell, in the transaction that gives the lease back, that runs which came meanwhile may begin."""
    if status == ThreadStatus.BUSY:
        thread_freed.send(thread_id)
