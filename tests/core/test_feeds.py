"""Feeds: the runs of a thread one after the other, for readers that come, go, fall behind and come back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from platform_site.core.events.interface import BEGIN, END, Event, EventsLost, Subscription
from platform_site.core.events.memory import MemoryEventLog
from tests.core.clock import Clock
from tests.core.clock import clock as clock

FEED = "1/thread"


@pytest.fixture
def log(clock: Clock) -> MemoryEventLog:
    bounds = {"max_bytes": 100_000, "budget": 1_600_000}
    return MemoryEventLog(**bounds, ttl=120, resumable_ttl=3600, abandoned_after=10_000, clock=clock)


def run(log: MemoryEventLog, name: str, *events: str, resumable: bool = False, end: bool = True) -> None:
    """A run of the feed, from its begin to its end."""
    log.begin(name, FEED, resumable=resumable)
    for event in events:
        log.append(name, event, b"")
    if end:
        log.close(name, b"null")


async def waiting(reader: Subscription) -> list[Event]:
    """Everything that a reader can get without waiting."""
    found: list[Event] = []
    while batch := await reader.batch(0):
        found += batch
    return found


def told(events: list[Event]) -> list[str]:
    return [f"{event.name} {event.data.decode()}".strip() for event in events]


@asynccontextmanager
async def following(log: MemoryEventLog, after: str | None = None) -> AsyncIterator[Subscription]:
    async with log.follow(FEED, after) as reader:
        yield reader


# --- Live --------------------------------------------------------------------------------------------


async def test_a_reader_gets_run_after_run_with_their_ends(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "one", "a", "b")
        run(log, "two", "c")
        assert told(await waiting(reader)) == ["a", "b", f"{END} one", "c", f"{END} two"]


async def test_a_reader_is_woken_by_a_run_that_begins(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        asyncio.get_running_loop().call_later(0.01, run, log, "one", "a")
        assert told(await reader.batch(20) or []) == ["a"]


async def test_silence_ends_with_the_timeout(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        assert await reader.batch(0.01) == []


async def test_what_came_before_is_not_told(log: MemoryEventLog) -> None:
    run(log, "one", "a", resumable=True)
    async with following(log) as reader:
        assert await waiting(reader) == []


async def test_a_run_in_progress_is_joined(log: MemoryEventLog) -> None:
    run(log, "one", "a", end=False)
    async with following(log) as reader:
        log.append("one", "b", b"")
        log.close("one", b"null")
        assert told(await waiting(reader)) == ["b", f"{END} one"]


async def test_nothing_falls_between_the_subscription_and_its_first_use(log: MemoryEventLog) -> None:
    reader = log.follow(FEED, None)
    run(log, "one", "a")
    async with reader:
        assert told(await waiting(reader)) == ["a", f"{END} one"]


async def test_a_further_attempt_is_the_same_run(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "one", "a", end=False)
        run(log, "one", "b")
        assert told(await waiting(reader)) == ["a", "b", f"{END} one"]


async def test_a_run_that_goes_on_elsewhere_has_not_ended(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "one", end=False)
        log.leave("one", "error", b"", b"null")
        assert told(await waiting(reader)) == ["error"]


async def test_a_run_that_was_left_goes_on_in_its_feed(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "one", "a", end=False)
        log.leave("one", "error", b"", b"null")
        assert told(await waiting(reader)) == ["a", "error"]
        run(log, "one", "b")
        run(log, "two", "c")
        assert told(await waiting(reader)) == ["b", f"{END} one", "c", f"{END} two"]


async def test_a_deleted_run_has_ended(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "one", "a", end=False)
        log.discard("one")
        assert told(await waiting(reader)) == [f"{END} one"]


async def test_a_run_that_nobody_ends_does_not_hold_up_the_next(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "lost", "a", end=False)
        run(log, "next", "b")
        assert told(await reader.batch(0) or []) == ["a"]
        assert await reader.batch(0) == []
        assert told(await waiting(reader)) == ["b", f"{END} next"]


async def test_a_run_that_ended_before_it_began_waits_for_the_one_before_it(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "one", "a", end=False)
        run(log, "cancelled")
        assert told(await waiting(reader)) == ["a"]
        assert await reader.batch(0) == []
        log.append("one", "b", b"")
        log.close("one", b"null")
        assert told(await waiting(reader)) == ["b", f"{END} one", f"{END} cancelled"]


async def test_other_feeds_are_apart(log: MemoryEventLog) -> None:
    async with log.follow("2/thread", None) as reader:
        run(log, "one", "a")
        assert await waiting(reader) == []


# --- Coming back -------------------------------------------------------------------------------------


async def test_resumable_runs_are_replayed(log: MemoryEventLog) -> None:
    run(log, "one", "a", "b", resumable=True)
    run(log, "plain", "x")
    run(log, "two", "c", resumable=True)
    async with following(log, BEGIN) as reader:
        run(log, "three", "d")
        expected = ["a", "b", f"{END} one", "c", f"{END} two", "d", f"{END} three"]
        assert told(await waiting(reader)) == expected


async def test_a_reader_goes_on_after_any_event(log: MemoryEventLog) -> None:
    run(log, "one", "a", "b", resumable=True)
    run(log, "two", "c", resumable=True)
    run(log, "three", "d", resumable=True, end=False)
    async with following(log, BEGIN) as reader:
        everything = await waiting(reader)
    assert len(everything) == 6
    for index, event in enumerate(everything):
        async with following(log, event.id) as reader:
            assert await waiting(reader) == everything[index + 1 :]


async def test_ids_increase_over_runs_that_share_a_millisecond(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        for number in range(50):
            run(log, str(number), "a", "b")
        ids = [tuple(map(int, event.id.split("-"))) for event in await waiting(reader)]
    assert len(ids) == 150
    assert ids == sorted(set(ids))


async def test_an_ordinary_run_in_progress_is_joined_where_it_is(log: MemoryEventLog) -> None:
    run(log, "one", "a", end=False)
    async with following(log, BEGIN) as reader:
        log.append("one", "b", b"")
        assert told(await waiting(reader)) == ["b"]


@pytest.mark.parametrize("after", ["-1", "x", "1-", "-", "1-x", ""])
def test_a_position_that_is_none_is_refused(log: MemoryEventLog, after: str) -> None:
    with pytest.raises(ValueError, match="event id"):
        log.follow(FEED, after)


# --- Posts -------------------------------------------------------------------------------------------


async def test_a_post_reaches_those_who_follow(log: MemoryEventLog) -> None:
    async with following(log) as one, following(log) as other:
        assert log.has_followers(FEED)
        run(log, "one", "a")
        log.post(FEED, "note", b"1")
        log.post(FEED, "note", b"2")
        for reader in (one, other):
            assert told(await waiting(reader)) == ["a", f"{END} one", "note 1", "note 2"]


async def test_a_post_that_nobody_hears_is_dropped(log: MemoryEventLog) -> None:
    log.post(FEED, "note", b"1")
    assert not log._logs
    async with following(log):
        log.post(FEED, "note", b"2")
    async with following(log, BEGIN) as reader:
        assert await waiting(reader) == []


# --- Ends and bounds -----------------------------------------------------------------------------------


async def test_the_end_of_a_feed_ends_its_readers(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        asyncio.get_running_loop().call_later(0.01, log.end_feed, FEED)
        assert await reader.batch(20) is None
        assert await reader.batch(20) is None


async def test_the_end_of_all_is_told_once(log: MemoryEventLog) -> None:
    async with following(log) as idle, log.follow("2/thread", None) as busy:
        log.begin("run", "2/thread")
        log.close_all("error", b"bye", b"null")
        assert [told(await idle.batch(0) or []), await idle.batch(0)] == [["error bye"], None]
        assert [told(await busy.batch(0) or []), await busy.batch(0)] == [["error bye"], None]


async def test_nothing_is_left_of_a_feed_that_is_over(log: MemoryEventLog, clock: Clock) -> None:
    async with following(log) as reader:
        run(log, "one", "a")
        log.post(FEED, "note", b"")
        await waiting(reader)
    run(log, "two", "a", resumable=True)
    clock.now += 130
    log.append("another", "a", b"")
    assert list(log._feeds._feeds) == [FEED], "a resumable run is still kept"
    clock.now += 3600
    log.append("another", "a", b"")
    assert not log._feeds._feeds
    assert list(log._logs) == ["another"]


async def test_a_reader_that_does_not_read_holds_no_more_than_the_logs_do(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        for number in range(100):
            log.begin(str(number), FEED)
            log.append(str(number), "a", bytes(50_000))
            log.close(str(number), b"null")
        assert len(log._feeds._feeds[FEED].entries) < 20
        with pytest.raises(EventsLost):
            await reader.batch(0)
        left = [event for event in await waiting(reader) if event.name != END]
    assert 10 < len(left) < 20


async def test_a_reader_that_is_cancelled_leaves_nothing_behind(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        reading = asyncio.ensure_future(reader.batch(None))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        assert not log._feeds._feeds[FEED].waiting
    assert not log._feeds._feeds


# --- Losses ------------------------------------------------------------------------------------------


def heavy(log: MemoryEventLog, name: str, *, resumable: bool = False, end: bool = True) -> None:
    """A run of the feed with two large events."""
    log.begin(name, FEED, resumable=resumable)
    for part in ("first", "second"):
        log.append(name, f"{name} {part}", bytes(40_000))
    if end:
        log.close(name, b"null")


def fill(log: MemoryEventLog) -> None:
    """So much of other runs that all finished logs go."""
    for number in range(30):
        log.begin(f"other {number}", None, resumable=True)
        log.append(f"other {number}", "large", bytes(90_000))
        log.close(f"other {number}", b"null")


async def test_a_follower_is_told_that_the_run_it_reads_was_trimmed(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        run(log, "one", "a", end=False)
        assert told(await reader.batch(0) or []) == ["a"]
        for number in range(10):
            log.append("one", str(number), bytes(30_000))
        with pytest.raises(EventsLost) as loss:
            await reader.batch(0)
        assert not loss.value.resumable
        log.close("one", b"null")
        assert [event.name for event in await waiting(reader)][-2:] == ["9", END]


async def test_a_follower_is_told_that_a_run_is_gone_before_it_came_to_it(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        heavy(log, "one")
        heavy(log, "two")
        fill(log)
        run(log, "three", "a")
        with pytest.raises(EventsLost):
            await reader.batch(0)
        assert told(await waiting(reader)) == ["a", f"{END} three"]


async def test_a_loss_in_resumable_runs_names_the_id_to_follow_from(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        heavy(log, "one", resumable=True)
        fill(log)
        run(log, "two", "a", resumable=True)
        with pytest.raises(EventsLost) as loss:
            await reader.batch(0)
    assert loss.value.resumable
    async with following(log, loss.value.kept_after) as again:
        assert told(await waiting(again)) == ["a", f"{END} two"]


async def test_ids_increase_past_a_run_that_is_gone_whatever_the_clock_shows(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy(log, "one", resumable=True)
    async with following(log, BEGIN) as reader:
        end_of_one = (await waiting(reader))[-1].id
    fill(log)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    run(log, "two", "a", resumable=True)
    async with following(log, end_of_one) as reader:
        assert told(await waiting(reader)) == ["a", f"{END} two"]


async def test_a_follower_loses_nothing_with_runs_that_it_has_read(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        for number in range(20):
            heavy(log, f"run {number}", resumable=number % 2 == 0)
            assert [event.name for event in await waiting(reader)][-1] == END
            fill(log)
            assert await reader.batch(0) == []


async def test_a_reader_is_told_that_a_run_after_its_event_is_gone(log: MemoryEventLog, clock: Clock) -> None:
    run(log, "one", "a", "b", resumable=True)
    async with following(log, BEGIN) as reader:
        first, second, _ = await waiting(reader)
    run(log, "two", "c", resumable=True)
    async with following(log, BEGIN) as reader:
        end_of_two = (await waiting(reader))[-1].id
    clock.now += 3601
    log.expire()
    for known in (first.id, second.id):
        async with following(log, known) as reader:
            with pytest.raises(EventsLost) as loss:
                await reader.batch(0)
            assert (loss.value.kept_after, loss.value.resumable) == (end_of_two, True)
    # Whoever has had everything loses nothing, and whoever wants what there is neither.
    for place in (end_of_two, BEGIN):
        async with following(log, place) as reader:
            assert await reader.batch(0) == []
            run(log, f"after {place}", "d")
            assert told(await reader.batch(0) or []) == ["d"]


async def test_a_replay_from_the_beginning_begins_with_what_is_kept(log: MemoryEventLog) -> None:
    heavy(log, "gone", resumable=True)
    fill(log)
    log.begin("one", FEED, resumable=True)
    for number in range(10):
        log.append("one", str(number), bytes(30_000))
    async with following(log, BEGIN) as reader:
        assert [event.name for event in await waiting(reader)][-1] == "9"


async def test_a_replay_is_told_what_goes_while_it_reads(log: MemoryEventLog) -> None:
    run(log, "one", "a", resumable=True)
    log.begin("two", FEED, resumable=True)
    log.append("two", "first", b"")
    async with following(log, BEGIN) as reader:
        assert told(await reader.batch(0) or []) == ["a"]
        for number in range(10):
            log.append("two", str(number), bytes(30_000))
        assert told(await reader.batch(0) or []) == [f"{END} one"]
        with pytest.raises(EventsLost):
            await reader.batch(0)
        assert [event.name for event in await reader.batch(0) or []][-1] == "9"


async def test_a_post_that_is_gone_is_a_loss(log: MemoryEventLog) -> None:
    async with following(log) as reader:
        log.post(FEED, "state_update", bytes(40_000))
        fill(log)
        with pytest.raises(EventsLost):
            await reader.batch(0)


async def test_a_deleted_run_is_no_loss(log: MemoryEventLog, clock: Clock) -> None:
    async with following(log) as reader:
        run(log, "one", "a")
        log.discard("one")
        clock.now += 121
        log.expire()
        assert await reader.batch(0) == []


async def test_what_feeds_have_lost_is_remembered_for_some_of_them(log: MemoryEventLog, clock: Clock) -> None:
    for number in range(1500):
        log.begin(str(number), f"1/{number}", resumable=True)
        log.append(str(number), "a", b"")
        log.close(str(number), b"null")
    clock.now += 3601
    log.expire()
    assert len(log._feeds._feeds) == 0
    assert len(log._feeds._lost) == 1000
