"""The garbage collector of a process that serves."""

import gc
import logging
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from types import ModuleType

import pytest
from prometheus_client import REGISTRY

from platform_site.core.background import collector
from platform_site.core.background.collector import CollectorRounds, count_collections, settle
from platform_site.core.telemetry import metrics


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    # Only the full collections of a test are to count.
    gc.disable()
    count_collections()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    if collector._note in gc.callbacks:
        gc.callbacks.remove(collector._note)
    collector._modules = None
    collector._Seen.slow.clear()


class Clock:
    """The time of the process and that on the wall, which pass when they are told to."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def rounds(self) -> CollectorRounds:
        return CollectorRounds(lambda: self.cpu, lambda: self.wall)


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.me = self


def counted() -> float:
    return REGISTRY.get_sample_value("switchyard_full_collections_total") or 0.0


def seconds_counted() -> float:
    return REGISTRY.get_sample_value("switchyard_full_collection_seconds_total") or 0.0


def is_frozen(item: object) -> bool:
    return not any(found is item for found in gc.get_objects())


def import_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(collector.MANY_MODULES):
        monkeypatch.setitem(sys.modules, f"imported_later_{number}", ModuleType(f"imported_later_{number}"))


async def test_what_is_there_is_looked_at_no_more() -> None:
    kept: list[list[int]] = [[] for _ in range(1000)]
    settle()
    assert gc.get_freeze_count() > len(kept)
    assert is_frozen(kept)
    assert gc.get_threshold() == collector.THRESHOLDS


async def test_garbage_is_not_frozen() -> None:
    node = weakref.ref(Node())
    settle()
    assert node() is None


async def test_what_has_become_garbage_since_it_was_frozen_goes_with_the_next_time() -> None:
    node = Node()
    seen = weakref.ref(node)
    settle()
    del node
    gc.collect()
    assert seen() is not None
    settle()
    assert seen() is None


async def test_every_full_collection_is_counted_once() -> None:
    settle()
    rounds = CollectorRounds()
    await rounds.round()
    before, seconds = counted(), seconds_counted()
    gc.collect()
    gc.collect(1)
    await rounds.round()
    await rounds.round()
    assert counted() == before + 1
    assert seconds_counted() > seconds


async def test_full_collections_of_every_thread_are_counted_once() -> None:
    settle()
    rounds = CollectorRounds()
    before = counted()
    collected: list[int] = []

    def collect() -> None:
        for _ in range(20):
            # While another thread collects, this one is told so by a zero, and its callback is not called.
            collected.append(gc.collect())

    seen: list[str] = []
    gc.callbacks.append(lambda phase, info: seen.append(phase))
    watcher = gc.callbacks[-1]
    threads = [threading.Thread(target=collect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.callbacks.remove(watcher)
    await rounds.round()
    # Never two at once.
    assert seen == ["start", "stop"] * (len(seen) // 2)
    assert counted() - before == len(seen) // 2


async def test_more_full_collections_than_are_worth_a_line_are_counted_all_the_same() -> None:
    settle()
    rounds = CollectorRounds()
    before = counted()
    for _ in range(collector._MOST_SLOW + 50):
        collector._note("start", {"generation": 2})
        collector._note("stop", {"generation": 2})
    await rounds.round()
    assert counted() == before + collector._MOST_SLOW + 50


async def test_a_collection_is_counted_once_when_scrapes_and_the_loop_count_at_the_same_time() -> None:
    settle()
    rounds = CollectorRounds()
    before = counted()
    gc.collect()
    together = threading.Barrier(4)

    def scrape() -> None:
        together.wait()
        for _ in range(200):
            count_collections()

    threads = [threading.Thread(target=scrape) for _ in range(3)]
    for thread in threads:
        thread.start()
    together.wait()
    for _ in range(50):
        gc.collect()
        await rounds.round()
    for thread in threads:
        thread.join()
    assert counted() == before + 51


async def test_a_collection_while_the_counts_are_taken_does_not_wait_for_them() -> None:
    settle()
    before = counted()
    with collector._counting:
        gc.collect()
    count_collections()
    assert counted() == before + 1


async def test_a_slow_one_that_a_scrape_has_counted_is_logged_by_the_loop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle()
    before = metrics.total(metrics.SLOW_COLLECTIONS)
    monkeypatch.setattr(collector, "SLOW_SECONDS", -1.0)
    gc.collect()
    with caplog.at_level(logging.INFO, "switchyard.collector"):
        count_collections()
        assert not caplog.records
        await CollectorRounds().round()
    assert metrics.total(metrics.SLOW_COLLECTIONS) == before + 1
    assert len(caplog.records) == 1


async def test_a_slow_one_is_logged_with_its_time_and_a_quick_one_is_not(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle()
    rounds = CollectorRounds()
    times = iter([5.0, 5.01, 7.0, 7.12])
    with monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", lambda: next(times))
        for phase in ("start", "stop", "start", "stop"):
            collector._note(phase, {"generation": 2})
    with caplog.at_level(logging.INFO, "switchyard.collector"):
        await rounds.round()
    assert [record.getMessage() for record in caplog.records] == [
        "a full garbage collection stopped this process for 120 ms"
    ]


async def test_nothing_but_numbers_is_kept_where_it_is_called() -> None:
    """Whoever waits for a lock there could wait for the thread that was interrupted."""
    settle()
    before = collector._Seen.count
    collector._note("start", {"generation": 1})
    collector._note("stop", {"generation": 1})
    assert collector._Seen.count == before
    collector._note("start", {"generation": 2})
    collector._note("stop", {"generation": 2})
    assert collector._Seen.count == before + 1
    assert {type(value) for name, value in vars(collector._Seen).items() if name[0] != "_"} == {int, float, type(
        collector._Seen.slow
    )}  # fmt: skip


async def test_an_idle_process_settles_again_once_much_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    settle()
    clock = Clock()
    rounds = clock.rounds()
    later = [Node()]
    clock.wall += 5
    await rounds.round()
    assert not is_frozen(later)
    import_many(monkeypatch)
    clock.wall += 5
    await rounds.round()
    assert is_frozen(later)


async def test_a_busy_process_waits_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settle()
    clock = Clock()
    rounds = clock.rounds()
    later = [Node()]
    import_many(monkeypatch)
    clock.wall, clock.cpu = 5, 1
    await rounds.round()
    assert not is_frozen(later)
    clock.wall += 5
    await rounds.round()
    assert is_frozen(later)


async def test_a_process_whose_graphs_are_not_loaded_yet_does_not_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    rounds = clock.rounds()
    import_many(monkeypatch)
    clock.wall += 5
    await rounds.round()
    assert gc.get_freeze_count() == 0
