"""Feeds in Redis: the logs of a thread's runs, one after the other, as another process reads them."""

import contextlib
from collections.abc import AsyncIterator

from platform_site.core.events.interface import BEGIN, END, Subscription
from platform_site.core.events.redis import RedisEventLog
from tests.core.redis_logs import flushed, some, write
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server


@contextlib.asynccontextmanager
async def following(log: RedisEventLog, after: str | None = None) -> AsyncIterator[Subscription]:
    async with log.follow("feed", after) as reader:
        yield reader


def run(log: RedisEventLog, name: str, *events: str, resumable: bool = False, end: bool = True) -> None:
    write(log, name, *events, feed="feed", resumable=resumable)
    if end:
        log.close(name, b"null")


async def test_a_follower_gets_run_after_run_with_their_ends(worker, web) -> None:
    async with following(web) as reader:
        run(worker, "one", "a", "b")
        run(worker, "two", "c")
        events = await some(reader, 5)
    assert [(event.name, event.data if event.name == END else b"") for event in events] == [
        ("a", b""), ("b", b""), (END, b"one"), ("c", b""), (END, b"two"),
    ]  # fmt: skip
    pairs = [tuple(map(int, event.id.split("-"))) for event in events]
    assert pairs == sorted(set(pairs))


async def test_what_came_before_is_not_told(worker, web) -> None:
    run(worker, "one", "a", resumable=True)
    await flushed(worker)
    async with following(web) as reader:
        assert await reader.batch(0.2) == []


async def test_a_run_in_progress_is_joined(worker, web) -> None:
    run(worker, "one", "a", end=False)
    await flushed(worker)
    async with following(web) as reader:
        assert await reader.batch(0.2) == []
        worker.append("one", "b", b"")
        worker.close("one", b"null")
        assert [event.name for event in await some(reader, 2)] == ["b", END]


async def test_nothing_falls_between_the_place_of_a_follower_and_its_first_use(worker, web) -> None:
    run(worker, "one", "a", end=False)
    await flushed(worker)
    reader = web.follow("feed", None)
    await reader.locate()
    worker.append("one", "b", b"")
    worker.close("one", b"null")
    run(worker, "two", "c")
    await flushed(worker)
    async with reader:
        assert [event.name for event in await some(reader, 4)] == ["b", END, "c", END]


async def test_resumable_runs_are_replayed_and_gone_on_with(worker, web) -> None:
    run(worker, "one", "a", "b", resumable=True)
    run(worker, "two", "c")
    run(worker, "three", "d", resumable=True)
    await flushed(worker)
    async with following(web, BEGIN) as reader:
        events = await some(reader, 5)
    assert [event.name for event in events] == ["a", "b", END, "d", END]
    for place, event in enumerate(events[:-1]):
        async with following(web, event.id) as reader:
            assert await some(reader, 4 - place) == events[place + 1 :]


async def test_posts_come_between_runs(worker, web) -> None:
    async with following(web) as reader:
        run(worker, "one", "a")
        web.post("feed", "state_update", b'{"x":1}')
        # Two processes: this one's post is not to overtake the end that the other has just sent.
        assert [event.name for event in await some(reader, 3)] == ["a", END, "state_update"]


async def test_the_end_of_a_feed_ends_its_followers(worker, web) -> None:
    async with following(web) as reader:
        run(worker, "one", "a")
        await some(reader, 2)
        worker.end_feed("feed")
        assert await reader.batch(20) is None


async def test_other_feeds_are_apart(worker, web) -> None:
    async with web.follow("another", None) as reader:
        run(worker, "one", "a")
        await flushed(worker)
        assert await reader.batch(0.2) == []


async def test_ids_increase_over_runs_that_share_a_millisecond(worker, web) -> None:
    async with following(web) as reader:
        for number in range(200):
            run(worker, f"run {number}", "a")
        events = await some(reader, 400)
    pairs = [tuple(map(int, event.id.split("-"))) for event in events]
    assert pairs == sorted(set(pairs))
