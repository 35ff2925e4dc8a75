"""Signals between the processes of scale mode: heard by all who are there now, and by nobody later.

They save waiting, never carry the truth: what a signal says is also in the database, where a sweep finds it.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any

import orjson
from django.conf import settings

from platform_site.core.redis.link import BLOCK_SECONDS, PREFIX, Outage, RedisLink, redis_link
from platform_site.core.redis.scripts import Script
from platform_site.core.redis.writer import RedisWriter

logger = logging.getLogger("switchyard.redis")

_CHANNEL = f"{PREFIX}signals"
_PUBLISH = Script("return redis.call('PUBLISH', KEYS[1], ARGV[1])", "signal")

# What is done on a signal: given its arguments, on the link's loop, so it must not block.
Receiver = Callable[..., object]


class RedisSignals:
    """Sends and hears signals; a process hears its own as well. `send` and `on` may be used from any thread."""

    def __init__(self, link: RedisLink, writer: RedisWriter) -> None:
        self._link = link
        self._writer = writer
        self._receivers: dict[str, list[Receiver]] = {}
        self._gaps: list[Receiver] = []
        self._listening: Future[None] | None = None

    def send(self, kind: str, *args: Any) -> None:
        """Tell every process; `args` are JSON."""
        self._writer.call(_PUBLISH, [_CHANNEL], [orjson.dumps([kind, *args])])

    def on(self, kind: str, receiver: Receiver) -> None:
        """Call `receiver` with the arguments of each signal of this kind."""
        self._receivers.setdefault(kind, []).append(receiver)

    def on_gap(self, receiver: Receiver) -> None:
        """Call `receiver`, without arguments, when signals may have been missed: after the way to Redis was lost."""
        self._gaps.append(receiver)

    def listen(self) -> None:
        """Begin to hear; idempotent."""
        if self._listening is None:
            self._listening = self._link.submit(self._listen())

    async def _listen(self) -> None:
        client = self._link.client()
        outage = Outage("no signals are heard from other processes", "signals from other processes are heard again")
        while True:
            try:
                async with client.pubsub() as channel:
                    await channel.subscribe(_CHANNEL)
                    if outage.is_over():
                        self._call(self._gaps, [])
                    await self._hear(channel)
            except Exception as error:
                # Of any kind, a message that is none of ours among them: the next ones are to be heard.
                await outage.failed(error)

    async def _hear(self, channel: Any) -> None:
        is_asked = False
        while True:
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=BLOCK_SECONDS)
            if message is None:
                if is_asked:
                    raise ConnectionError("a connection died without saying so")
                await channel.ping()
                is_asked = True
                continue
            is_asked = False
            if message["type"] == "message":
                kind, *args = orjson.loads(message["data"])
                self._call(self._receivers.get(kind, []), args)

    def _call(self, receivers: list[Receiver], args: list[Any]) -> None:
        for receiver in receivers:
            try:
                receiver(*args)
            except Exception:
                # One receiver's fault is not to cost the others the signals to come.
                logger.exception("a signal could not be acted upon")


@cache
def redis_writer() -> RedisWriter:
    """Return the writer of this process."""
    return RedisWriter(redis_link(), settings.EVENT_MEMORY_BYTES)


@cache
def redis_signals() -> RedisSignals:
    """Return the signals of this process."""
    return RedisSignals(redis_link(), redis_writer())
