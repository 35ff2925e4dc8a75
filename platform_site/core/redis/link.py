"""The way to Redis in scale mode: one event loop on a thread of its own, and the clients that work there."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from platform_site.core.loops import BackgroundLoop

T = TypeVar("T")
logger = logging.getLogger("switchyard.redis")

# Before every key of ours.
PREFIX = "switchyard:"
# How long a blocking read waits, in seconds: a connection that is dead without having said so is found out after it.
BLOCK_SECONDS = 5.0
# Pauses between attempts to reach a Redis that is away, in seconds.
PAUSES = (0.05, 0.1, 0.25, 0.5, 1.0)
_TOLD_EVERY = 60


class RedisLink:
    """The loop and its clients. Only `submit` and `call` may be used from other threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._background = BackgroundLoop("redis")
        self._background.start()
        self.loop = self._background.loop
        self._clients: list[Redis] = []

    def client(self) -> "Redis":
        """Return a client with one connection of its own, for commands that block up to `BLOCK_SECONDS`. For the loop.

        It repeats nothing by itself: what a lost answer means is the caller's to know.
        """
        client: Redis = Redis.from_url(
            self.url,
            single_connection_client=True,
            socket_connect_timeout=5,
            socket_timeout=BLOCK_SECONDS * 2,
            retry=Retry(NoBackoff(), 0),
        )
        self._clients.append(client)
        return client

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function on the loop, soon."""
        self.loop.call_soon_threadsafe(function, *args)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop; its future."""
        return self._background.submit(coroutine)

    def close(self) -> None:
        """Close all connections and stop the loop."""
        self._background.submit(self._close()).result(timeout=10)
        self._background.stop()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        while tasks:
            for task in tasks:
                task.cancel()
            # Again for those whose client took the cancellation for a lost connection.
            _, tasks = await asyncio.wait(tasks, timeout=0.1)
        for client in self._clients:
            await client.aclose()


class Outage:
    """Tries in a row at something that needs Redis: how long to wait between them, and what to tell the operator."""

    def __init__(self, while_away: str = "", once_back: str = "") -> None:
        """What the log says at the first failure and each `_TOLD_EVERY` after it, and at the end of the outage."""
        self._while_away = while_away
        self._once_back = once_back
        self._failures = 0

    async def failed(self, error: Exception) -> None:
        """Wait before the next try."""
        if self._while_away and self._failures % _TOLD_EVERY == 0:
            logger.warning("%s (%s: %s)", self._while_away, type(error).__name__, error)
        self._failures += 1
        await asyncio.sleep(PAUSES[min(self._failures, len(PAUSES)) - 1])

    def is_over(self) -> bool:
        """Say that it worked; whether it had failed before."""
        was_away, self._failures = self._failures > 0, 0
        if was_away and self._once_back:
            logger.info("%s", self._once_back)
        return was_away


@cache
def redis_link() -> RedisLink:
    """Return the link of this process, to `REDIS_URL`."""
    return RedisLink(settings.REDIS_URL)
