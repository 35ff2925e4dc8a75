"""Checkpoints in PostgreSQL, in the tables of LangGraph's own saver."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from platform_site.core.checkpoints.fence import Fence, RunFence
from platform_site.core.checkpoints.fingerprints import Fingerprint, Seen
from platform_site.core.checkpoints.interface import (
    INTERRUPT_INDEX,
    NULL_TASK_ID,
    PORTION_ROWS,
    RESUME_INDEX,
    Allowlist,
    Checkpoints,
    command_write_digests,
)
from platform_site.core.checkpoints.postgres.fingerprints import fingerprints_query
from platform_site.core.checkpoints.postgres.maintenance import (
    DELETE_THREADS,
    THREAD_TABLES,
    copy_thread,
    delete_run,
    keep_latest,
    storage,
    thread_rows,
)
from platform_site.core.checkpoints.postgres.saver import REPLACED_WRITES_TABLE, PooledPostgresSaver
from platform_site.core.checkpoints.serializers import serializer
from platform_site.core.checkpoints.storage import Storage
from platform_site.core.database.access import LOCKED_PAUSE_SECONDS
from platform_site.core.database.postgres_pool import CONNECTION_OPTIONS, LoopPools, become_only_one
from platform_site.core.database.unavailable import DatabaseBusy

logger = logging.getLogger("switchyard.runs")


class PostgresCheckpoints(Checkpoints):
    """A saver object for each run, on one pool of connections for each event loop."""

    def __init__(self, pools: LoopPools) -> None:
        self._pools = pools

    async def setup(self) -> None:
        async with await AsyncConnection.connect(self._pools.conninfo, **CONNECTION_OPTIONS) as connection:
            if await _is_current(connection):
                return
            await become_only_one(connection)
            await AsyncPostgresSaver(connection).setup()
            await connection.execute("ALTER TABLE checkpoint_writes ADD COLUMN IF NOT EXISTS run_id TEXT")
            for statement in REPLACED_WRITES_TABLE:
                await connection.execute(statement)

    def saver(self, allowlist: Allowlist = (), seen: Seen | None = None) -> PooledPostgresSaver:
        return PooledPostgresSaver(self._pools, serde=serializer(allowlist), seen=seen)

    def saver_for_run(self, fence: Fence, allowlist: Allowlist = ()) -> PooledPostgresSaver:
        return PooledPostgresSaver(self._pools, serde=serializer(allowlist), fence=fence)

    def fingerprints_sync(
        self, thread_id: UUID, *, checkpoint_id: str | None = None, before: str | None = None, limit: int = 1
    ) -> list[Fingerprint]:
        from django.db import connection

        query = fingerprints_query(str(thread_id), checkpoint_id=checkpoint_id, before=before, limit=limit)
        with connection.cursor() as cursor:
            cursor.execute(*query)
            return [Fingerprint(found_id, content.encode()) for found_id, content in cursor.fetchall()]

    async def has_checkpoint_of_run(self, thread_id: UUID, run_id: UUID, *, of_root: bool = False) -> bool:
        root = " AND checkpoint_ns = ''" if of_root else ""
        statement = (
            "SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = %s AND metadata ->> 'run_id' = %s"
            f"{root}) AS value"
        )
        async with self._pools.connection() as connection:
            return bool(await _value(connection, statement, str(thread_id), str(run_id)))

    async def head(self, thread_id: UUID) -> str | None:
        statement = "SELECT max(checkpoint_id) AS value FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
        async with self._pools.connection() as connection:
            found: str | None = await _value(connection, statement, str(thread_id))
            return found

    async def command_writes(self, thread_id: UUID) -> dict[str, str]:
        async with self._pools.connection() as connection:
            rows = await connection.execute(
                "SELECT checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob FROM checkpoint_writes"
                " WHERE thread_id = %s AND (task_id = %s OR idx = %s)",
                (str(thread_id), NULL_TASK_ID, RESUME_INDEX),
            )
            return command_write_digests([tuple(row.values()) for row in await rows.fetchall()])

    async def questions_of_run(self, thread_id: UUID, run_id: UUID) -> set[str]:
        async with self._pools.connection() as connection:
            rows = await connection.execute(
                "SELECT task_id FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_ns = '' AND idx = %s"
                " AND run_id = %s",
                (str(thread_id), INTERRUPT_INDEX, str(run_id)),
            )
            return {row["task_id"] for row in await rows.fetchall()}

    async def delete_threads(self, thread_ids: Sequence[UUID]) -> None:
        ids = [str(thread_id) for thread_id in thread_ids]
        async with self._pools.connection() as connection, connection.transaction():
            for statement in DELETE_THREADS:
                await connection.execute(statement, (ids,))

    def delete_threads_sync(self, thread_ids: Sequence[UUID]) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            for statement in DELETE_THREADS:
                cursor.execute(statement, ([str(thread_id) for thread_id in thread_ids],))

    def delete_portion_sync(self, thread_ids: Sequence[UUID]) -> bool:
        from django.db import connection

        ids, left = [str(thread_id) for thread_id in thread_ids], PORTION_ROWS
        with connection.cursor() as cursor:
            for table in THREAD_TABLES:
                # An array, so that the rows are found once and not for every row of the table.
                cursor.execute(
                    f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
                    f"SELECT ctid FROM {table} WHERE thread_id = ANY(%s) LIMIT %s))",
                    (ids, left),
                )
                left -= cursor.rowcount
                if left <= 0:
                    return False
        return True

    async def end_writes(self, fence: RunFence) -> str:
        # Waits for the writes that have locked the lease, and refuses those that come later under its old name.
        statement, params = fence.renamed()
        while True:
            try:
                async with self._pools.connection() as connection:
                    row = await _value(connection, statement, *params)
                return fence.lease_owner if row is None else str(row)
            except DatabaseBusy as error:
                logger.warning("the writes of a run could not be ended yet: %s", error)
            await asyncio.sleep(LOCKED_PAUSE_SECONDS)

    async def delete_run(self, thread_id: UUID, run_id: UUID) -> None:
        async with self._pools.connection() as connection:
            await delete_run(connection, str(thread_id), str(run_id))

    async def copy_thread(self, source: UUID, target: UUID) -> None:
        async with self._pools.connection() as connection:
            await copy_thread(connection, str(source), str(target))

    async def keep_latest(self, thread_id: UUID, is_busy: Callable[[], Awaitable[bool]]) -> None:
        async with self._pools.connection() as connection:
            known = (await thread_rows(connection, str(thread_id))).keys()
        busy = await is_busy()
        async with self._pools.connection() as connection:
            await keep_latest(connection, str(thread_id), known, is_busy=busy)

    async def storage(self, thread_id: UUID) -> Storage:
        async with self._pools.connection() as connection:
            return await storage(connection, str(thread_id))

    async def close(self) -> None:
        await self._pools.close_current()


async def _is_current(connection: AsyncConnection[DictRow]) -> bool:
    """Whether no table has to be made or changed."""
    complete = await _value(
        connection,
        "SELECT to_regclass('checkpoint_migrations') IS NOT NULL"
        " AND to_regclass('checkpoint_writes_replaced') IS NOT NULL AND EXISTS (SELECT 1 FROM pg_attribute"
        " WHERE attrelid = to_regclass('checkpoint_writes') AND attname = 'run_id' AND NOT attisdropped) AS value",
    )
    if not complete:
        return False
    version = await _value(connection, "SELECT max(v) AS value FROM checkpoint_migrations")
    return bool(version is not None and version >= len(AsyncPostgresSaver.MIGRATIONS) - 1)


async def _value(connection: AsyncConnection[DictRow], statement: Any, *params: Any) -> Any:
    row = await (await connection.execute(statement, params)).fetchone()
    return None if row is None else row["value"]
