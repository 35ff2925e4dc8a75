"""The memory of event logs: what is counted is what is held, all logs have one bound, and what was freed goes back."""

import gc
import subprocess
import sys
import threading

import pytest
from django.conf import settings

from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import BEGIN, Event, EventsLost, Subscription
from platform_site.core.events.memory import MemoryEventLog, event_tasks
from platform_site.core.events.memory_budget import cut_level
from platform_site.core.events.memory_log import LOG_OVERHEAD
from platform_site.core.telemetry.process_memory import memory_limit
from tests.core.clock import Clock
from tests.core.clock import clock as clock

BUDGET = 1_000_000
# What events may hold beyond the budget: the one that was just appended, and what is not counted yet.
SLACK = 50_000


@pytest.fixture
def log(clock: Clock) -> MemoryEventLog:
    return MemoryEventLog(
        max_bytes=400_000, ttl=120, resumable_ttl=3600, abandoned_after=10_000, budget=BUDGET, clock=clock
    )


def names(events: list[Event] | None) -> list[str]:
    assert events is not None
    return [event.name for event in events]


def finished(log: MemoryEventLog, name: str, size: int, *, resumable: bool = False, outcome: bytes = b"{}") -> None:
    log.begin(name, None, resumable=resumable)
    log.append(name, "values", bytes(size))
    log.close(name, outcome)


async def is_kept(log: MemoryEventLog, name: str) -> bool:
    return await log.is_closed(name)


# --- What is held --------------------------------------------------------------------------------------

_HELD = """
import gc, sys
from platform_site.core.events.memory import MemoryEventLog
from platform_site.core.telemetry.process_memory import resident_bytes

def grown(logs, events, size):
    log = MemoryEventLog(max_bytes=10**9, ttl=1, resumable_ttl=1, abandoned_after=1, budget=10**9)
    data = bytes(size)
    gc.collect()
    before = resident_bytes()
    for event in range(events):
        for number in range(logs):
            log.append(f"run {number}", "messages|" + "child", data)
    return (resident_bytes() - before) / log.held_bytes

grown(10, 1000, 100)
print(*[grown(*case) for case in ((4, 50, 300_000), (64, 2000, 100), (64, 2000, 700), (20_000, 1, 100))])
"""


def test_counted_bytes_are_those_that_the_process_has_grown_by(pytestconfig: pytest.Config) -> None:
    """In a process of its own, where nothing else grows: large events, small ones, larger ones, many logs."""
    program = [sys.executable, "-c", _HELD]
    told = subprocess.run(program, capture_output=True, text=True, check=True, cwd=pytestconfig.rootpath).stdout
    for ratio in map(float, told.split()):
        assert 0.8 < ratio < 1.1, told


def test_events_are_nothing_that_the_garbage_collector_tracks(log: MemoryEventLog) -> None:
    log.append("run", "first", b"{}")
    gc.collect()
    before = len(gc.get_objects())
    for number in range(3000):
        log.append("run", "messages", b"%d" % number)
    assert len(gc.get_objects()) - before < 20


def test_names_are_held_once(log: MemoryEventLog) -> None:
    for number in range(1000):
        log.append("run", "|".join(["messages", "child" * 100]), b"%d" % number)
    assert log.held_bytes < 1000 * 100


def test_nothing_is_held_when_all_is_over(log: MemoryEventLog, clock: Clock) -> None:
    for number in range(50):
        finished(log, str(number), 100, resumable=number % 2 == 0, outcome=bytes(5000))
        log.append(f"open {number}", "custom", b"1")
        log.discard(f"open {number}")
    log.post("feed", "custom", b"2")
    assert log.held_bytes > 0
    clock.now += 3601
    log.expire()
    assert (log.kept, log.held_bytes) == (0, 0)


async def test_a_log_counts_until_its_last_reader_has_gone(log: MemoryEventLog, clock: Clock) -> None:
    finished(log, "run", 100_000)
    reader: Subscription | None = log.subscribe("run", BEGIN)
    clock.now += 121
    log.expire()
    assert log.held_bytes > 100_000
    assert reader is not None
    assert names(await reader.batch(0)) == ["values"]
    reader = None
    log.expire()
    assert log.held_bytes == 0


# --- The budget ----------------------------------------------------------------------------------------


async def test_the_oldest_finished_logs_go_first(log: MemoryEventLog) -> None:
    for number in range(30):
        finished(log, str(number), 90_000)
        assert log.held_bytes < BUDGET + SLACK
    kept = [number for number in range(30) if await is_kept(log, str(number))]
    assert kept == list(range(30 - len(kept), 30))
    # Half of the budget is for runs in work.
    assert len(kept) == 5


async def test_runs_in_work_may_hold_all_of_the_budget(log: MemoryEventLog) -> None:
    for number in range(10):
        log.append(str(number), "values", bytes(90_000))
    for number in range(10):
        assert names(await log.subscribe(str(number), BEGIN).batch(0)) == ["values"]
    for number in range(10):
        log.close(str(number), b"{}")
    assert log.held_bytes < BUDGET / 2


async def test_those_of_resumable_runs_stay_longer(log: MemoryEventLog) -> None:
    finished(log, "resumable", 90_000, resumable=True)
    for number in range(30):
        finished(log, str(number), 90_000)
    assert await is_kept(log, "resumable")
    for number in range(30):
        finished(log, f"more {number}", 90_000, resumable=True)
    assert not await is_kept(log, "resumable")
    assert await is_kept(log, "more 29")


async def test_a_run_marked_as_resumable_after_its_end_stays_longer(log: MemoryEventLog) -> None:
    finished(log, "late", 90_000)
    log.begin("late", None, resumable=True)
    for number in range(30):
        finished(log, str(number), 90_000)
    assert await is_kept(log, "late")


async def test_open_logs_are_cut_only_when_no_finished_one_is_left(log: MemoryEventLog) -> None:
    log.append("open", "values", bytes(300_000))
    for number in range(30):
        finished(log, str(number), 90_000, resumable=number % 2 == 0)
    assert names(await log.subscribe("open", BEGIN).batch(0)) == ["values"]


async def test_the_largest_open_logs_lose_their_oldest_events(log: MemoryEventLog) -> None:
    for number in range(10):
        log.append("small", str(number), bytes(1000))
    for number in range(100):
        for name in ("one", "two", "three", "four"):
            log.append(name, str(number), bytes(3000))
    assert log.held_bytes < BUDGET + SLACK
    assert names(await log.subscribe("small", BEGIN).batch(0)) == [str(number) for number in range(10)]
    for name in ("one", "two", "three", "four"):
        kept = names(await log.subscribe(name, BEGIN).batch(0))
        assert kept == [str(number) for number in range(100 - len(kept), 100)]
        assert 60 < len(kept) < 85


async def test_a_log_that_is_read_is_cut_with_the_open_ones(log: MemoryEventLog) -> None:
    finished(log, "read", 90_000)
    reader = log.subscribe("read", BEGIN)
    for number in range(30):
        finished(log, str(number), 90_000)
    assert names(await reader.batch(0)) == ["values"]


async def test_outcomes_reach_those_who_wait_though_their_log_is_given_up(log: MemoryEventLog) -> None:
    waiting = log.subscribe("run", None)
    finished(log, "run", 90_000, outcome=b'{"answer":42}')
    for number in range(30):
        log.append(str(number), "values", bytes(90_000))
    with pytest.raises(EventsLost):
        await waiting.batch(0)
    assert await waiting.batch(0) is None
    assert waiting.outcome == b'{"answer":42}'


async def test_finished_logs_that_readers_kept_go_when_the_readers_have_gone(log: MemoryEventLog) -> None:
    """Their outcomes alone are more than the budget, and nothing happens afterwards."""
    readers: list[Subscription] = []
    for number in range(8):
        log.begin(str(number), None, resumable=True)
        readers.append(log.subscribe(str(number), BEGIN))
    for number in range(8):
        log.close(str(number), bytes(300_000))
    log.expire()
    assert log.held_bytes > 2 * BUDGET
    readers.clear()
    log.expire()
    assert log.held_bytes <= BUDGET
    assert await is_kept(log, "7")


async def test_the_budget_is_as_before_after_readers_have_held_more(log: MemoryEventLog, clock: Clock) -> None:
    readers = [log.subscribe(str(number), BEGIN) for number in range(8)]
    for number in range(8):
        log.close(str(number), bytes(300_000))
    readers.clear()
    clock.now += 121
    log.expire()
    for number in range(8):
        for _ in range(300):
            log.append(f"later {number}", "values", bytes(1000))
            assert log.held_bytes < BUDGET + SLACK


async def test_an_event_larger_than_the_budget_reaches_readers(log: MemoryEventLog) -> None:
    reader = log.subscribe("run", None)
    log.append("run", "large", bytes(3 * BUDGET))
    assert names(await reader.batch(0)) == ["large"]
    log.append("other", "large", bytes(3 * BUDGET))
    assert log.held_bytes < 3 * BUDGET + SLACK


async def test_a_log_holds_no_more_than_the_budget_whatever_a_log_may_hold(clock: Clock) -> None:
    log = MemoryEventLog(max_bytes=100 * BUDGET, ttl=1, resumable_ttl=1, abandoned_after=1, budget=BUDGET, clock=clock)
    for number in range(3000):
        log.append("run", str(number), bytes(1000))
        assert log.held_bytes < BUDGET + SLACK
    reader, read = log.subscribe("run", BEGIN), list[str]()
    while batch := await reader.batch(0):
        read += names(batch)
    assert read == [str(number) for number in range(3000 - len(read), 3000)]


def test_what_must_stay_does_not_make_each_append_look_at_all_logs(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs without events hold more than the budget: there is nothing to cut."""
    cuts = 0
    cut = log._cut

    def counted(growing: object) -> None:
        nonlocal cuts
        cuts += 1
        cut(growing)  # type: ignore[arg-type]

    monkeypatch.setattr(log, "_cut", counted)
    for number in range(2 * BUDGET // LOG_OVERHEAD):
        log.subscribe(str(number), None)
    for number in range(2000):
        log.append("run", str(number), bytes(1000))
    assert log.held_bytes > BUDGET
    assert cuts < 150


def test_budget_holds_while_threads_append_and_logs_end(log: MemoryEventLog) -> None:
    most, stop = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.is_set():
            most = max(most, log.held_bytes)

    def work(thread: int) -> None:
        for run in range(30):
            name = f"{thread}/{run}"
            log.begin(name, "feed", resumable=run % 3 == 0)
            for number in range(200):
                log.append(name, "custom", bytes(number * 5))
            (log.discard if run % 7 == 0 else log.close)(name, *(() if run % 7 == 0 else (b"{}",)))

    watcher = threading.Thread(target=watch)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    watcher.join()
    assert 0 < most < BUDGET + 2 * SLACK
    assert log.held_bytes == sum(held.weight for held in log._logs.values())


@pytest.mark.parametrize(
    ("sizes", "excess", "level"),
    [
        ([100, 50, 10], 20, 80),
        ([100, 50, 10], 50, 50),
        ([100, 50, 10], 70, 40),
        ([100, 100, 100], 30, 90),
        ([100, 50, 10], 160, 0),
        ([100, 50, 10], 1000, 0),
        ([], 10, 0),
    ],
)
def test_level_to_which_the_largest_are_cut(sizes: list[int], excess: int, level: int) -> None:
    assert cut_level(sizes, excess) == level


def test_default_is_a_part_of_the_memory_there_is() -> None:
    assert event_log().budget_bytes == settings.EVENT_MEMORY_BYTES == min(memory_limit() // 16, 128_000_000)


# --- Back to the system --------------------------------------------------------------------------------


async def test_memory_goes_back_after_much_was_freed(log: MemoryEventLog, clock: Clock) -> None:
    given_back = 0

    def give_back() -> None:
        nonlocal given_back
        given_back += 1

    [task] = event_tasks(log, give_back)
    finished(log, "run", 300_000)
    await task.work()
    assert given_back == 0
    clock.now += 121
    pause = await task.work()
    assert given_back == 1
    # However soon something expires, the next round is some seconds away.
    assert pause is not None
    assert pause >= 10
    await task.work()
    assert given_back == 1


async def test_memory_goes_back_after_a_log_was_trimmed_again_and_again(log: MemoryEventLog) -> None:
    given_back: list[bool] = []
    [task] = event_tasks(log, lambda: given_back.append(True))
    for number in range(2000):
        log.append("run", str(number), bytes(1000))
    await task.work()
    assert given_back == [True]


# --- Readers that are overtaken ------------------------------------------------------------------------


async def test_a_reader_that_trimming_overtakes_is_told_and_may_go_on(log: MemoryEventLog) -> None:
    log.begin("run", None, resumable=True)
    reader = log.subscribe("run", BEGIN)
    log.append("run", "read", b"")
    assert names(await reader.batch(0)) == ["read"]
    for number in range(1000):
        log.append("run", str(number), bytes(1000))

    with pytest.raises(EventsLost) as loss:
        await reader.batch(0)

    assert loss.value.resumable
    rest = await reader.batch(0)
    assert names(rest)[-1] == "999"
    assert await log.subscribe("run", loss.value.kept_after).batch(0) == rest


@pytest.mark.parametrize("place", ["now", "an event"])
async def test_a_reader_of_what_is_to_come_is_told_at_once(log: MemoryEventLog, place: str) -> None:
    log.append("run", "first", b"")
    [first] = await log.subscribe("run", BEGIN).batch(0) or []
    reader = log.subscribe("run", None if place == "now" else first.id)
    for number in range(1000):
        log.append("run", str(number), bytes(1000))
    with pytest.raises(EventsLost) as loss:
        await reader.batch(0)
    assert not loss.value.resumable


async def test_a_reader_that_comes_too_late_is_told(log: MemoryEventLog) -> None:
    log.append("run", "first", b"")
    [first] = await log.subscribe("run", BEGIN).batch(0) or []
    for number in range(1000):
        log.append("run", str(number), bytes(1000))
    kept = await log.subscribe("run", BEGIN).batch(0)
    late = log.subscribe("run", first.id)
    with pytest.raises(EventsLost):
        await late.batch(0)
    assert await late.batch(0) == kept


async def test_a_reader_that_waits_is_told_of_what_it_could_not_be_woken_for(log: MemoryEventLog) -> None:
    """Everything between two turns of its loop is more than a log holds."""
    reader = log.subscribe("run", BEGIN)
    assert await reader.batch(0) == []
    for number in range(1000):
        log.append("run", str(number), bytes(1000))
    with pytest.raises(EventsLost):
        await reader.batch(0)


async def test_a_reader_that_keeps_up_loses_nothing_though_the_log_is_trimmed(log: MemoryEventLog) -> None:
    reader, read = log.subscribe("run", BEGIN), []
    for number in range(2000):
        log.append("run", str(number), bytes(1000))
        if number % 50 == 0:
            read += names(await reader.batch(0))
    log.close("run", b"{}")
    read += names(await reader.batch(0))
    assert read == [str(number) for number in range(2000)]
    assert await reader.batch(0) is None


async def test_a_log_that_was_given_up_cannot_be_joined(log: MemoryEventLog) -> None:
    finished(log, "run", 90_000, resumable=True)
    reader = log.subscribe("run", BEGIN)
    assert await reader.batch(0)
    behind = log.subscribe("run", "1-0")
    for number in range(30):
        log.append(str(number), "values", bytes(90_000))
    with pytest.raises(EventsLost):
        await behind.batch(0)
    assert await reader.batch(0) is None


async def test_a_deleted_run_ends_its_readers_without_a_loss(log: MemoryEventLog) -> None:
    reader = log.subscribe("run", BEGIN)
    assert await reader.batch(0) == []
    log.append("run", "a", b"")
    log.discard("run")
    assert await reader.batch(0) is None
