"""The garbage collector of a process that serves."""

import gc
import logging
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from platform_site.core import collector


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(collector._note)
    collector._durations.clear()


def counted() -> float:
    return REGISTRY.get_sample_value("switchyard_full_collections_total") or 0.0


async def test_what_is_there_is_looked_at_no_more() -> None:
    kept: list[list[int]] = [[] for _ in range(1000)]
    collector.settle()
    assert gc.get_freeze_count() > len(kept)
    assert not any(item is kept for item in gc.get_objects())
    assert gc.get_threshold() == collector.THRESHOLDS


async def test_every_full_collection_is_counted_once() -> None:
    collector.settle()
    collector.settle()
    await collector.tell()
    before = counted()
    gc.collect()
    gc.collect(1)
    await collector.tell()
    await collector.tell()
    assert counted() == before + 1


async def test_a_slow_one_is_logged_and_a_quick_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    collector.settle()
    collector._durations.extend([0.01, 0.12])
    with caplog.at_level(logging.INFO, "switchyard.collector"):
        await collector.tell()
    assert [record.getMessage() for record in caplog.records] == [
        "a full garbage collection stopped this process for 120 ms"
    ]


async def test_nothing_but_numbers_is_kept_where_it_is_called() -> None:
    """Whoever waits for a lock there could wait for the thread that was interrupted."""
    collector.settle()
    collector._note("start", {"generation": 1})
    collector._note("stop", {"generation": 1})
    assert not collector._durations
    collector._note("start", {"generation": 2})
    collector._note("stop", {"generation": 2})
    assert len(collector._durations) == 1
