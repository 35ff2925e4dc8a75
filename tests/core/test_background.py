"""Background tasks: repeated, woken, and never silently ended."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from platform_site.core import background as module
from platform_site.core.background import BackgroundTasks, Task


@pytest.fixture
def tasks() -> Iterator[BackgroundTasks]:
    made = BackgroundTasks()
    yield made
    made.stop()


class Rounds:
    """A task's work that counts its rounds and fails in those it is told to."""

    def __init__(self, *, failing: int = 0, pause: float | None = None) -> None:
        self.failing, self.pause = failing, pause
        self.count = 0
        self._changed = threading.Condition()

    async def __call__(self) -> float | None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
        if self.count <= self.failing:
            raise ValueError("no luck")
        return self.pause

    def reached(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, timeout=30)


def test_a_task_begins_at_once_and_is_due_again_when_it_says(tasks):
    rounds = Rounds(pause=0.001)
    tasks.start([Task("often", rounds, interval=3600)])
    assert rounds.reached(5)


def test_a_task_is_due_after_its_interval_whatever_it_says(tasks):
    rounds = Rounds(pause=3600)
    tasks.start([Task("lazy", rounds, interval=0.001)])
    assert rounds.reached(5)


def test_a_sleeping_task_is_woken(tasks):
    rounds = Rounds()
    tasks.start([Task("sleeper", rounds, interval=3600)])
    assert rounds.reached(1)
    tasks.wake("sleeper")
    assert rounds.reached(2)


def test_waking_a_task_that_does_not_exist_does_nothing(tasks):
    tasks.wake("nobody")
    tasks.start([])
    tasks.wake("nobody")
    assert tasks.statuses() == []


def test_a_failing_task_is_repeated_and_its_neighbour_goes_on(tasks, monkeypatch, caplog):
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.001)
    failing, neighbour = Rounds(failing=3), Rounds(pause=0.001)
    with caplog.at_level(logging.INFO, "switchyard.background"):
        tasks.start([Task("failing", failing, interval=3600), Task("neighbour", neighbour, interval=1)])
        assert failing.reached(4)
        assert neighbour.reached(4)
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 3
    assert all(record.exc_info for record in failures)


def test_a_failing_task_is_not_woken_out_of_its_backoff(tasks, monkeypatch):
    monkeypatch.setattr(module, "FIRST_BACKOFF", 3600.0)
    monkeypatch.setattr(module, "LONGEST_BACKOFF", 3600.0)
    failing, other = Rounds(failing=1), Rounds()
    tasks.start([Task("failing", failing, interval=1), Task("other", other, interval=3600)])
    assert failing.reached(1)
    tasks.wake("failing")
    tasks.wake("other")
    assert other.reached(2)
    assert failing.count == 1


def test_metrics_say_when_a_task_last_ran_and_how_often_it_failed(tasks, monkeypatch):
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.001)
    rounds = Rounds(failing=2, pause=0.001)
    tasks.start([Task("measured", rounds, interval=1)])
    assert rounds.reached(5)
    labels = {"task": "measured"}
    assert REGISTRY.get_sample_value("switchyard_background_last_run_timestamp_seconds", labels) is not None
    assert REGISTRY.get_sample_value("switchyard_background_failures_total", labels) == 2


def test_the_log_names_a_task_that_is_well_without_filling_up(tasks, caplog):
    rounds = Rounds(pause=0.001)
    with caplog.at_level(logging.INFO, "switchyard.background"):
        tasks.start([Task("well", rounds, interval=1)])
        assert rounds.reached(20)
    assert len([record for record in caplog.records if "well ran in" in record.getMessage()]) == 1


def test_stop_cancels_the_round_under_way(tasks):
    begun, cancelled = threading.Event(), threading.Event()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    tasks.start([Task("endless", endless, interval=1)])
    assert begun.wait(30)
    tasks.stop()
    assert cancelled.is_set()


def test_what_a_task_has_left_going_on_is_closed_with_it(tasks):
    rounds, closed = Rounds(), threading.Event()

    async def close() -> None:
        closed.set()

    tasks.start([Task("closing", rounds, interval=3600, close=close)])
    assert rounds.reached(1)
    assert not closed.is_set()
    tasks.stop()
    assert closed.is_set()
