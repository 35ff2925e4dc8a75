"""LangGraph's PostgreSQL saver with a fence: a write of a run proves in its own transaction that it owns the run.

Values are packed before the transaction begins, and on threads that no graph uses: nothing that a graph does makes a
transaction longer than its statements take.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

import django.db
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import DataError, DivisionByZero, PipelineAborted
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout, TooManyRequests

from platform_site.core.checkpoints.fence import Fence, LeaseLost, Statement
from platform_site.core.checkpoints.fingerprints import Fingerprint, Seen
from platform_site.core.checkpoints.postgres.fingerprints import FINGERPRINT
from platform_site.core.checkpoints.postgres.maintenance import WRITE_COLUMNS, WRITE_KEY, copy_thread, delete_run, prune
from platform_site.core.checkpoints.serializers import require_state_size, serializer
from platform_site.core.database.access import LOCKED, LOCKED_PAUSE_SECONDS
from platform_site.core.database.postgres_pool import LoopPools, Pool, answers, told_if_away
from platform_site.core.database.unavailable import DatabaseBusy
from platform_site.core.serialization.serializer import CheckpointSerializer

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

# LangGraph's statement, with the fingerprint of the same moment.
SELECT_WITH_FINGERPRINT = f"SELECT {FINGERPRINT} AS fingerprint, {AsyncPostgresSaver.SELECT_SQL.strip()[6:]} "
# Bytes of writes on a checkpoint that are not unpacked on the event loop.
_LARGE_WRITES = 65536


def fence_statement(fence: Fence) -> Statement:
    """Return a statement that fails, and with it the transaction, unless the lease is held.

    In a pipeline the answer of a query comes too late to look at.
    """
    held, params = fence.held()
    return f"SELECT 1 / count(*) FROM ({held}) AS held", params


P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]

logger = logging.getLogger("switchyard.runs")
# Packs and unpacks values. A graph that blocks every thread for its nodes leaves these threads alone.
_packing = ThreadPoolExecutor(4, thread_name_prefix="checkpoints")


async def _pack(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    call = partial(copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_packing, call)


def _is_inline(value: Any) -> bool:
    """Return whether the value is kept in the JSON of the checkpoint, which loses nothing of it, and not as a blob.

    LangGraph keeps every text and number there, also an enum's, and what the database refuses in JSON.
    """
    cls = type(value)
    if cls is str:
        return "\0" not in value and (value.isascii() or _is_unicode(value))
    if cls is float:
        # PostgreSQL writes a large float without a point, so it would come back as an integer.
        return abs(value) < 1e15
    return value is None or cls is bool or (cls is int and abs(value) < 2**63)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        # A lone surrogate.
        return False
    return True


def _packed_json(value: Any) -> Jsonb:
    text = json.dumps(value)
    return Jsonb(value, dumps=lambda _: text)


class PooledPostgresSaver(AsyncPostgresSaver):
    """A saver for one run, or for reads, on the pool of the current loop.

    One object a run: each holds a lock around its statements.
    """

    UPSERT_CHECKPOINT_WRITES_SQL = _REPLACE_WRITE
    INSERT_CHECKPOINT_WRITES_SQL = _KEEP_WRITE

    def __init__(
        self,
        pools: LoopPools,
        *,
        serde: CheckpointSerializer | None = None,
        fence: Fence | None = None,
        seen: Seen | None = None,
    ) -> None:
        # Without a connection: `_cursor`, the only one who uses it, takes one from the pool, which may not be open yet.
        super().__init__(cast(Any, None), serde=serde or serializer(()))
        self.serde: CheckpointSerializer
        self._pools = pools
        self._fence = fence
        self._seen = seen
        if seen is not None:
            self.SELECT_SQL = SELECT_WITH_FINGERPRINT

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
        async with self.lock, AsyncExitStack() as stack:
            connection = await self._lent(stack, pool)
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
                        await cursor.execute(*fence_statement(fence))
                    yield cursor
            except (DivisionByZero, PipelineAborted) as error:
                if fence is None:
                    raise
                if isinstance(error, PipelineAborted):
                    # The statement that failed is not named: the fence, or one that met a lock.
                    with suppress(DivisionByZero):
                        await connection.execute(*fence_statement(fence))
                        raise DatabaseBusy(LOCKED) from error
                raise LeaseLost(fence) from error

    @property
    def _waits(self) -> bool:
        """Whether writes wait for as long as it takes: those of a run that has its lease."""
        return self._fence is not None and self._fence.run_id is not None and self._fence.holds()

    async def _lent(self, stack: AsyncExitStack, pool: Pool) -> AsyncConnection[DictRow]:
        """Return a connection that returns to the pool with the stack. A run waits for as long as it has its lease."""
        while True:
            try:
                return await stack.enter_async_context(pool.connection())
            except (PoolTimeout, TooManyRequests) as error:
                if not self._waits or not await answers(pool):
                    raise
                logger.warning("a run waits for a connection to the database: %s", error)

    async def _write(self, statements: Callable[[AsyncCursor[DictRow]], Awaitable[None]]) -> None:
        """Run statements in one transaction. A run waits for locks and connections for as long as it has its lease."""
        while True:
            try:
                async with self._cursor(pipeline=True) as cursor:
                    await statements(cursor)
                return
            except DatabaseBusy as error:
                if self._fence is None or self._fence.run_id is None:
                    raise
                logger.warning("a checkpoint could not be written yet: %s", error)
                await asyncio.sleep(LOCKED_PAUSE_SECONDS)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        configurable = config["configurable"]
        place = {key: configurable[key] for key in ("thread_id", "checkpoint_ns")}
        about = get_serializable_checkpoint_metadata(config, metadata)
        kept, stored = dict(checkpoint["channel_values"]), {}
        for name, value in checkpoint["channel_values"].items():
            if not _is_inline(value):
                stored[name] = kept.pop(name)
                if isinstance(value, _DeltaSnapshot):
                    # So that LangGraph knows from the checkpoint alone that there is a snapshot.
                    kept[name] = True
        versions = {name: version for name, version in new_versions.items() if name in stored}
        pack = partial(self._packed, {**checkpoint, "channel_values": kept}, about, place, stored, versions)
        blobs, row = await _pack(pack) if versions else pack()
        parent = configurable.get("checkpoint_id")

        async def statements(cursor: AsyncCursor[DictRow]) -> None:
            if blobs:
                await cursor.executemany(self.UPSERT_CHECKPOINT_BLOBS_SQL, blobs)
            await cursor.execute(self.UPSERT_CHECKPOINTS_SQL, (*place.values(), checkpoint["id"], parent, *row))

        await self._write(statements)
        return {"configurable": {**place, "checkpoint_id": checkpoint["id"]}}

    def _packed(
        self,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        place: dict[str, str],
        values: dict[str, Any],
        versions: ChannelVersions,
    ) -> tuple[list[Row], tuple[Jsonb, Jsonb]]:
        """Return the rows of the blobs, and the checkpoint's JSON columns."""
        blobs = self._dump_blobs(place["thread_id"], place["checkpoint_ns"], values, versions)
        require_state_size(sum(len(blob[-1] or b"") for blob in blobs))
        return list(blobs), (_packed_json(checkpoint), _packed_json(metadata))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        replaces = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        query = self.UPSERT_CHECKPOINT_WRITES_SQL if replaces else self.INSERT_CHECKPOINT_WRITES_SQL
        at = config["configurable"]
        thread_id, namespace, checkpoint_id = at["thread_id"], at["checkpoint_ns"], at["checkpoint_id"]
        rows = await _pack(self._dump_writes, thread_id, namespace, checkpoint_id, task_id, task_path, writes)

        async def statements(cursor: AsyncCursor[DictRow]) -> None:
            await cursor.executemany(query, rows)

        await self._write(statements)

    async def _load_checkpoint_tuple(self, value: DictRow) -> CheckpointTuple:
        # Unpacking on another thread costs more than it saves for the writes of most checkpoints.
        if sum(len(write[3]) for write in value["pending_writes"] or ()) > _LARGE_WRITES:
            writes = await _pack(self._load_writes, value["pending_writes"])
        else:
            writes = self._load_writes(value["pending_writes"])
        place = {key: value[key] for key in ("thread_id", "checkpoint_ns", "checkpoint_id")}
        stored = value["checkpoint"]
        values = {**(stored.get("channel_values") or {}), **self._load_blobs(value["channel_values"])}
        checkpoint = cast(Checkpoint, {**stored, "channel_values": values})
        parent_id = value["parent_checkpoint_id"]
        self._note(value)
        return CheckpointTuple(
            {"configurable": place},
            checkpoint,
            value["metadata"],
            {"configurable": {**place, "checkpoint_id": parent_id}} if parent_id else None,
            writes,
        )

    def _note(self, row: DictRow) -> None:
        if self._seen is None or row["checkpoint_ns"]:
            return
        # A checkpoint of an old version of LangGraph is completed by the writes on its parent.
        if row["checkpoint"]["v"] >= 4 or not row["parent_checkpoint_id"]:
            self._seen.note(Fingerprint(row["checkpoint_id"], row["fingerprint"].encode()))

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
        return [
            (
                thread_id,
                checkpoint_ns,
                checkpoint_id,
                task_id,
                task_path,
                WRITES_IDX_MAP.get(channel, index),
                channel,
                *self.serde.dumps_channel(channel, value, task_id),
                run_id,
            )
            for index, (channel, value) in enumerate(writes)
        ]

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[tuple[str, str, str, str, str, bytes | None]]:
        return [
            (thread_id, checkpoint_ns, channel, str(version), *self.serde.dumps_channel(channel, values[channel]))
            for channel, version in versions.items()
        ]

    def _load_blobs(self, blob_values: list[tuple[bytes, bytes, bytes]]) -> dict[str, Any]:
        return {
            channel.decode(): self.serde.loads_channel(channel.decode(), (type_.decode(), value))
            for channel, type_, value in blob_values or ()
            if type_ != b"empty"
        }

    def _load_writes(
        self, writes: list[tuple[bytes, bytes, bytes, bytes, bytes, bytes]] | None
    ) -> list[tuple[str, str, Any]]:
        rows = sorted(writes or [], key=lambda row: writes_sort_key(row[4].decode(), row[0].decode(), int(row[5])))
        return [
            (task.decode(), channel.decode(), self.serde.loads_channel(channel.decode(), (type_.decode(), value)))
            for task, channel, type_, value, _, _ in rows
        ]

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
