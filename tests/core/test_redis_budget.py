"""The budget of all event streams in Redis: what is counted, what is cut first, and an account that stays right."""

import asyncio
from typing import Any

import pytest
from django.conf import settings

from platform_site.core.events import configured, redis_budget
from platform_site.core.events.interface import BEGIN
from platform_site.core.events.redis import RedisEventLog
from platform_site.core.events.redis_subscription import feed_key, state_key, stream_key
from platform_site.core.redis import account as redis_account
from platform_site.core.redis import link as redis_link
from platform_site.core.redis import signals as redis_signals
from platform_site.core.redis.link import RedisLink
from platform_site.processes import background_tasks
from tests.core.redis_logs import Maker, everything, flushed, write
from tests.core.redis_logs import commands as commands
from tests.core.redis_logs import make_log as make_log
from tests.core.redis_logs import web as web
from tests.core.redis_logs import worker as worker
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server

BUDGET = 1_000_000
# What a stream counts that holds next to nothing.
SMALL = 6000


async def fill(log: RedisEventLog, run_id: str, size: int, *, close: bool = True, **begin: Any) -> None:
    """A run whose log holds so many bytes in entries of ten thousand."""
    log.begin(run_id, begin.pop("feed", None), **begin)
    for number in range(size // 10_000):
        log.append(run_id, str(number), b"x" * 10_000)
        await flushed(log)
    if close:
        log.close(run_id, b'{"run":"%b"}' % run_id.encode())
    await flushed(log)


async def names(log: RedisEventLog, run_id: str) -> list[str]:
    return [event.name for event in await everything(log.subscribe(run_id, BEGIN))]


def grace_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_budget, "OUTCOME_MS", 0)


# --- What is counted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "size"),
    [(1, 20), (10, 300), (100, 137), (1000, 1000), (200, 4000), (100, 10_000), (10, 250_000), (1, 5_000_000)],
)
async def test_count_is_what_redis_holds(worker, commands, count: int, size: int) -> None:
    worker.begin("run", "feed")
    for _ in range(count):
        worker.append("run", "values", b"x" * size)
        await flushed(worker)
    keys = commands.keys("switchyard:*")
    held = sum(commands.memory_usage(key, samples=0) for key in keys)
    assert held * 0.9 < await worker.streams_bytes() < held * 1.2 + 5000


async def test_count_of_small_events_is_never_too_low(worker, commands) -> None:
    worker.begin("run", None)
    for _ in range(1000):
        worker.append("run", "token", b"x" * 20)
        await flushed(worker)
    held = commands.memory_usage(stream_key("run"), samples=0)
    assert held < await worker.streams_bytes() < held * 2


async def test_streams_of_all_processes_are_counted(make_log, web) -> None:
    first, second = make_log(), make_log()
    await fill(first, "one", 200_000)
    await fill(second, "two", 300_000, close=False)
    assert 500_000 < await web.streams_bytes() < 520_000


async def test_what_a_log_of_its_own_bound_drops_is_not_counted(make_log) -> None:
    worker = make_log(max_bytes=100_000)
    await fill(worker, "run", 500_000)
    assert 90_000 < await worker.streams_bytes() < 110_000


async def test_attempts_posts_and_deletes_are_counted(worker) -> None:
    for attempt in (1, 2, 3):
        await fill(worker, "run", 50_000, close=False, feed="feed", attempt=attempt)
    worker.post("feed", "state_update", b"x" * 100_000)
    await flushed(worker)
    assert 250_000 < await worker.streams_bytes() < 270_000
    worker.discard("run")
    await flushed(worker)
    assert 100_000 < await worker.streams_bytes() < 120_000
    worker.end_feed("feed")
    await flushed(worker)
    assert await worker.streams_bytes() < 2 * SMALL


async def test_posts_of_a_feed_are_bounded_as_a_log_is(make_log, commands) -> None:
    worker = make_log(max_bytes=200_000)
    for _ in range(20):
        worker.post("feed", "state_update", b"x" * 50_000)
    await flushed(worker)
    assert commands.memory_usage(feed_key("feed"), samples=0) < 250_000


async def test_feed_lives_no_longer_than_its_logs(worker, commands) -> None:
    await fill(worker, "run", 0, feed="feed")
    assert 0 < commands.ttl(feed_key("feed")) <= 120
    await fill(worker, "open", 0, feed="feed", close=False)
    assert commands.ttl(feed_key("feed")) > 3600
    worker.post("feed", "state_update", b"{}")
    worker.close("open", b"null")
    await flushed(worker)
    assert 0 < commands.ttl(feed_key("feed")) <= 120
    await fill(worker, "resumable", 0, feed="feed", resumable=True)
    await fill(worker, "later", 0, feed="feed")
    assert 120 < commands.ttl(feed_key("feed")) <= 3600


# --- An account that stays right ---------------------------------------------------------------------


async def test_keys_whose_time_is_over_leave_the_account(make_log, commands) -> None:
    worker = make_log(ttl=0)
    await fill(worker, "run", 100_000, feed="feed")
    for key in ("run", "feed"):
        name = stream_key(key) if key == "run" else feed_key(key)
        assert commands.zscore(redis_account.EXPIRY, name) > 0
        # As if they had lived that long.
        commands.zadd(redis_account.EXPIRY, {name: 1})
        commands.delete(name, f"{name}:state")
    assert await worker.streams_bytes() == 0
    left = [key for key in commands.keys("switchyard:events:*") if commands.type(key) == b"zset"]
    assert left == []


async def test_feed_that_goes_on_stays_in_the_account(worker, commands) -> None:
    await fill(worker, "one", 0, feed="feed")
    await fill(worker, "two", 0, feed="feed", close=False)
    assert commands.zscore(redis_account.EXPIRY, feed_key("feed")) > 1000 * (commands.time()[0] + 3600)


async def test_account_begins_anew_after_redis_has_lost_all(worker, commands) -> None:
    await fill(worker, "run", 300_000, close=False)
    commands.flushall()
    assert await worker.streams_bytes() == 0
    await fill(worker, "other", 100_000)
    worker.append("run", "late", b"x" * 50_000)
    worker.close("run", b"null")
    await flushed(worker)
    assert 150_000 < await worker.streams_bytes() < 150_000 + 3 * SMALL


async def test_account_is_added_up_anew_now_and_then(worker, commands) -> None:
    await fill(worker, "kept", 100_000)
    await fill(worker, "evicted", 200_000)
    right = await worker.streams_bytes()
    commands.delete(stream_key("evicted"), state_key("evicted"))
    commands.incrby(redis_account.HELD, 77_000_000)
    await worker.budget.round()
    assert right - 200_000 - SMALL < await worker.streams_bytes() < right - 200_000
    # Not again in the same hour: it looks at every stream.
    commands.incrby(redis_account.HELD, 5)
    before = await worker.streams_bytes()
    await worker.budget.round()
    assert await worker.streams_bytes() == before


async def test_account_without_its_counter_is_added_up(worker, commands) -> None:
    await fill(worker, "run", 100_000)
    commands.delete(redis_account.HELD)
    await worker.budget.round()
    assert 100_000 < await worker.streams_bytes() < 110_000


# --- What is cut -------------------------------------------------------------------------------------


async def test_nothing_is_cut_within_the_budget(make_log) -> None:
    worker = make_log(streams_bytes=BUDGET)
    await fill(worker, "run", 500_000)
    await worker.budget.round()
    assert len(await names(worker, "run")) == 50


async def test_oldest_finished_runs_are_cut_first(make_log) -> None:
    worker = make_log(streams_bytes=BUDGET)
    await fill(worker, "open", 200_000, close=False)
    await fill(worker, "resumable", 200_000, resumable=True)
    for number in range(5):
        await fill(worker, f"finished {number}", 200_000)
    await worker.budget.round()
    assert await worker.streams_bytes() <= BUDGET
    left = {number: len(await names(worker, f"finished {number}")) for number in range(5)}
    assert left == {0: 0, 1: 0, 2: 0, 3: 20, 4: 20}
    assert len(await names(worker, "resumable")) == 20
    worker.close("open", b"null")
    assert len(await names(worker, "open")) == 20


async def test_resumable_runs_are_cut_when_no_other_finished_ones_are_left(make_log) -> None:
    worker = make_log(streams_bytes=BUDGET)
    for number in range(4):
        await fill(worker, f"resumable {number}", 300_000, resumable=True)
    await fill(worker, "finished", 100_000)
    await worker.budget.round()
    assert await names(worker, "finished") == []
    assert [len(await names(worker, f"resumable {number}")) for number in range(4)] == [0, 0, 30, 30]


async def test_oldest_events_of_the_largest_open_runs_are_cut_last(make_log) -> None:
    worker = make_log(streams_bytes=BUDGET)
    await fill(worker, "finished", 100_000)
    for run_id, size in (("small", 50_000), ("large", 600_000), ("larger", 800_000)):
        await fill(worker, run_id, size, close=False)
    await worker.budget.round()
    assert 0.5 * BUDGET < await worker.streams_bytes() <= BUDGET
    for run_id in ("small", "large", "larger"):
        worker.close(run_id, b"null")
    assert await names(worker, "finished") == []
    assert len(await names(worker, "small")) == 5
    for run_id, count in (("large", 60), ("larger", 80)):
        found = await names(worker, run_id)
        assert found == [str(number) for number in range(count - len(found), count)]
        assert 20 <= len(found) < count


async def test_outcome_of_a_run_outlives_its_events(make_log, web) -> None:
    worker = make_log(streams_bytes=BUDGET)
    await fill(worker, "run", 1_200_000)
    await worker.budget.round()
    subscription = web.subscribe("run", None)
    assert await everything(subscription) == []
    assert subscription.outcome == b'{"run":"run"}'


async def test_old_outcome_goes_as_well(make_log, web, commands, monkeypatch) -> None:
    worker = make_log(streams_bytes=BUDGET)
    await fill(worker, "run", 1_200_000)
    grace_is_over(monkeypatch)
    await worker.budget.round()
    assert not commands.exists(stream_key("run"))
    assert not await web.is_closed("run")
    assert await worker.streams_bytes() < SMALL


async def test_outcome_that_was_left_alone_goes_when_nobody_can_wait_for_it(make_log, commands) -> None:
    worker = make_log(streams_bytes=BUDGET)
    await fill(worker, "run", 1_200_000)
    await worker.budget.round()
    assert commands.xlen(stream_key("run")) == 1
    assert commands.zscore(redis_account.ENDS, stream_key("run")) > 0
    commands.zadd(redis_account.ENDS, {stream_key("run"): 1})
    await worker.budget.round()
    assert not commands.exists(stream_key("run"))


async def test_small_logs_lose_no_events_where_that_frees_nothing(make_log) -> None:
    worker = make_log(streams_bytes=BUDGET)
    write(worker, "small", "a", "b")
    worker.close("small", b"null")
    await fill(worker, "open", 1_200_000, close=False)
    await worker.budget.round()
    assert await names(worker, "small") == ["a", "b"]


async def test_large_posts_of_a_feed_are_cut_too(make_log, commands) -> None:
    worker = make_log(streams_bytes=BUDGET)
    for _ in range(30):
        worker.post("feed", "state_update", b"x" * 50_000)
    await flushed(worker)
    await worker.budget.round()
    assert await worker.streams_bytes() <= BUDGET
    assert commands.memory_usage(feed_key("feed"), samples=0) <= BUDGET * 1.1


async def test_several_processes_may_cut_at_once(make_log) -> None:
    logs = [make_log(streams_bytes=BUDGET) for _ in range(3)]
    for number in range(6):
        await fill(logs[number % 3], f"finished {number}", 200_000)
        await fill(logs[number % 3], f"open {number}", 100_000, close=False)
    await asyncio.gather(*(log.budget.round() for log in logs))
    held = await logs[0].streams_bytes()
    assert 0.5 * BUDGET < held <= BUDGET
    for number in range(6):
        logs[number % 3].close(f"open {number}", b"null")
        # No more is cut than one of them would have cut.
        assert len(await names(logs[0], f"open {number}")) == 10


async def test_many_streams_are_cut_in_steps(make_log, commands, monkeypatch) -> None:
    monkeypatch.setattr(redis_budget, "_STEPS", 7)
    grace_is_over(monkeypatch)
    worker = make_log(streams_bytes=BUDGET)
    for number in range(300):
        write(worker, str(number), "a")
        worker.close(str(number), b"null")
    await flushed(worker)
    await fill(worker, "open", 500_000, close=False)
    await worker.budget.round()
    assert await worker.streams_bytes() <= BUDGET
    assert not commands.exists(stream_key("0"))
    assert commands.exists(stream_key("299"))


async def test_full_redis_can_be_cut(make_log, commands, monkeypatch) -> None:
    grace_is_over(monkeypatch)
    worker = make_log(streams_bytes=BUDGET)
    for number in range(4):
        await fill(worker, f"finished {number}", 300_000)
    await fill(worker, "open", 300_000, close=False)
    commands.config_set("maxmemory", "1mb")
    try:
        await worker.budget.round()
        assert await worker.streams_bytes() <= BUDGET
    finally:
        commands.config_set("maxmemory", "0")


async def test_budget_is_at_most_half_of_what_redis_may_hold(make_log, commands) -> None:
    worker = make_log(streams_bytes=400_000_000)
    assert worker.streams_budget == 400_000_000
    commands.config_set("maxmemory", "100000000")
    try:
        await worker.budget.round()
        assert worker.streams_budget == 50_000_000
    finally:
        commands.config_set("maxmemory", "0")
    await worker.budget.round()
    assert worker.streams_budget == 400_000_000


# --- When it is looked at ----------------------------------------------------------------------------


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The background tasks that this process was asked to begin."""
    names: list[str] = []

    class Tasks:
        wake_here = staticmethod(names.append)

    monkeypatch.setattr(redis_budget, "background", Tasks)
    return names


async def test_writer_that_exceeds_the_budget_has_it_looked_at_once(make_log, woken) -> None:
    worker = make_log(streams_bytes=BUDGET)
    await fill(worker, "run", 900_000, close=False)
    assert woken == []
    await fill(worker, "more", 300_000)
    assert woken == [redis_budget.TASK]
    await worker.budget.round()
    await fill(worker, "again", 500_000)
    assert woken == [redis_budget.TASK] * 2


async def test_what_cannot_be_cut_is_not_tried_with_every_event(make_log, woken) -> None:
    worker = make_log(streams_bytes=BUDGET)
    worker.begin("run", None)
    worker.append("run", "huge", b"x" * 3_000_000)
    await flushed(worker)
    assert len(woken) == 1
    # The newest event of an open run stays, however large.
    assert await worker.budget.round() == redis_budget._STUCK_INTERVAL
    write(worker, "other", "a")
    await flushed(worker)
    assert len(woken) == 1


async def test_log_says_once_that_the_budget_cannot_be_kept(make_log, caplog) -> None:
    worker = make_log(streams_bytes=BUDGET)
    worker.begin("run", None)
    worker.append("run", "huge", b"x" * 3_000_000)
    await flushed(worker)
    with caplog.at_level("INFO", logger="switchyard.redis"):
        for _ in range(3):
            await worker.budget.round()
    [told] = caplog.messages
    assert f"more than their budget of {BUDGET}" in told
    # It is told again when it was well in between.
    worker.discard("run")
    await flushed(worker)
    await worker.budget.round()
    await fill(worker, "next", 900_000, close=False)
    worker.append("next", "huge", b"x" * 3_000_000)
    await flushed(worker)
    with caplog.at_level("INFO", logger="switchyard.redis"):
        await worker.budget.round()
    assert "EVENT_REDIS_BYTES" in caplog.messages[-1]


def test_budgets_come_from_the_settings(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    link = RedisLink(redis_url)
    monkeypatch.setattr(settings, "REDIS_URL", redis_url)
    monkeypatch.setattr(settings, "EVENT_REDIS_BYTES", 7_000_000)
    monkeypatch.setattr(settings, "EVENT_MEMORY_BYTES", 3_000_000)
    monkeypatch.setattr(redis_link, "redis_link", lambda: link)
    monkeypatch.setattr(redis_signals, "redis_link", lambda: link)
    monkeypatch.setattr(redis_signals, "redis_writer", redis_signals.redis_writer.__wrapped__)
    log = configured.event_log.__wrapped__()
    assert isinstance(log, RedisEventLog)
    assert log.streams_budget == 7_000_000
    assert log.budget_bytes == 3_000_000
    assert log.writer._max_bytes == 3_000_000
    link.close()


@pytest.mark.parametrize("tasks", [background_tasks.web_tasks, background_tasks.background_tasks])
def test_every_process_keeps_to_the_budget(monkeypatch: pytest.MonkeyPatch, make_log: Maker, tasks: Any) -> None:
    log = make_log()
    monkeypatch.setattr(configured, "event_log", lambda: log)
    assert redis_budget.TASK in [task.name for task in tasks()]


# --- No cost for a run -------------------------------------------------------------------------------


async def test_account_costs_no_command_of_its_own(worker, commands) -> None:
    write(worker, "warm", "a", feed="feed")
    worker.close("warm", b"null")
    await flushed(worker)
    commands.config_resetstat()
    for number in range(10):
        write(worker, str(number), "a", "b", feed="feed")
        await flushed(worker)
        worker.close(str(number), b"null")
        await flushed(worker)
    calls = {name: stats["calls"] for name, stats in commands.info("commandstats").items()}
    # A beginning, one entry and an end each.
    assert calls["cmdstat_evalsha"] == 30
