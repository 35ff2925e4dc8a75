"""Readers of logs in Redis that cannot have all events: each is told, and none is told without a loss."""

import asyncio

from platform_site.core.events import redis_budget, redis_reader
from platform_site.core.events.interface import BEGIN, Event, EventsLost
from platform_site.core.events.redis import RedisEventLog
from tests.core.redis_logs import (
    add,
    both,
    everything,
    everything_left,
    flushed,
    names,
    numbers,
    some,
    told,
    write,
)
from tests.core.redis_logs import commands as commands
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server

BUDGET = 1_000_000

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

    read: list[list[str]] = [[] for _ in range(4)]
    news = asyncio.Event()

    async def one(number: int) -> None:
        async with web.subscribe(f"run {number}", BEGIN) as reader:
            while (events := await reader.batch(20)) is not None:
                read[number] += [event.name for event in events]
                news.set()

    reading = [asyncio.create_task(one(number)) for number in range(4)]
    for number in range(4):
        worker.begin(f"run {number}", None)
    for count in range(100):
        for number in range(4):
            worker.append(f"run {number}", str(count), b"x" * 10_000)
        await flushed(worker)
        if count % 20 == 19:
            async with asyncio.timeout(30):
                while min(map(len, read)) <= count:
                    news.clear()
                    await news.wait()
            await worker.budget.round()
    for number in range(4):
        worker.close(f"run {number}", b"null")
    await asyncio.gather(*reading)
    assert read == [numbers(0, 100)] * 4


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
