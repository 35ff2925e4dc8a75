"""LangGraph's SQLite store, with transactions that two connections can share a file with."""

import asyncio
import heapq
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import aiosqlite
import sqlite_vec
from langgraph.store.base import MatchCondition
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.store.sqlite.base import NS_MATCH_FUNCTION, _namespace_match_pattern

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.items import index as store_index
from platform_site.core.items import vectors
from platform_site.core.items.embeddings import Embedder
from platform_site.core.items.filters import conditions, matches_text
from platform_site.core.items.store import ItemStore, Row, StoreClock
from platform_site.core.items.stores import OpenStore, writing_fence
from platform_site.core.wire import encode

logger = logging.getLogger("switchyard.store")

_OPTIONS: dict[str, Any] = {"timeout": 20, "isolation_level": None}
_PRAGMAS = "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;"
# Two loops may come to their first operation together.
_setting_up = threading.Lock()
# Vectors that are compared at a time where SQLite has no extension for it: few enough for the processor's cache.
_CHUNK = 500
# SQLite allows some 32,000 parameters in a statement.
_MOST_PARAMETERS = 30_000

Connect = Callable[..., Any]


class SharedSqliteStore(ItemStore, AsyncSqliteStore):
    """An `AsyncSqliteStore` beside others on the same file."""

    columns = "prefix, key, value, created_at, updated_at, expires_at, ttl_minutes"
    bytewise = "COLLATE BINARY"
    _similarity = "ROUND(COALESCE(1 - vec_distance_cosine(embedding, ?), 0), 6)"

    def __init__(
        self, connection: aiosqlite.Connection, clock: StoreClock, embedder: Embedder | None, *, has_vectors: bool
    ) -> None:
        super().__init__(connection)
        self.clock, self.embedder, self.has_vectors = clock, embedder, has_vectors
        # Whether this process's SQLite compares vectors itself.
        self.has_extension = False

    async def prepare(self) -> None:
        """Make the connection ready: LangGraph's function and ours, and the extension if SQLite loads any."""
        await self.setup()
        await self.conn.create_function("store_matches", 2, matches_text, deterministic=True)
        await self.conn.create_function("first_labels", 2, _first_labels, deterministic=True)
        # SQLite's own knows the case of ASCII letters only.
        await self.conn.create_function("lower", 1, str.lower, deterministic=True)
        if self.embedder is not None:
            self.has_extension = await _load_extension(self.conn)

    def let_go(self) -> None:
        # Its own thread closes the connection, and ends.
        self.conn.stop()

    @asynccontextmanager
    async def _in_transaction(self, begin: str) -> AsyncIterator[aiosqlite.Cursor]:
        async with self.lock:
            await self.conn.execute(begin)
            try:
                async with self.conn.cursor() as cursor:
                    yield cursor
                await self.conn.execute("COMMIT")
            except BaseException:
                # A full disk, for one, has rolled it back already.
                if self.conn.in_transaction:
                    await self.conn.execute("ROLLBACK")
                raise

    def reading(self) -> Any:
        return self._in_transaction("BEGIN")

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[aiosqlite.Cursor]:
        # A transaction that began as a reader cannot become a writer once another connection has written.
        async with self._in_transaction("BEGIN IMMEDIATE") as cursor:
            # Asked again: since the caller did, a model has embedded and others have written.
            if (fence := writing_fence.get()) is not None and not fence.holds():
                raise LeaseLost(fence)
            yield cursor

    def moment(self, moment: datetime) -> str:
        return moment.astimezone(UTC).isoformat(" ", "microseconds")

    def vector(self, vector: list[float]) -> bytes:
        packed: bytes = sqlite_vec.serialize_float32(vector)
        return packed

    def within(self, prefix: str) -> tuple[str, list[Any]]:
        if not prefix:
            return "TRUE", []
        # The separator is followed by `/` in the order of bytes.
        return "(prefix = ? OR (prefix > ? AND prefix < ?))", [prefix, f"{prefix}.", f"{prefix}/"]

    def _filtered(self, filter: Mapping[str, Any]) -> tuple[str, list[Any]]:
        conditions(filter)
        return "store_matches(value, ?)", [encode(filter).decode()]

    def _matching(self, condition: MatchCondition) -> tuple[str, list[Any]]:
        path = tuple(condition.path)
        if condition.match_type == "prefix" and "*" not in path:
            return self.within(".".join(path))
        return f"{NS_MATCH_FUNCTION}(prefix, ?) = 1", [_namespace_match_pattern(path, condition.match_type)]

    def first_labels(self, count: int) -> str:
        return f"first_labels(prefix, {int(count)})"

    async def _most_similar(
        self, cursor: Any, where: str, params: list[Any], vector: list[float], page: list[int]
    ) -> list[Row]:
        if self.has_extension:
            return await super()._most_similar(cursor, where, params, vector, page)
        limit, offset = page
        scores = await self._scores(cursor, where, params, vector)
        best = heapq.nsmallest(limit + offset, ((-score, *item) for item, score in scores.items()))[offset:]
        found: dict[int, Row] = {}
        for start in range(0, len(best), _MOST_PARAMETERS):
            numbers = [number for _, _, number in best[start : start + _MOST_PARAMETERS]]
            marks = ",".join("?" * len(numbers))
            statement = f"SELECT {self.columns}, rowid FROM store WHERE rowid IN ({marks})"
            found |= {row[-1]: row[:-1] for row in await self.rows(cursor, statement, numbers)}
        return [(*found[number], -score) for score, _, number in best]

    async def _scores(
        self, cursor: Any, where: str, params: list[Any], vector: list[float]
    ) -> dict[tuple[str, int], float]:
        """The best score of each item, under when it was put, which is the order among equals, and its row."""
        statement = (
            "SELECT store.created_at, store.rowid, embedding FROM store JOIN store_vectors USING (prefix, key) "
            f"WHERE {where}"
        )
        await cursor.execute(statement, params)
        scores: dict[tuple[str, int], float] = {}
        while rows := list(await cursor.fetchmany(_CHUNK)):
            similar = await asyncio.to_thread(vectors.similarities, [row[2] for row in rows], vector)
            for (created, number, _), score in zip(rows, similar, strict=True):
                item = created, number
                if score > scores.get(item, -2.0):
                    scores[item] = score
        return scores


async def open_sqlite_store(
    path: Path,
    embedder: Embedder | None = None,
    clock: StoreClock | None = None,
    *,
    connect: Connect | None = None,
    anew: bool = False,
) -> OpenStore:
    """A store in the file, for the current event loop. `connect` is for another SQLite than Python's own.

    `anew`: without vectors, and not to be opened otherwise until `reindex.py` has made them.
    """
    has_vectors = await asyncio.to_thread(_set_up, path, embedder, anew, connect or sqlite3.connect)
    connection = aiosqlite.Connection(lambda: (connect or sqlite3.connect)(str(path), **_OPTIONS), 64)
    # A store that nobody closed must not keep the process from ending.
    connection._thread.daemon = True
    await connection
    await connection.executescript(_PRAGMAS)
    store = SharedSqliteStore(connection, clock or StoreClock(), embedder, has_vectors=has_vectors)
    await store.prepare()
    return store, connection.close


def _set_up(path: Path, embedder: Embedder | None, anew: bool, connect: Connect) -> bool:
    """Make or update the tables; whether there is one of vectors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _setting_up, closing(connect(str(path), **_OPTIONS)) as connection:
        connection.executescript(_PRAGMAS)
        SqliteStore(connection).setup()
        known = {row[1] for row in connection.execute("PRAGMA table_info(store)")}
        if "index_paths" not in known:
            # What a put said about its index, so that the item can be embedded anew.
            connection.execute("ALTER TABLE store ADD COLUMN index_paths text")
        if embedder is not None:
            _set_up_vectors(connection, embedder, anew)
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'store_vectors'")
        return tables.fetchone() is not None


def _set_up_vectors(connection: sqlite3.Connection, embedder: Embedder, anew: bool) -> None:
    asked = store_index.UNFINISHED if anew else (embedder.dims, embedder.name)
    connection.execute(store_index.CREATE)
    if anew:
        connection.execute("DROP TABLE IF EXISTS store_vectors")
        connection.execute(store_index.FORGET)
    # LangGraph's own setup makes this table too, but not without the extension.
    for statement in SqliteStore.VECTOR_MIGRATIONS:
        connection.execute(statement)
    connection.execute(store_index.REMEMBER, asked)
    store_index.compare(connection.execute(store_index.READ).fetchone(), asked)


async def _load_extension(connection: aiosqlite.Connection) -> bool:
    """Load sqlite-vec. Many builds of Python load no extensions; then vectors are compared with numpy."""
    try:
        await connection.enable_load_extension(True)
        await connection.load_extension(sqlite_vec.loadable_path())
        await connection.enable_load_extension(False)
    except Exception as error:
        _say_once(str(error))
        return False
    return True


@cache
def _say_once(reason: str) -> None:
    """Log why vectors are compared with numpy: once a process, not for each loop with a store of its own."""
    logger.info("SQLite loads no extensions here (%s): vectors are compared with numpy", reason)


def _first_labels(prefix: str, count: int) -> str:
    return ".".join(prefix.split(".")[:count])
