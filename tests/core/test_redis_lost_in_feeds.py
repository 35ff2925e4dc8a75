"""Readers of feeds in Redis that cannot have all events: each is told, and none is told without a loss."""

from typing import Any

import pytest

from platform_site.core.events import redis_budget, redis_reader
from platform_site.core.events.interface import BEGIN, END
from platform_site.core.events.redis import RedisEventLog
from platform_site.core.events.redis_subscription import feed_key, state_key, stream_key
from tests.core.redis_logs import add, flushed, names, numbers, some, told, until_end_of
from tests.core.redis_logs import commands as commands
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server

BUDGET = 1_000_000


async def run(log: RedisEventLog, name: str, *events: str, resumable: bool = False, end: bool = True) -> None:
    log.begin(name, "feed", resumable=resumable)
    await add(log, name, *events)
    if end:
        log.close(name, b"null")
        await flushed(log)


async def test_follower_is_told_when_a_run_dropped_events(make_log, web, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "MAX_QUEUED_BYTES", 1000)
    worker = make_log(max_bytes=100_000)
    async with web.follow("feed", None) as follower:
        await run(worker, "one", "0", end=False)
        assert names(await some(follower, 1)) == ["0"]
        await add(worker, "one", *numbers(1, 60))
        worker.close("one", b"null")
        await run(worker, "two", "a")
        found, losses = await until_end_of(follower, "two")
    assert len(losses) == 1
    assert found[-4:] == ["59", END, "a", END]
    assert len(found) < 59


async def test_follower_is_told_when_a_run_dropped_its_first_events_before_it_was_read(make_log, web) -> None:
    worker = make_log(max_bytes=100_000)
    async with web.follow("feed", None) as follower:
        await run(worker, "one", *numbers(0, 60))
        found, losses = await until_end_of(follower, "one")
    assert len(losses) == 1
    assert found[-2:] == ["59", END]


async def test_follower_is_told_when_a_run_was_removed_before_it_was_read(make_log, web, monkeypatch) -> None:
    monkeypatch.setattr(redis_budget, "OUTCOME_MS", 0)
    worker = make_log(streams_bytes=BUDGET)
    async with web.follow("feed", None) as follower:
        await run(worker, "one", *numbers(0, 200))
        await worker.budget.round()
        await run(worker, "two", "a")
        found, losses = await until_end_of(follower, "two")
    assert len(losses) == 1
    assert found == [END, "a", END]


@pytest.mark.parametrize("how", ["cut", "removed", "expired"])
async def test_joining_a_feed_after_an_id_that_is_not_kept_is_told(
    make_log, web, commands, monkeypatch, how: str
) -> None:
    if how != "cut":
        monkeypatch.setattr(redis_budget, "OUTCOME_MS", 0)
    worker = make_log(streams_bytes=BUDGET)
    async with web.follow("feed", None) as follower:
        await run(worker, "one", "a", "b", resumable=True)
        events = await some(follower, 3)
    await run(worker, "two", *numbers(0, 200), resumable=True)
    if how == "expired":
        commands.delete(*(key(name) for name in ("one", "two") for key in (stream_key, state_key)))
    await worker.budget.round()
    await run(worker, "three", "c", resumable=True)
    for event in events[:3]:
        async with web.follow("feed", event.id) as late:
            found, losses = await until_end_of(late, "three")
        assert found[-2:] == ["c", END]
        assert losses, f"{event} is older than what is kept"
    end = await newest_id(web, "two", commands)
    async with web.follow("feed", end) as late:
        assert await until_end_of(late, "three") == (["c", END], [])


async def newest_id(log: RedisEventLog, run_id: str, commands: Any) -> str:
    """The id under which a feed tells the end of the run."""
    for _, fields in commands.xrange(feed_key("feed")):
        if fields.get(b"f") == run_id.encode():
            return str(fields[b"id"].decode())
    raise AssertionError(f"{run_id} has not ended")


async def test_joining_a_feed_tells_nothing_of_runs_that_cannot_be_joined(make_log, web, commands) -> None:
    worker = make_log()
    async with web.follow("feed", None) as follower:
        await run(worker, "one", "a")
        events = await some(follower, 2)
    await run(worker, "two", "b")
    commands.delete(*(key(name) for name in ("one", "two") for key in (stream_key, state_key)))
    await run(worker, "three", "c", resumable=True)
    async with web.follow("feed", events[0].id) as late:
        assert await until_end_of(late, "three") == (["c", END], [])


async def test_joining_a_feed_from_the_beginning_gets_the_oldest_kept_without_complaint(
    make_log, web, monkeypatch
) -> None:
    monkeypatch.setattr(redis_budget, "OUTCOME_MS", 0)
    worker = make_log(streams_bytes=BUDGET, max_bytes=300_000)
    for name in ("one", "two", "three", "four", "five"):
        await run(worker, name, *numbers(0, 40), resumable=True)
    await worker.budget.round()
    async with web.follow("feed", BEGIN) as reader:
        found, losses = await until_end_of(reader, "five")
    assert losses == []
    assert "39" in found


async def test_follower_waits_through_the_life_of_an_idle_feed(make_log, web, commands) -> None:
    worker = make_log(ttl=5)
    async with web.follow("feed", None) as follower:
        await run(worker, "one", "a")
        await some(follower, 2)
        # Its time is over, as is that of its run.
        commands.delete(feed_key("feed"), f"{feed_key('feed')}:state", stream_key("one"), state_key("one"))
        web.ttl_ms = -1
        await run(worker, "two", "b")
        assert await until_end_of(follower, "two") == (["b", END], [])


async def test_follower_is_told_when_redis_forgot_its_feed(worker, web, commands) -> None:
    async with web.follow("feed", None) as follower:
        await run(worker, "one", "a")
        events = await some(follower, 2)
        commands.flushall()
        await run(worker, "two", "b")
        found, losses = await until_end_of(follower, "two")
        assert found == ["b", END]
        assert len(losses) == 1
    commands.flushall()
    async with web.follow("feed", events[0].id) as late:
        await told(late)


async def test_feed_that_has_had_more_runs_than_it_names_is_told(worker, web, commands) -> None:
    async with web.follow("feed", None) as follower:
        await run(worker, "one", "a", resumable=True)
        events = await some(follower, 2)
    await run(worker, "two", "b", resumable=True)
    await run(worker, "three", "c", resumable=True)
    oldest = [entry for entry, _ in commands.xrange(feed_key("feed"))][:4]
    commands.xdel(feed_key("feed"), *oldest)
    async with web.follow("feed", events[0].id) as late:
        found, losses = await until_end_of(late, "three")
    assert found == ["c", END]
    assert len(losses) == 1
