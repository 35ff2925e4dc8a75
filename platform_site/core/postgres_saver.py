"""LangGraph's PostgreSQL saver with a fence: a write of a run proves in its own transaction that it owns the run."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import DivisionByZero, PipelineAborted
from psycopg.rows import DictRow, dict_row

from platform_site.core.checkpoints import Fence, LeaseLost, adopted
from platform_site.core.postgres_pool import LoopPools

# Fails, and with it the transaction, if the row is not there: in a pipeline the answer comes too late to look at.
# The lock keeps the lease where it is until the commit.
_FENCE = """
SELECT 1 / count(*) FROM (SELECT 1 FROM runs_run WHERE run_id = %s AND lease_owner = %s FOR SHARE) AS held
"""


# What a run replaces in `checkpoint_writes` is kept as it was: deleting the run brings it back.
REPLACED_WRITES_TABLE = (
    """
CREATE TABLE IF NOT EXISTS checkpoint_writes_replaced (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL, checkpoint_id TEXT NOT NULL, task_id TEXT NOT NULL,
    task_path TEXT NOT NULL, idx INTEGER NOT NULL, channel TEXT NOT NULL, type TEXT, blob BYTEA NOT NULL, run_id TEXT
)
""",
    "CREATE INDEX IF NOT EXISTS checkpoint_writes_replaced_of_thread ON checkpoint_writes_replaced (thread_id)",
)
_COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob, run_id"
_KEY = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"
# LangGraph's statements with the column `run_id`; the first looks at the row that it replaces before it does.
_REPLACE_WRITE = f"""
WITH new ({_COLUMNS}) AS (VALUES (%s::text, %s::text, %s::text, %s::text, %s::text, %s::integer, %s::text, %s::text,
    %s::bytea, %s::text)),
replaced AS (
    INSERT INTO checkpoint_writes_replaced ({_COLUMNS})
    SELECT {", ".join(f"w.{column}" for column in _COLUMNS.split(", "))}
    FROM checkpoint_writes w JOIN new USING ({_KEY}) WHERE w.run_id IS DISTINCT FROM new.run_id
)
INSERT INTO checkpoint_writes ({_COLUMNS}) SELECT {_COLUMNS} FROM new
ON CONFLICT ({_KEY}) DO UPDATE SET
    channel = EXCLUDED.channel, type = EXCLUDED.type, blob = EXCLUDED.blob, run_id = EXCLUDED.run_id
"""
_KEEP_WRITE = f"""
INSERT INTO checkpoint_writes ({_COLUMNS}) VALUES ({", ".join(["%s"] * 10)}) ON CONFLICT ({_KEY}) DO NOTHING
"""


class PooledPostgresSaver(AsyncPostgresSaver):
    """A saver for one run, or for reads, on the pool of the current loop.

    One object a run: each holds a lock around its statements.
    """

    UPSERT_CHECKPOINT_WRITES_SQL = _REPLACE_WRITE
    INSERT_CHECKPOINT_WRITES_SQL = _KEEP_WRITE

    def __init__(
        self, pools: LoopPools, *, serde: SerializerProtocol | None = None, fence: Fence | None = None
    ) -> None:
        # Without a connection: `_cursor`, the only one who uses it, takes one from the pool, which may not be open yet.
        super().__init__(cast(Any, None), serde=serde)
        self._pools = pools
        self._fence = fence

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        pool = await self._pools.current()
        async with self.lock, pool.connection() as connection:
            if not pipeline:
                async with connection.cursor(binary=True, row_factory=dict_row) as cursor:
                    yield cursor
                return
            fence = self._fence
            if fence is not None and not fence.holds():
                raise LeaseLost(fence)
            try:
                # One transaction: without a BEGIN a pipeline commits at its end, or nothing of it.
                async with connection.pipeline(), connection.cursor(binary=True, row_factory=dict_row) as cursor:
                    if fence is not None:
                        await cursor.execute(_FENCE, (fence.run_id, fence.lease_owner))
                    yield cursor
            except (DivisionByZero, PipelineAborted) as error:
                if fence is None:
                    raise
                raise LeaseLost(fence) from error

    def _dump_writes(
        self,
        thread_id: str,
        checkpoint_ns: str,
        checkpoint_id: str,
        task_id: str,
        task_path: str,
        writes: Sequence[tuple[str, Any]],
    ) -> list[tuple[Any, ...]]:
        run_id = str(self._fence.run_id) if self._fence is not None else None
        rows = super()._dump_writes(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, writes)
        return [(*row, run_id) for row in rows]

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        pool = await self._pools.current()
        async with pool.connection() as connection:
            for run_id in run_ids:
                found = await connection.execute(
                    "SELECT DISTINCT thread_id FROM checkpoints WHERE metadata ->> 'run_id' = %s", (str(run_id),)
                )
                for row in await found.fetchall():
                    await delete_run(connection, row["thread_id"], str(run_id))


async def delete_run(connection: AsyncConnection[DictRow], thread_id: str, run_id: str) -> None:
    """In one transaction: the run's checkpoints with their writes, and values only they used; its writes elsewhere."""
    async with connection.transaction():
        rows = await connection.execute(
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id AS parent,"
            " coalesce(metadata ->> 'run_id' = %s, false) AS doomed FROM checkpoints WHERE thread_id = %s",
            (run_id, thread_id),
        )
        found = [(row["checkpoint_ns"], row["checkpoint_id"], row["parent"], row["doomed"]) async for row in rows]
        doomed = {(namespace, checkpoint_id): parent for namespace, checkpoint_id, parent, gone in found if gone}
        for namespace, checkpoint_id, parent, gone in found:
            if not gone and (namespace, parent) in doomed:
                await connection.execute(
                    "UPDATE checkpoints SET parent_checkpoint_id = %s"
                    " WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s",
                    (adopted(doomed, namespace, parent), thread_id, namespace, checkpoint_id),
                )
        by_namespace: dict[str, list[str]] = {}
        for namespace, checkpoint_id in doomed:
            by_namespace.setdefault(namespace, []).append(checkpoint_id)
        for namespace, checkpoint_ids in by_namespace.items():
            place = (thread_id, namespace, checkpoint_ids)
            for table in ("checkpoint_writes", "checkpoint_writes_replaced", "checkpoints"):
                await connection.execute(
                    f"DELETE FROM {table} WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = ANY(%s)",
                    place,
                )
            await connection.execute(
                "DELETE FROM checkpoint_blobs WHERE thread_id = %s AND checkpoint_ns = %s AND (channel, version) NOT IN"
                " (SELECT v.key, v.value FROM checkpoints c"
                "  CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') v"
                "  WHERE c.thread_id = %s AND c.checkpoint_ns = %s)",
                (thread_id, namespace, thread_id, namespace),
            )
        await _take_back_writes(connection, thread_id, run_id)


async def _take_back_writes(connection: AsyncConnection[DictRow], thread_id: str, run_id: str) -> None:
    """Delete the run's writes; in the place of each, what it replaced last."""
    place = (thread_id, run_id)
    await connection.execute("DELETE FROM checkpoint_writes_replaced WHERE thread_id = %s AND run_id = %s", place)
    taken = await connection.execute(
        f"DELETE FROM checkpoint_writes WHERE thread_id = %s AND run_id = %s RETURNING {_KEY}", place
    )
    for row in await taken.fetchall():
        await connection.execute(
            f"WITH last AS (DELETE FROM checkpoint_writes_replaced WHERE sequence = ("
            f"SELECT max(sequence) FROM checkpoint_writes_replaced WHERE ({_KEY}) = (%s, %s, %s, %s, %s))"
            f" RETURNING {_COLUMNS}) INSERT INTO checkpoint_writes ({_COLUMNS}) SELECT {_COLUMNS} FROM last",
            tuple(row.values()),
        )
