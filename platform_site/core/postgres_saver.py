"""LangGraph's PostgreSQL saver with a fence: a write of a run proves in its own transaction that it owns the run."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, NamedTuple, cast

import django.db
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncCursor
from psycopg.errors import DataError, DivisionByZero, PipelineAborted
from psycopg.rows import DictRow, dict_row

from platform_site.core.checkpoints import EditLease, Fence, LeaseLost, require_state_size
from platform_site.core.postgres_maintenance import WRITE_COLUMNS, WRITE_KEY, copy_thread, delete_run, prune
from platform_site.core.postgres_pool import LoopPools, Pool, told_if_away

# Fails, and with it the transaction, if the row is not there: in a pipeline the answer comes too late to look at.
# The lock keeps the lease where it is until the commit.
_FENCE = """
SELECT 1 / count(*) FROM (SELECT 1 FROM runs_run WHERE run_id = %s AND lease_owner = %s FOR SHARE) AS held
"""


# The same for a change of a thread's state by hand.
_EDIT_FENCE = """
SELECT 1 / count(*) FROM (SELECT 1 FROM threads_thread WHERE thread_id = %s AND editor = %s FOR SHARE) AS held
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
# LangGraph's statements with the column `run_id`; the first looks at the row that it replaces before it does.
_REPLACE_WRITE = f"""
WITH new ({WRITE_COLUMNS}) AS (VALUES (%s::text, %s::text, %s::text, %s::text, %s::text, %s::integer, %s::text,
    %s::text, %s::bytea, %s::text)),
replaced AS (
    INSERT INTO checkpoint_writes_replaced ({WRITE_COLUMNS})
    SELECT {", ".join(f"w.{column}" for column in WRITE_COLUMNS.split(", "))}
    FROM checkpoint_writes w JOIN new USING ({WRITE_KEY}) WHERE w.run_id IS DISTINCT FROM new.run_id
)
INSERT INTO checkpoint_writes ({WRITE_COLUMNS}) SELECT {WRITE_COLUMNS} FROM new
ON CONFLICT ({WRITE_KEY}) DO UPDATE SET
    channel = EXCLUDED.channel, type = EXCLUDED.type, blob = EXCLUDED.blob, run_id = EXCLUDED.run_id
"""
_KEEP_WRITE = f"""
INSERT INTO checkpoint_writes ({WRITE_COLUMNS}) VALUES ({", ".join(["%s"] * 10)}) ON CONFLICT ({WRITE_KEY}) DO NOTHING
"""

# Bytes of writes on a checkpoint that are not unpacked on the event loop.
_LARGE_WRITES = 65536


def _fence_statement(fence: Fence) -> tuple[LiteralString, tuple[Any, ...]]:
    if isinstance(fence, EditLease):
        return _EDIT_FENCE, (fence.thread_id, fence.lease_owner)
    return _FENCE, (fence.run_id, fence.lease_owner)


class _Text(NamedTuple):
    """A text on its way to the blobs."""

    text: str


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
        try:
            async with told_if_away(pool), self._connected_cursor(pool, pipeline=pipeline) as cursor:
                yield cursor
        except DataError as error:
            # A NUL in what was asked for, for one: said as on Django's own connections.
            raise django.db.DataError(str(error)) from error

    @asynccontextmanager
    async def _connected_cursor(self, pool: Pool, *, pipeline: bool) -> AsyncIterator[AsyncCursor[DictRow]]:
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
                        await cursor.execute(*_fence_statement(fence))
                    yield cursor
            except (DivisionByZero, PipelineAborted) as error:
                if fence is None:
                    raise
                raise LeaseLost(fence) from error

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        # LangGraph puts short values into a JSON column, which has no NUL; whatever is no text goes to the blobs.
        values = checkpoint["channel_values"]
        if held := {name: _Text(value) for name, value in values.items() if isinstance(value, str) and "\0" in value}:
            checkpoint = {**checkpoint, "channel_values": {**values, **held}}
        return await super().aput(config, checkpoint, metadata, new_versions)

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[tuple[str, str, str, str, str, bytes | None]]:
        values = {name: value.text if isinstance(value, _Text) else value for name, value in values.items()}
        blobs = super()._dump_blobs(thread_id, checkpoint_ns, values, versions)
        require_state_size(sum(len(blob[-1] or b"") for blob in blobs))
        return blobs

    async def _load_checkpoint_tuple(self, value: DictRow) -> CheckpointTuple:
        # LangGraph's own unpacks the writes of each checkpoint in a thread: most are done sooner than that would begin.
        if sum(len(write[3]) for write in value["pending_writes"] or ()) > _LARGE_WRITES:
            return await super()._load_checkpoint_tuple(value)
        place = {key: value[key] for key in ("thread_id", "checkpoint_ns", "checkpoint_id")}
        stored = value["checkpoint"]
        values = {**(stored.get("channel_values") or {}), **self._load_blobs(value["channel_values"])}
        checkpoint = cast(Checkpoint, {**stored, "channel_values": values})
        parent_id = value["parent_checkpoint_id"]
        return CheckpointTuple(
            {"configurable": place},
            checkpoint,
            value["metadata"],
            {"configurable": {**place, "checkpoint_id": parent_id}} if parent_id else None,
            self._load_writes(value["pending_writes"]),
        )

    def _dump_writes(
        self,
        thread_id: str,
        checkpoint_ns: str,
        checkpoint_id: str,
        task_id: str,
        task_path: str,
        writes: Sequence[tuple[str, Any]],
    ) -> list[tuple[Any, ...]]:
        run_id = str(self._fence.run_id) if self._fence is not None and self._fence.run_id is not None else None
        rows = super()._dump_writes(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, writes)
        return [(*row, run_id) for row in rows]

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        async with self._pools.connection() as connection:
            for run_id in run_ids:
                found = await connection.execute(
                    "SELECT DISTINCT thread_id FROM checkpoints WHERE metadata ->> 'run_id' = %s", (str(run_id),)
                )
                for row in await found.fetchall():
                    await delete_run(connection, row["thread_id"], str(run_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        async with self._pools.connection() as connection:
            await copy_thread(connection, str(source_thread_id), str(target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        # LangGraph's own refuses threads with delta channels.
        async with self._pools.connection() as connection:
            await prune(connection, list(map(str, thread_ids)), strategy)
