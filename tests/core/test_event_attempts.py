"""The log of a run over its attempts: live in each of them, and closed once the run has ended."""

import pytest

from platform_site.core.events.interface import BEGIN, Event
from platform_site.core.events.memory import MemoryEventLog
from tests.core.clock import Clock
from tests.core.test_events import clock, everything, log

__all__ = ["clock", "log"]


def numbers(event: Event) -> tuple[int, ...]:
    return tuple(map(int, event.id.split("-")))


async def test_the_log_of_an_attempt_is_live_though_the_one_before_has_left_it(log: MemoryEventLog) -> None:
    log.begin("run", None)
    log.append("run", "a", b"1")
    log.leave("run", "error", b"away", b"left")
    left = [event async for event in everything(log.subscribe("run", BEGIN))]
    assert [event.name for event in left] == ["a", "error"]

    # An attempt that did not count has its number again.
    log.begin("run", None)
    assert not await log.is_closed("run")
    reader, position = log.subscribe("run", BEGIN), log.subscribe("run", left[-1].id)
    log.append("run", "b", b"2")
    log.close("run", b"done")

    for subscription in (reader, position):
        events = [event async for event in everything(subscription)]
        assert [event.name for event in events] == ["b"]
        assert subscription.outcome == b"done"
        assert numbers(events[0]) > numbers(left[-1])


async def test_the_log_of_a_resumable_run_stays_resumable_in_its_next_attempt(clock: Clock) -> None:
    log = MemoryEventLog(max_bytes=10_000, ttl=10, resumable_ttl=100, abandoned_after=1000, clock=clock)
    log.begin("run", None, resumable=True)
    log.leave("run", "error", b"", b"left")
    log.begin("run", None)
    log.close("run", b"done")
    clock.now += 50
    assert await log.is_closed("run")


async def test_readers_stay_between_two_attempts_in_one_process(log: MemoryEventLog) -> None:
    log.begin("run", None)
    log.append("run", "a", b"")
    reader = log.subscribe("run", BEGIN)
    log.pause("run")
    log.begin("run", None)
    log.append("run", "b", b"")
    log.close("run", b"done")
    assert [event.name async for event in everything(reader)] == ["a", "b"]
    assert reader.outcome == b"done"


@pytest.mark.parametrize("end", ["close", "discard"])
async def test_the_log_of_a_run_that_has_ended_takes_nothing_from_a_late_attempt(log: MemoryEventLog, end: str) -> None:
    log.begin("run", None)
    log.close("run", b"done") if end == "close" else log.discard("run")
    log.begin("run", None)
    log.append("run", "late", b"")
    assert [event async for event in everything(log.subscribe("run", BEGIN))] == []
