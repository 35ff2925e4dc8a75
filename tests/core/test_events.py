"""The event log of a run: order, positions, ends and bounds, and readers that neither miss an event nor hang."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from platform_site.core.events.interface import BEGIN, Event, EventLog, Subscription
from platform_site.core.events.memory import MemoryEventLog, event_tasks
from platform_site.core.events.memory_log import BATCH_BYTES
from tests.core.clock import Clock
from tests.core.clock import clock as clock


@pytest.fixture
def log(clock: Clock) -> MemoryEventLog:
    return MemoryEventLog(max_bytes=1_000_000, ttl=120, resumable_ttl=3600, abandoned_after=10_000, clock=clock)


def names(events: list[Event] | None) -> list[str]:
    assert events is not None
    return [event.name for event in events]


async def everything(subscription: Subscription) -> AsyncIterator[Event]:
    while (batch := await subscription.batch(20)) is not None:
        assert batch, "a silent log"
        for event in batch:
            yield event


def kept(log: MemoryEventLog) -> int:
    return log.kept


# --- Positions ---------------------------------------------------------------------------------------


async def test_a_reader_from_the_beginning_gets_all_at_once_in_order(log: MemoryEventLog) -> None:
    for number in range(1000):
        log.append("run", f"event {number}", b"%d" % number)

    events = await log.subscribe("run", BEGIN).batch(0)

    assert names(events) == [f"event {number}" for number in range(1000)]
    assert events is not None
    assert [event.data for event in events] == [b"%d" % number for number in range(1000)]


async def test_ids_increase_strictly_in_their_two_numbers(log: MemoryEventLog) -> None:
    for _ in range(1000):
        log.append("run", "event", b"")

    events = await log.subscribe("run", BEGIN).batch(0)

    assert events is not None
    pairs = [tuple(map(int, event.id.split("-"))) for event in events]
    assert pairs == sorted(set(pairs))


async def test_a_reader_of_now_gets_what_comes_after_its_subscription(log: MemoryEventLog) -> None:
    log.append("run", "before", b"")
    subscription = log.subscribe("run", None)
    log.append("run", "after", b"")

    assert names(await subscription.batch(0)) == ["after"]


async def test_a_reader_after_an_event_gets_the_later_ones(log: MemoryEventLog) -> None:
    for name in "abcd":
        log.append("run", name, b"")
    events = await log.subscribe("run", BEGIN).batch(0)
    assert events is not None

    assert names(await log.subscribe("run", events[1].id).batch(0)) == ["c", "d"]
    # An id of a log that a restart has lost: all of this one is later.
    assert names(await log.subscribe("run", "1-5").batch(0)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("after", ["", "-", "-1", "x", "1-", "-1-2", "1-2-3", "²-1"])
def test_a_position_that_is_none_is_refused(log: MemoryEventLog, after: str) -> None:
    with pytest.raises(ValueError, match="is not an event id"):
        log.subscribe("run", after)


async def test_every_reader_gets_everything(log: MemoryEventLog) -> None:
    first, second = log.subscribe("run", BEGIN), log.subscribe("run", BEGIN)
    log.append("run", "a", b"")

    assert names(await first.batch(0)) == names(await second.batch(0)) == ["a"]


async def test_logs_of_different_runs_are_apart(log: MemoryEventLog) -> None:
    log.append("one", "a", b"")

    assert await log.subscribe("other", BEGIN).batch(0) == []


# --- Waiting -----------------------------------------------------------------------------------------


async def test_silence_ends_with_the_timeout(log: MemoryEventLog) -> None:
    subscription = log.subscribe("run", None)

    assert await subscription.batch(0.01) == []
    log.append("run", "a", b"")
    assert names(await subscription.batch(0.01)) == ["a"]


async def test_a_burst_wakes_a_reader_once(log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription, wakes = log.subscribe("run", None), 0
    loop = asyncio.get_running_loop()
    original = loop.call_soon_threadsafe

    def counting(*args: object, **kwargs: object) -> object:
        nonlocal wakes
        wakes += 1
        return original(*args, **kwargs)  # type: ignore[arg-type]

    reading = asyncio.ensure_future(subscription.batch(None))
    await asyncio.sleep(0)
    monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    for _ in range(100):
        log.append("run", "event", b"")

    assert len(names(await reading)) == 100
    assert wakes == 1


async def test_a_cancelled_reader_loses_nothing(log: MemoryEventLog) -> None:
    subscription = log.subscribe("run", None)
    reading = asyncio.ensure_future(subscription.batch(None))
    await asyncio.sleep(0)
    log.append("run", "a", b"")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert names(await subscription.batch(0)) == ["a"]


async def test_a_reader_whose_loop_was_closed_disturbs_nobody(log: MemoryEventLog) -> None:
    def abandoned() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(log.subscribe("run", None).batch(None))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        del task

    thread = threading.Thread(target=abandoned)
    thread.start()
    thread.join()
    log.append("run", "a", b"")

    assert names(await log.subscribe("run", BEGIN).batch(0)) == ["a"]


# --- The end -----------------------------------------------------------------------------------------


async def test_a_closed_log_is_read_to_its_end_and_has_an_outcome(log: MemoryEventLog) -> None:
    async with log.subscribe("run", BEGIN) as subscription:
        assert subscription.outcome is None
        log.append("run", "a", b"")
        log.close("run", b'{"done":true}')

        assert await log.is_closed("run")
        assert names(await subscription.batch(0)) == ["a"]
        assert await subscription.batch(0) is None
        assert subscription.outcome == b'{"done":true}'


async def test_closing_wakes_readers(log: MemoryEventLog) -> None:
    subscription = log.subscribe("run", None)
    reading = asyncio.ensure_future(subscription.batch(None))
    await asyncio.sleep(0)

    await asyncio.to_thread(log.close, "run", b"{}")

    assert await reading is None


async def test_only_the_first_outcome_counts_and_nothing_follows_it(log: MemoryEventLog) -> None:
    log.close("run", b"1")
    log.close("run", b"2")
    log.append("run", "late", b"")

    subscription = log.subscribe("run", BEGIN)
    assert await subscription.batch(0) is None
    assert subscription.outcome == b"1"


async def test_a_discarded_log_ends_its_readers_and_stays_empty(log: MemoryEventLog) -> None:
    subscription = log.subscribe("run", BEGIN)
    log.append("run", "a", b"")
    log.discard("run")
    log.append("run", "late", b"")
    log.close("run", b"{}")

    assert await subscription.batch(0) is None
    assert await log.subscribe("run", BEGIN).batch(0) is None
    assert subscription.outcome is None


# --- Bounds ------------------------------------------------------------------------------------------


async def test_the_oldest_events_go_when_a_log_grows_too_heavy(clock: Clock) -> None:
    log = MemoryEventLog(max_bytes=100_000, ttl=120, resumable_ttl=3600, abandoned_after=1, clock=clock)
    slow = log.subscribe("run", BEGIN)
    for number in range(1000):
        log.append("run", str(number), bytes(1000))

    numbers = [int(name) for name in names(await slow.batch(0))]

    assert numbers == list(range(1000 - len(numbers), 1000))
    assert 60 < len(numbers) * 1000 / 1000 < 100


async def test_an_event_heavier_than_the_bound_reaches_readers(clock: Clock) -> None:
    log = MemoryEventLog(max_bytes=1000, ttl=120, resumable_ttl=3600, abandoned_after=1, clock=clock)
    subscription = log.subscribe("run", None)
    log.append("run", "large", bytes(50_000))

    assert names(await subscription.batch(0)) == ["large"]


async def test_a_batch_holds_so_much_and_the_next_one_goes_on(clock: Clock) -> None:
    log = MemoryEventLog(max_bytes=10_000_000, ttl=120, resumable_ttl=3600, abandoned_after=1, clock=clock)
    for number in range(30):
        log.append("run", str(number), bytes(100_000))
    log.append("run", "large", bytes(2 * BATCH_BYTES))
    log.close("run", b"{}")
    subscription, batches = log.subscribe("run", BEGIN), []
    while (batch := await subscription.batch(0)) is not None:
        batches.append(batch)

    assert [name for batch in batches for name in names(batch)] == [*map(str, range(30)), "large"]
    assert max(sum(len(event.data) for event in batch[:-1]) for batch in batches) < BATCH_BYTES
    assert len(batches) > 5


async def test_a_position_stays_right_after_trimming(clock: Clock) -> None:
    log = MemoryEventLog(max_bytes=20_000, ttl=120, resumable_ttl=3600, abandoned_after=1, clock=clock)
    subscription, read = log.subscribe("run", BEGIN), []
    for number in range(500):
        log.append("run", str(number), bytes(100))
        if number % 7 == 0:
            read += names(await subscription.batch(0))
    read += names(await subscription.batch(0))

    assert read == [str(number) for number in range(500)]


async def test_a_finished_log_expires(log: MemoryEventLog, clock: Clock) -> None:
    log.append("run", "a", b"")
    log.close("run", b"{}")
    early = log.subscribe("run", BEGIN)
    clock.now += 119
    assert names(await log.subscribe("run", BEGIN).batch(0)) == ["a"]
    clock.now += 2

    assert not await log.is_closed("run")
    assert await log.subscribe("run", BEGIN).batch(0) == []
    # Who had it before reads on.
    assert names(await early.batch(0)) == ["a"]
    assert await early.batch(0) is None


@pytest.mark.parametrize("marked", ["before the end", "after the end"])
async def test_a_resumable_log_is_kept_longer(log: MemoryEventLog, clock: Clock, marked: str) -> None:
    if marked == "before the end":
        log.begin("run", None, resumable=True)
    log.append("run", "a", b"")
    log.close("run", b"{}")
    if marked == "after the end":
        log.begin("run", None, resumable=True)

    clock.now += 3599
    log.close("another", b"{}")
    assert names(await log.subscribe("run", BEGIN).batch(0)) == ["a"]
    clock.now += 2
    assert await log.subscribe("run", BEGIN).batch(0) == []


def test_use_clears_away_what_has_expired(log: MemoryEventLog, clock: Clock) -> None:
    for number in range(50):
        log.close(str(number), b"{}")
    clock.now += 200
    log.append("another", "a", b"")

    assert kept(log) == 1


def test_what_has_expired_goes_though_nobody_asks(log: MemoryEventLog, clock: Clock) -> None:
    for number in range(1000):
        log.close(str(number), b"{}")
    log.begin("resumable", None, resumable=True)
    log.close("resumable", b"{}")
    clock.now += 119
    log.expire()
    assert log.kept == 1001
    clock.now += 1
    log.expire()
    assert log.kept == 1
    clock.now += 3600
    log.expire()
    assert log.kept == 0


def test_expiry_says_when_it_has_something_to_do_again(log: MemoryEventLog, clock: Clock) -> None:
    log.expire()
    log.close("run", b"{}")
    assert log.expire() == 120
    clock.now += 100
    assert log.expire() == 20
    clock.now += 20
    # From now on only what nobody ended is looked for.
    assert log.expire() == 120


def test_expiry_gives_up_what_nobody_ended(log: MemoryEventLog, clock: Clock) -> None:
    log.append("abandoned", "a", b"")
    clock.now += 20_000
    log.expire()
    assert log.kept == 0


async def test_background_task_of_the_logs_lets_them_go(log: MemoryEventLog, clock: Clock) -> None:
    [task] = event_tasks(log)
    log.close("run", b"{}")
    assert await task.work() == 120
    assert REGISTRY.get_sample_value("switchyard_event_logs") == 1
    clock.now += 120
    await task.work()
    assert REGISTRY.get_sample_value("switchyard_event_logs") == 0


async def test_many_heavy_finished_logs_are_cut_down_to_the_newest(clock: Clock) -> None:
    log = MemoryEventLog(
        max_bytes=100_000, ttl=120, resumable_ttl=3600, abandoned_after=1, budget=1_600_000, clock=clock
    )
    for number in range(100):
        log.append(str(number), "a", bytes(50_000))
        log.close(str(number), b"{}")

    assert 10 < kept(log) < 20
    assert await log.is_closed("99")
    assert not await log.is_closed("0")


async def test_a_log_that_nobody_ends_is_given_up_but_not_under_a_reader(log: MemoryEventLog, clock: Clock) -> None:
    log.append("abandoned", "a", b"")
    waiting = log.subscribe("waited for", None)
    reading = asyncio.ensure_future(waiting.batch(None))
    idle = log.subscribe("between two batches", BEGIN)
    await asyncio.sleep(0)

    clock.now += 20_000
    log.append("another", "a", b"")
    assert kept(log) == 2

    log.append("waited for", "late", b"")
    log.append("between two batches", "late", b"")
    assert names(await reading) == ["late"]
    assert names(await idle.batch(0)) == ["late"]


# --- Races -------------------------------------------------------------------------------------------


async def test_readers_on_several_loops_miss_nothing_while_threads_append(clock: Clock) -> None:
    log = MemoryEventLog(max_bytes=100_000_000, ttl=120, resumable_ttl=3600, abandoned_after=1, clock=clock)
    writers, each, results = 4, 3000, []

    def write(writer: int) -> None:
        for number in range(each):
            log.append("run", str(writer), b"%d" % number)

    def read() -> None:
        async def main() -> list[Event]:
            return [event async for event in everything(subscription)]

        subscription = log.subscribe("run", BEGIN)
        results.append(asyncio.run(main()))

    readers = [threading.Thread(target=read) for _ in range(3)]
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in (*readers, *threads):
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    log.close("run", b"{}")
    for thread in readers:
        await asyncio.to_thread(thread.join)

    assert len(results) == 3
    for events in results:
        assert len(events) == len({event.id for event in events})
        for writer in range(writers):
            assert [int(event.data) for event in events if event.name == str(writer)] == list(range(each))


async def test_no_reader_hangs_however_subscribing_and_ending_meet() -> None:
    # Times of zero and a bound of a few events: everything that can vanish does so at once.
    log: EventLog = MemoryEventLog(max_bytes=2000, ttl=0.001, resumable_ttl=0.002, abandoned_after=0.001)
    rng = random.Random(7)

    def run(name: str, end: str) -> None:
        for number in range(20):
            log.append(name, str(number), b"x" * 50)
        if end == "discard":
            log.discard(name)
        log.close(name, b"{}")

    async def follow(name: str) -> bool:
        subscription = log.subscribe(name, BEGIN)
        for _ in range(200):
            batch = await subscription.batch(0.01)
            if batch is None:
                return True
            # The log may have expired before the subscription: as a stream does, look whether the run has ended.
            if not batch and name in ended:
                return True
        return False

    ended: set[str] = set()
    for round_ in range(150):
        name = str(round_)

        def work(name: str = name) -> None:
            run(name, rng.choice(("close", "discard")))
            ended.add(name)

        thread = threading.Thread(target=work)
        readers = [asyncio.ensure_future(follow(name)) for _ in range(2)]
        thread.start()
        late = asyncio.ensure_future(follow(name))
        assert all(await asyncio.gather(*readers, late))
        thread.join()
