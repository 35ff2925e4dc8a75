"""The way to Redis in scale mode: one event loop on a thread of its own, and the clients that work there."""

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from platform_site.core.loops import BackgroundLoop

logger = logging.getLogger("switchyard.redis")

# Before every key of ours.
PREFIX = "switchyard:"
# How long a blocking read waits, in seconds: a connection that is dead without having said so is found out after it.
BLOCK_SECONDS = 5.0
# Pauses between attempts to reach a Redis that is away, in seconds.
PAUSES = (0.05, 0.1, 0.25, 0.5, 1.0)


class RedisLink:
    """The loop and its clients. Only `submit` and `call` may be used from other threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._background = BackgroundLoop("redis")
        self._background.start()
        self.loop = self._background.loop
        self._clients: list[Redis] = []

    def client(self) -> "Redis":
        """A client with one connection of its own, for commands that may block `BLOCK_SECONDS`. Use it on the loop.

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

    def submit(self, coroutine: Any) -> Any:
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


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return PAUSES[min(failures, len(PAUSES)) - 1]


@cache
def redis_link() -> RedisLink:
    """The link of this process, to `REDIS_URL`."""
    return RedisLink(settings.REDIS_URL)
