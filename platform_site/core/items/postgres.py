"""LangGraph's PostgreSQL store on the pool of the current event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from langgraph.store.base import MatchCondition, Op, Result
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.postgres.base import VECTOR_MIGRATIONS
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import Error
from psycopg.rows import DictRow, tuple_row

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.database.access import LOCKED_PAUSE_SECONDS
from platform_site.core.database.postgres_pool import CONNECTION_OPTIONS, LoopPools, Pool, become_only_one, told_if_away
from platform_site.core.database.unavailable import DatabaseBusy
from platform_site.core.items import index as store_index
from platform_site.core.items.embeddings import Embedder
from platform_site.core.items.filters import jsonb_conditions
from platform_site.core.items.store import ItemStore, StoreClock
from platform_site.core.items.stores import OpenStore, writing_fence

logger = logging.getLogger("switchyard.store")

Cursor = AsyncCursor[tuple[Any, ...]]


class PooledPostgresStore(ItemStore, AsyncPostgresStore):
    """An `AsyncPostgresStore` whose every batch has a connection of its own.

    Vectors are compared one by one, within the namespace and what the filter leaves. An approximate index (HNSW) looks
    at the whole table first and would find nothing in a small namespace of a large store.
    """

    placeholder = "%s"
    columns = "prefix, key, value::text, created_at, updated_at, expires_at, ttl_minutes"
    bytewise = 'COLLATE "C"'
    # A vector without a length has the distance NaN.
    _similarity = "ROUND(COALESCE(NULLIF(1 - (embedding <=> ?::vector), 'NaN'::float8), 0)::numeric, 6)::float8"
    _locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, pool: Pool, clock: StoreClock, embedder: Embedder | None, *, has_vectors: bool) -> None:
        super().__init__(pool)
        self.pool, self.clock, self.embedder, self.has_vectors = pool, clock, embedder, has_vectors

    def let_go(self) -> None:
        # The pool is not the store's.
        pass

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        ops = list(ops)
        while True:
            try:
                return await super().abatch(ops)
            except DatabaseBusy as error:
                # A transaction that met a lock has written nothing. A run waits for as long as it has its lease.
                if writing_fence.get() is None:
                    raise
                logger.warning("items could not be written yet: %s", error)
                await asyncio.sleep(LOCKED_PAUSE_SECONDS)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Cursor]:
        async with (
            told_if_away(self.pool),
            self.pool.connection() as connection,
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            yield cursor

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Cursor]:
        async with (
            told_if_away(self.pool),
            self.pool.connection() as connection,
            connection.transaction(),
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            if (fence := writing_fence.get()) is not None:
                await cursor.execute(*fence.held())
                if await cursor.fetchone() is None:
                    raise LeaseLost(fence)
            yield cursor

    def moment(self, moment: datetime) -> datetime:
        return moment

    def vector(self, vector: list[float]) -> str:
        return f"[{','.join(map(repr, vector))}]"

    def within(self, prefix: str) -> tuple[str, list[Any]]:
        if not prefix:
            return "TRUE", []
        # By bytes, as the official index is ordered; the separator is followed by `/`.
        return "(prefix = ? OR (prefix ~>~ ? AND prefix ~<~ ?))", [prefix, f"{prefix}.", f"{prefix}/"]

    def _filtered(self, filter: Mapping[str, Any]) -> tuple[str, list[Any]]:
        return jsonb_conditions(filter)

    def _matching(self, condition: MatchCondition) -> tuple[str, list[Any]]:
        path, sign = tuple(condition.path), 1 if condition.match_type == "prefix" else -1
        if sign == 1 and "*" not in path:
            return self.within(".".join(path))
        # No label is empty, so one that is there says that the namespace is long enough.
        clauses, params = [f"split_part(prefix, '.', {sign * len(path)}) <> ''"], []
        for place, label in enumerate(path if sign == 1 else reversed(path), 1):
            if label != "*":
                clauses.append(f"split_part(prefix, '.', {sign * place}) = ?")
                params.append(label)
        return f"({' AND '.join(clauses)})", params

    def first_labels(self, count: int) -> str:
        return f"array_to_string((string_to_array(prefix, '.'))[1:{int(count)}], '.')"


async def open_postgres_store(
    pools: LoopPools,
    embedder: Embedder | None = None,
    clock: StoreClock | None = None,
    *,
    anew: bool = False,
    without_index: bool = False,
) -> OpenStore:
    """A store for the current event loop; the pool is not the store's to close.

    `anew`: without vectors, and not to be opened otherwise until `reindex.py` has made them.
    `without_index`: whether it may do without where the database has no pgvector; else that raises `ConfigError`.
    """
    async with told_if_away(), await AsyncConnection.connect(pools.conninfo, **CONNECTION_OPTIONS) as connection:
        await become_only_one(connection)
        await AsyncPostgresStore(connection).setup()
        if embedder is not None and not await _has_pgvector(connection, without_index):
            embedder = None
        has_vectors = await _set_up(connection, embedder, anew)
    store = PooledPostgresStore(await pools.current(), clock or StoreClock(), embedder, has_vectors=has_vectors)
    return store, _nothing


async def _has_pgvector(connection: AsyncConnection[DictRow], may_lack: bool) -> bool:
    try:
        await connection.execute(store_index.CREATE_EXTENSION)
    except Error as error:
        if not may_lack:
            raise store_index.without_pgvector(error) from error
        return False
    return True


async def _set_up(connection: AsyncConnection[DictRow], embedder: Embedder | None, anew: bool) -> bool:
    """Add what LangGraph's tables lack; whether there is a table of vectors."""
    columns = await connection.execute(
        "SELECT column_name AS name, data_type AS kind FROM information_schema.columns "
        "WHERE table_name = 'store' AND table_schema = current_schema()"
    )
    known = {row["name"]: row["kind"] for row in await columns.fetchall()}
    if "index_paths" not in known:
        # What a put said about its index, so that the item can be embedded anew.
        await connection.execute("ALTER TABLE store ADD COLUMN IF NOT EXISTS index_paths text")
    if known.get("ttl_minutes") != "double precision":
        # LangGraph's column holds whole minutes.
        await connection.execute("ALTER TABLE store ALTER COLUMN ttl_minutes TYPE double precision")
    if embedder is not None:
        await _set_up_vectors(connection, embedder, anew)
    found = await connection.execute("SELECT to_regclass('store_vectors') IS NOT NULL AS there")
    row = await found.fetchone()
    return bool(row and row["there"])


async def _set_up_vectors(connection: AsyncConnection[DictRow], embedder: Embedder, anew: bool) -> None:
    asked = store_index.UNFINISHED if anew else (embedder.dims, embedder.name)
    await connection.execute(store_index.CREATE)
    if anew:
        await connection.execute("DROP TABLE IF EXISTS store_vectors")
        await connection.execute(store_index.FORGET)
    # LangGraph's own table, without its approximate index.
    table = VECTOR_MIGRATIONS[1].sql % {"vector_type": "vector", "dims": embedder.dims}
    await connection.execute(table)
    await connection.execute(store_index.REMEMBER.replace("?", "%s"), asked)
    made_by = await (await connection.execute(store_index.READ)).fetchone()
    assert made_by is not None
    store_index.compare(tuple(made_by.values()), asked)


async def _nothing() -> None:
    pass
