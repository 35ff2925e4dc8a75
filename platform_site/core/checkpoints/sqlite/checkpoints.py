"""Checkpoints in an SQLite file in the data directory."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from platform_site.core.checkpoints.fence import Fence, RunFence
from platform_site.core.checkpoints.fingerprints import Fingerprint, Seen
from platform_site.core.checkpoints.interface import (
    INTERRUPT_INDEX,
    NULL_TASK_ID,
    PRUNED_TOGETHER,
    RESUME_INDEX,
    Allowlist,
    Checkpoints,
    command_write_digests,
)
from platform_site.core.checkpoints.serializers import serializer
from platform_site.core.checkpoints.sqlite.file import CheckpointFile
from platform_site.core.checkpoints.sqlite.fingerprints import fingerprints
from platform_site.core.checkpoints.sqlite.maintenance import copy_in_portions, cut_off_past, delete_places, storage
from platform_site.core.checkpoints.sqlite.rows import delete_portion, delete_run, delete_threads, thread_rows
from platform_site.core.checkpoints.sqlite.saver import GroupCommitSaver
from platform_site.core.checkpoints.storage import Storage
from platform_site.core.serialization.serializer import keys_only


class SqliteCheckpoints(Checkpoints):
    """All savers share one file, its writer thread and its reader threads."""

    def __init__(self, path: Path) -> None:
        self._file = CheckpointFile(path)

    async def setup(self) -> None:
        await asyncio.to_thread(self._file.open)

    def saver(self, allowlist: Allowlist = (), seen: Seen | None = None) -> GroupCommitSaver:
        return GroupCommitSaver(self._file, serde=serializer(allowlist), seen=seen)

    def saver_for_run(self, fence: Fence, allowlist: Allowlist = ()) -> GroupCommitSaver:
        return GroupCommitSaver(self._file, serde=serializer(allowlist), fence=fence)

    def fingerprints_sync(
        self, thread_id: UUID, *, checkpoint_id: str | None = None, before: str | None = None, limit: int = 1
    ) -> list[Fingerprint]:
        only = None if checkpoint_id is None else [checkpoint_id]
        return self._file.read_here(
            lambda connection: fingerprints(connection, str(thread_id), only=only, before=before, limit=limit)
        )

    async def has_checkpoint_of_run(self, thread_id: UUID, run_id: UUID, *, of_root: bool = False) -> bool:
        def found(connection: sqlite3.Connection) -> bool:
            root = "AND checkpoint_ns = '' " if of_root else ""
            statement = f"SELECT 1 FROM checkpoints WHERE run_id = ? AND thread_id = ? {root}LIMIT 1"
            return connection.execute(statement, (str(run_id), str(thread_id))).fetchone() is not None

        return await self._file.read(found)

    async def head(self, thread_id: UUID) -> str | None:
        def newest(connection: sqlite3.Connection) -> str | None:
            statement = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
            found: str | None = connection.execute(statement, (str(thread_id),)).fetchone()[0]
            return found

        return await self._file.read(newest)

    async def command_writes(self, thread_id: UUID) -> dict[str, str]:
        def digests(connection: sqlite3.Connection) -> dict[str, str]:
            # Task and index stand in the primary key: only rows that match are fetched.
            statement = (
                "SELECT checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value FROM writes"
                " WHERE thread_id = ? AND (task_id = ? OR idx = ?)"
            )
            return command_write_digests(connection.execute(statement, (str(thread_id), NULL_TASK_ID, RESUME_INDEX)))

        return await self._file.read(digests)

    async def questions_of_run(self, thread_id: UUID, run_id: UUID) -> set[str]:
        def tasks(connection: sqlite3.Connection) -> set[str]:
            statement = (
                "SELECT task_id FROM writes WHERE thread_id = ? AND checkpoint_ns = '' AND idx = ? AND run_id = ?"
            )
            return {task for (task,) in connection.execute(statement, (str(thread_id), INTERRUPT_INDEX, str(run_id)))}

        return await self._file.read(tasks)

    async def delete_threads(self, thread_ids: Sequence[UUID]) -> None:
        ids = [str(thread_id) for thread_id in thread_ids]
        await self._file.write(lambda connection: delete_threads(connection, ids))

    def delete_threads_sync(self, thread_ids: Sequence[UUID]) -> None:
        ids = [str(thread_id) for thread_id in thread_ids]
        self._file.write_sync(lambda connection: delete_threads(connection, ids))

    def delete_portion_sync(self, thread_ids: Sequence[UUID]) -> bool:
        ids = [str(thread_id) for thread_id in thread_ids]
        return self._file.write_sync(lambda connection: delete_portion(connection, ids))

    async def end_writes(self, fence: RunFence) -> str:
        # One thread writes, one after the other, and asks the fence each time.
        await self._file.write(lambda connection: None)
        return fence.lease_owner

    async def delete_run(self, thread_id: UUID, run_id: UUID) -> None:
        await self._file.write(lambda connection: delete_run(connection, keys_only(), str(thread_id), str(run_id)))

    async def copy_thread(self, source: UUID, target: UUID) -> None:
        # One reader's transaction sees one moment, however long it takes.
        await self._file.read_slowly(
            lambda reader: copy_in_portions(reader, self._file.write_sync, str(source), str(target))
        )

    async def keep_latest(self, thread_id: UUID, is_busy: Callable[[], Awaitable[bool]]) -> None:
        known = await self._file.read(lambda connection: thread_rows(connection, str(thread_id)).keys())
        busy = await is_busy()
        gone = await self._file.write(
            lambda connection: cut_off_past(connection, keys_only(), str(thread_id), known, is_busy=busy)
        )
        for start in range(0, len(gone), PRUNED_TOGETHER):
            portion = gone[start : start + PRUNED_TOGETHER]
            await self._file.write(partial(delete_places, thread_id=str(thread_id), places=portion))

    async def storage(self, thread_id: UUID) -> Storage:
        return await self._file.read_slowly(lambda connection: storage(connection, str(thread_id)))

    async def close(self) -> None:
        await asyncio.to_thread(self._file.close)
