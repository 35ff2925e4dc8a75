"""Whether what the server relies on answers, within `HEALTH_TIMEOUT_SECONDS`."""

import asyncio
from collections.abc import Awaitable, Callable

from django.conf import settings

from platform_site.core.database.access import IS_POSTGRES, read_db
from platform_site.system.selectors import database_check


async def failures() -> list[str]:
    """Return a sentence for each that does not answer. All are asked at the same time."""
    asked: dict[str, Callable[[], Awaitable[None]]] = {"database": ask_database}
    if settings.REDIS_URL:
        asked["Redis"] = ask_redis
    found = await asyncio.gather(*(_failure(name, ask) for name, ask in asked.items()))
    return [sentence for sentence in found if sentence]


async def _failure(name: str, ask: Callable[[], Awaitable[None]]) -> str:
    subject = f"The {name}" if name.islower() else name
    try:
        await asyncio.wait_for(ask(), settings.HEALTH_TIMEOUT_SECONDS)
    except TimeoutError:
        return f"{subject} does not answer in {settings.HEALTH_TIMEOUT_SECONDS:g} s"
    except Exception as error:
        # Not its text: it may tell strangers of hosts and users.
        return f"{subject} does not answer: {type(error).__name__}"
    return ""


async def ask_database() -> None:
    """Have the database answer a query. PostgreSQL is asked on a connection of its own, which a timeout can give up."""
    if not IS_POSTGRES:
        await read_db(database_check)
        return
    from psycopg import AsyncConnection

    from platform_site.core.database.postgres_pool import loop_pools

    async with await AsyncConnection.connect(loop_pools().conninfo, autocommit=True) as connection:
        await connection.execute("SELECT 1")


async def ask_redis() -> None:
    """Have Redis answer a PING, on a connection of its own."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    client: Redis = Redis.from_url(settings.REDIS_URL, single_connection_client=True, retry=Retry(NoBackoff(), 0))
    try:
        await client.ping()
    finally:
        await client.aclose()
