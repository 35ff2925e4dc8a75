"""One pool of asynchronous PostgreSQL connections for each event loop; LangGraph's savers and stores work on them."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.db import connections
from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from platform_site.core.database.access import LOCKED, lost_a_lock
from platform_site.core.database.outages import AWAY, outage_of_state
from platform_site.core.database.unavailable import DatabaseAway, DatabaseBusy

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

# What LangGraph's savers expect of a connection.
CONNECTION_OPTIONS: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}

# A connection that was not used for so long is tried before it is.
UNUSED_SECONDS = 1.0
# Time in which a server that is there answers a new connection.
_ANSWER_SECONDS = 5
_EXHAUSTED = "All connections of this process to the database are in use; try again"
# Any number, the same in every process: who holds it changes LangGraph's tables.
_SETUP_LOCK = 7_302_741_115


async def become_only_one(connection: AsyncConnection[DictRow]) -> None:
    """Wait until no other process changes LangGraph's tables, and keep others from it while `connection` is open.

    Statements of this connection wait for locks without a limit from then on: changing a table takes what it takes.
    """
    # Asked again and again instead of waited for: building an index concurrently waits for every open statement, the
    # one that waits for the lock included.
    while True:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS held", (_SETUP_LOCK,))
        row = await cursor.fetchone()
        if row is not None and row["held"]:
            await connection.execute("SET lock_timeout = 0")
            return
        await asyncio.sleep(0.05)


def is_away(error: OperationalError) -> bool:
    """Return whether the error says that the server is not there, or is going or coming."""
    return not isinstance(error, PoolTimeout | TooManyRequests) and outage_of_state(error.sqlstate) == AWAY


@asynccontextmanager
async def told_if_away(pool: Pool | None = None) -> AsyncIterator[None]:
    """Raise `DatabaseAway` or `DatabaseBusy` for an error that says so.

    `pool` gets rid of the connections that were lost with the server.
    """
    try:
        yield
    except (PoolTimeout, TooManyRequests) as error:
        # A pool that cannot make connections fails in the same way as one whose connections are all in use.
        if pool is not None and not await answers(pool):
            raise DatabaseAway(str(error)) from error
        raise DatabaseBusy(_EXHAUSTED) from error
    except OperationalError as error:
        if lost_a_lock(error):
            raise DatabaseBusy(LOCKED) from error
        if not is_away(error):
            raise
        if pool is not None:
            # One connection was lost, so others were: none of them is to cost another run an attempt.
            await pool.check()
        raise DatabaseAway(str(error)) from error


async def answers(pool: Pool) -> bool:
    """Return whether the pool's server takes a new connection."""
    try:
        connection = await AsyncConnection.connect(str(pool.conninfo), autocommit=True, connect_timeout=_ANSWER_SECONDS)
    except OperationalError:
        return False
    await connection.close()
    return True


class _Freshness:
    """Tries a connection that nobody has used for a while before it is lent: the server may have been restarted."""

    def __init__(self) -> None:
        self._last_use: WeakKeyDictionary[AsyncConnection[DictRow], float] = WeakKeyDictionary()

    async def made(self, connection: AsyncConnection[DictRow]) -> None:
        """Note a new connection: the pool may keep it for long before it is first lent.

        Raises what psycopg raises for one that was lost while it was made; the pool then makes another.
        """
        await AsyncConnectionPool.check_connection(connection)
        self._last_use[connection] = time.monotonic()

    async def lent(self, connection: AsyncConnection[DictRow]) -> None:
        """Try a connection if that is due. Raises what psycopg raises for one that is lost."""
        now = time.monotonic()
        if now - self._last_use[connection] > UNUSED_SECONDS:
            await AsyncConnectionPool.check_connection(connection)
        self._last_use[connection] = now

    def let_go(self) -> None:
        """Close all connections, though their loop is closed."""
        for connection in list(self._last_use):
            connection.pgconn.finish()


class _LoopPool(NamedTuple):
    pool: Pool
    freshness: _Freshness
    closing: "asyncio.Task[None]"


async def _close_at_the_end(pool: Pool) -> None:
    """Close the pool when the tasks of its loop are cancelled, as `asyncio.run` does at its end.

    The pool's own tasks may take no notice of that, and `asyncio.run` would wait for them for ever.
    """
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        await pool.close()
        raise


class LoopPools:
    """Pools opened on first use. A pool belongs to the loop on which it was opened."""

    def __init__(self, conninfo: str, *, max_size: int = 16) -> None:
        self.conninfo = conninfo
        self._max_size = max_size
        self._pools: dict[asyncio.AbstractEventLoop, _LoopPool] = {}
        self._lock = threading.Lock()

    async def current(self) -> Pool:
        """The open pool of the current loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            known = self._pools.get(loop)
            if known is None:
                self._let_go_of_left()
                known = self._pools[loop] = self._made()
        if known.pool.closed:
            await known.pool.open()
        return known.pool

    def _made(self) -> _LoopPool:
        freshness = _Freshness()
        pool: Pool = AsyncConnectionPool(
            self.conninfo,
            connection_class=AsyncConnection[DictRow],
            kwargs=CONNECTION_OPTIONS,
            configure=freshness.made,
            check=freshness.lent,
            min_size=1,
            max_size=self._max_size,
            open=False,
        )
        return _LoopPool(pool, freshness, asyncio.create_task(_close_at_the_end(pool)))

    def _let_go_of_left(self) -> None:
        """Close the pools of closed loops: a node may make a loop for each of its calls. The caller holds the lock."""
        for loop in [loop for loop in self._pools if loop.is_closed()]:
            self._pools.pop(loop).freshness.let_go()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A connection of the current loop's pool. Raises `DatabaseAway` and `DatabaseBusy`."""
        pool = await self.current()
        async with told_if_away(pool), pool.connection() as connection:
            yield connection

    def use(self) -> tuple[int, int, int]:
        """Of all pools together: connections, connections in use, callers that wait for one. From any thread."""
        with self._lock:
            stats = [known.pool.get_stats() for known in self._pools.values()]
        size = sum(found["pool_size"] for found in stats)
        available = sum(found["pool_available"] for found in stats)
        return size, size - available, sum(found["requests_waiting"] for found in stats)

    async def close_current(self) -> None:
        """Close the pool of the current loop; a later use opens a new one."""
        with self._lock:
            known = self._pools.pop(asyncio.get_running_loop(), None)
        if known is not None:
            await known.pool.close()
            known.closing.cancel()


@cache
def loop_pools() -> LoopPools:
    """The pools of this process, on Django's database: the fence reads its tables."""
    database = connections["default"].settings_dict
    place = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    named = {name: database[key] for name, key in place.items() if database.get(key)}
    return LoopPools(make_conninfo(**named, **database["OPTIONS"]))
