"""What the processes of a server tell of their memory, and how long they are remembered."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from platform_site.core.events.configured import event_log
from platform_site.core.redis.link import RedisLink
from platform_site.core.telemetry import metrics
from platform_site.core.telemetry.process_memory import memory_limit
from platform_site.system.process_figures import WINDOW_SECONDS, ProcessFigures
from platform_site.system.processes import Processes
from platform_site.system.redis_processes import PROCESSES_KEY, RedisProcesses
from tests.core.clock import Clock
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server


async def test_a_process_tells_its_memory_its_limit_and_its_budget() -> None:
    known = Processes("server")
    await known.round()
    own = known.own
    assert (own.role, own.memory_limit, own.event_budget) == ("server", memory_limit(), event_log().budget_bytes)
    assert 10_000_000 < own.resident_bytes < memory_limit()
    assert known.all() == [own]


async def test_what_is_recent_is_what_happened_within_the_window() -> None:
    clock = Clock()
    known = Processes("server", clock)
    metrics.reader_cut_off()
    await known.round()
    assert known.own.recent_readers_cut_off == 0
    metrics.reader_cut_off()
    metrics.events_cut(7)
    metrics.SLOW_COLLECTIONS.inc(3)
    metrics.FULL_COLLECTION_SECONDS.inc(0.6)
    clock.now += 5
    await known.round()
    own = known.own
    assert (own.recent_readers_cut_off, own.recent_events_cut, own.recent_slow_collections) == (1, 7, 3)
    assert own.recent_collection_seconds >= 0.6
    clock.now += WINDOW_SECONDS + 1
    await known.round()
    assert known.own.recent_readers_cut_off == known.own.recent_slow_collections == 0


def test_figures_of_another_version_are_understood() -> None:
    older = ProcessFigures.from_json(b'{"name":"box:1","resident_bytes":5,"of_tomorrow":[1]}')
    assert older == ProcessFigures("box:1", resident_bytes=5)


@pytest.fixture
def link(redis_url: str) -> Iterator[RedisLink]:
    made = RedisLink(redis_url)
    yield made
    made.close()


@pytest.fixture
def commands(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        client.delete(PROCESSES_KEY)
        yield client


async def told(link: RedisLink, *processes: ProcessFigures, forget_seconds: int = 30) -> list[ProcessFigures]:
    """Have each process tell its figures; return what the last one was answered."""
    meeting = RedisProcesses(link, forget_seconds)
    answers: list[ProcessFigures] = []
    for process in processes:
        answers, _ = await asyncio.wrap_future(link.submit(meeting.exchange_here(process)))
    return answers


WEB = ProcessFigures("box:1", "web", 100, 1000)
WORKER = ProcessFigures("box:2", "worker", 300, 1000, recent_collection_seconds=0.25)


async def test_each_process_hears_of_all(link: RedisLink, commands: Any) -> None:
    assert sorted(await told(link, WEB, WORKER), key=lambda process: process.name) == [WEB, WORKER]


async def test_a_process_that_tells_again_is_known_by_its_newest_figures(link: RedisLink, commands: Any) -> None:
    newer = ProcessFigures("box:1", "web", 200, 1000)
    assert await told(link, WEB, newer) == [newer]


async def test_a_process_that_says_it_ends_is_forgotten_at_once(link: RedisLink, commands: Any) -> None:
    await told(link, WEB, WORKER)
    await RedisProcesses(link).forget(WORKER)
    assert await told(link, WEB) == [WEB]


async def test_a_process_that_has_said_nothing_for_long_is_forgotten(link: RedisLink, commands: Any) -> None:
    await told(link, WORKER)
    [(field, value)] = commands.hgetall(PROCESSES_KEY).items()
    at, _, figures = value.partition(b" ")
    commands.hset(PROCESSES_KEY, field, b"%d %b" % (int(at) - 31, figures))
    assert await told(link, WEB) == [WEB]
    assert list(commands.hkeys(PROCESSES_KEY)) == [b"box:1"]


async def test_the_hash_goes_when_nobody_is_left(link: RedisLink, commands: Any) -> None:
    await told(link, WEB)
    assert 0 < commands.ttl(PROCESSES_KEY) <= 30


async def test_redis_tells_its_memory_and_its_limit(link: RedisLink, commands: Any) -> None:
    before = commands.config_get("maxmemory")["maxmemory"]
    commands.config_set("maxmemory", 500_000_000)
    try:
        _, memory = await asyncio.wrap_future(link.submit(RedisProcesses(link).exchange_here(WEB)))
    finally:
        commands.config_set("maxmemory", before)
    assert memory["maxmemory"] == 500_000_000
    assert memory["used_memory"] > 0


async def test_while_redis_is_away_a_process_knows_only_itself(
    link: RedisLink, settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Away:
        async def exchange(self, own: ProcessFigures) -> None:
            raise redis.exceptions.ConnectionError("away")

    settings.REDIS_URL = "redis://127.0.0.1:1"
    monkeypatch.setattr("platform_site.system.processes._redis", Away)
    known = Processes("web")
    known._others = [WORKER]
    await known.round()
    await known.round()
    assert known.all() == [known.own]
    assert (known.hears, known.redis) == (False, None)
    assert [record.getMessage() for record in caplog.records if record.name == "switchyard.processes"] == [
        "the memory of other processes is not known: ConnectionError: away"
    ]
