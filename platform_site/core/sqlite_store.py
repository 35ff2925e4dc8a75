"""LangGraph's SQLite store, with transactions that two connections can share a file with."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiosqlite
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from platform_site.core.stores import OpenStore

_PRAGMAS = "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;"
# Two loops may come to their first operation together.
_setting_up = threading.Lock()


class SharedSqliteStore(AsyncSqliteStore):
    """An `AsyncSqliteStore` beside others on the same file."""

    @asynccontextmanager
    async def _cursor(self, *, transaction: bool = True) -> AsyncIterator[aiosqlite.Cursor]:
        if not self.is_setup:
            await self.setup()
        async with self.lock:
            if transaction:
                # A transaction that began as a reader cannot become a writer once another connection has written.
                await self.conn.execute("BEGIN IMMEDIATE")
            try:
                async with self.conn.cursor() as cursor:
                    yield cursor
            except BaseException:
                if transaction:
                    await self.conn.execute("ROLLBACK")
                raise
            if transaction:
                await self.conn.execute("COMMIT")


async def open_sqlite_store(path: Path) -> OpenStore:
    """A store in the file, for the current event loop."""
    await asyncio.to_thread(_set_up, path)
    connection = aiosqlite.connect(path, timeout=20, isolation_level=None)
    # A store that nobody closed must not keep the process from ending.
    connection._thread.daemon = True
    await connection
    await connection.executescript(_PRAGMAS)
    store = SharedSqliteStore(connection)
    await store.setup()
    return store, connection.close


def _set_up(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _setting_up, closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
        connection.executescript(_PRAGMAS)
        SqliteStore(connection).setup()
