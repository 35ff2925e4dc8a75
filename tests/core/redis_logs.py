"""Event logs in Redis for tests: as two processes see them, one that writes and one that reads."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from platform_site.core.events.interface import END, Event, EventsLost, Subscription
from platform_site.core.events.redis import RedisEventLog
from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.writer import RedisWriter

Maker = Any


@pytest.fixture
def make_log(redis_url: str) -> Iterator[Maker]:
    """Makes the log of one more process."""
    links: list[RedisLink] = []

    def make(**changes: Any) -> RedisEventLog:
        links.append(RedisLink(redis_url))
        bounds = {"max_bytes": 32_000_000, "ttl": 120, "resumable_ttl": 3600, "abandoned_after": 10_000, **changes}
        return RedisEventLog(links[-1], RedisWriter(links[-1]), **bounds)

    yield make
    for link in links:
        link.close()


@pytest.fixture
def worker(make_log: Maker) -> RedisEventLog:
    return make_log()


@pytest.fixture
def web(make_log: Maker) -> RedisEventLog:
    return make_log()


@pytest.fixture
def commands(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


async def flushed(log: RedisEventLog) -> None:
    await asyncio.wrap_future(log.link.submit(log.writer.flushed()))


async def everything(subscription: Subscription) -> list[Event]:
    """All events until the log is closed; a silence of 20 s is a failure."""
    found: list[Event] = []
    async with subscription:
        while (batch := await subscription.batch(20)) is not None:
            assert batch, f"silent after {len(found)} events"
            found += batch
    return found


async def some(subscription: Subscription, count: int) -> list[Event]:
    """The next so many events."""
    found: list[Event] = []
    while len(found) < count:
        batch = await subscription.batch(20)
        assert batch, f"silent or closed after {found}"
        found += batch
    return found


def write(log: RedisEventLog, run_id: str, *names: str, feed: str | None = None, **begin: Any) -> None:
    log.begin(run_id, feed, **begin)
    for name in names:
        log.append(run_id, name, b"{}")


async def add(log: RedisEventLog, run_id: str, *names: str, size: int = 10_000) -> None:
    """Events that are entries of their own."""
    for name in names:
        log.append(run_id, name, b"x" * size)
        await flushed(log)


async def told(subscription: Subscription) -> EventsLost:
    """The loss that a reader is told next."""
    with pytest.raises(EventsLost) as caught:
        await subscription.batch(20)
    return caught.value


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


async def both(subscription: Subscription) -> tuple[list[str], list[EventsLost]]:
    """All events until the end, and all losses on the way."""
    found: list[str] = []
    losses: list[EventsLost] = []
    while True:
        try:
            batch = await subscription.batch(20)
        except EventsLost as loss:
            losses.append(loss)
            continue
        if batch is None:
            return found, losses
        assert batch, f"silent after {found}"
        found += names(batch)


def numbers(start: int, end: int) -> list[str]:
    return [str(number) for number in range(start, end)]


async def everything_left(subscription: Subscription) -> list[Event]:
    found: list[Event] = []
    while (batch := await subscription.batch(20)) is not None:
        assert batch, "silent"
        found += batch
    return found


async def until_end_of(reader: Subscription, run_id: str) -> tuple[list[str], list[EventsLost]]:
    found: list[str] = []
    losses: list[EventsLost] = []
    while True:
        try:
            batch = await reader.batch(20)
        except EventsLost as loss:
            losses.append(loss)
            continue
        assert batch, f"silent or closed after {found}"
        found += names(batch)
        if any(event.name == END and event.data == run_id.encode() for event in batch):
            return found, losses
