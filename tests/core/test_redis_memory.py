"""What a process of scale mode holds of events: for its readers, and for a Redis that has not taken them yet."""

import asyncio

from platform_site.core.events import redis_reader
from platform_site.core.events.interface import BEGIN
from platform_site.core.events.redis_subscription import stream_key
from tests.core.redis_logs import (
    add,
    both,
    everything,
    flushed,
    names,
    numbers,
    some,
    write,
)
from tests.core.redis_logs import commands as commands
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server


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
