"""LangGraph's PostgreSQL store on the pool of the current event loop."""

from langgraph.store.postgres.aio import AsyncPostgresStore
from psycopg import AsyncConnection

from platform_site.core.postgres_pool import CONNECTION_OPTIONS, LoopPools, become_only_one
from platform_site.core.stores import OpenStore


async def open_postgres_store(pools: LoopPools) -> OpenStore:
    """A store for the current event loop; the pool is not the store's to close."""
    async with await AsyncConnection.connect(pools.conninfo, **CONNECTION_OPTIONS) as connection:
        await become_only_one(connection)
        await AsyncPostgresStore(connection).setup()
    return AsyncPostgresStore(await pools.current()), _nothing


async def _nothing() -> None:
    pass
