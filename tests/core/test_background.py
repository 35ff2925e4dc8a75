"""Background tasks: repeated, woken, and never silently ended."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from platform_site.core.background import rounds as module
from platform_site.core.background.tasks import BackgroundTasks, Task
from platform_site.processes import serving


@pytest.fixture
def tasks() -> Iterator[BackgroundTasks]:
    made = BackgroundTasks()
    yield made
    made.stop()


class Rounds:
    """A task's work that counts its rounds and fails in those it is told to."""

    def __init__(
        self, *, failing: int = 0, pause: float | None = None, error: type[BaseException] = ValueError
    ) -> None:
        self.failing, self.pause, self.error = failing, pause, error
        self.count = 0
        self._changed = threading.Condition()

    async def __call__(self) -> float | None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
        if self.count <= self.failing:
            raise self.error("no luck")
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


def test_beat_wakes_what_looks_for_work_and_nothing_else(tasks, settings, monkeypatch):
    seldom, often = Rounds(), Rounds()
    tasks.start([Task("seldom", seldom, interval=3600), Task("often", often, interval=settings.SWEEP_SECONDS)])
    monkeypatch.setattr("platform_site.core.background.tasks.background", lambda: tasks)
    assert seldom.reached(1)
    assert often.reached(1)
    serving.wake_all()
    assert often.reached(2)
    assert seldom.count == 1


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


def test_the_log_names_a_task_that_is_well_only_for_those_who_debug(tasks, caplog):
    rounds = Rounds(pause=0.001)
    with caplog.at_level(logging.DEBUG, "switchyard.background"):
        tasks.start([Task("well", rounds, interval=1)])
        assert rounds.reached(20)
    levels = {record.levelno for record in caplog.records if "well ran in" in record.getMessage()}
    assert levels == {logging.DEBUG}


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


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, KeyboardInterrupt, MemoryError])
def test_no_exception_of_a_round_ends_its_task(tasks, monkeypatch, error):
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.001)
    rounds = Rounds(failing=2, pause=0.001, error=error)
    tasks.start([Task("stubborn", rounds, interval=1)])
    assert rounds.reached(5)
    [status] = tasks.statuses()
    assert status.failures_in_a_row == 0


def test_a_round_that_awaits_what_is_cancelled_is_repeated(tasks, monkeypatch):
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.001)
    rounds = Rounds(pause=0.001)

    async def awaits_cancelled() -> float | None:
        if rounds.count < 2:
            await rounds()
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return await rounds()

    tasks.start([Task("stubborn", awaits_cancelled, interval=1)])
    assert rounds.reached(5)


def test_pause_after_a_failure_is_no_longer_than_the_interval():
    status = module.Status("often", interval=5)
    assert max(status.failed(ValueError("no luck")) for _ in range(20)) <= 5
    seldom = module.Status("seldom", interval=3600)
    assert max(seldom.failed(ValueError("no luck")) for _ in range(20)) <= module.LONGEST_BACKOFF


def test_a_status_tells_what_went_wrong_last(tasks, monkeypatch):
    monkeypatch.setattr(module, "FIRST_BACKOFF", 3600.0)
    rounds, other = Rounds(failing=1), Rounds()
    tasks.start([Task("failing", rounds, interval=1), Task("other", other, interval=3600)])
    assert rounds.reached(1)
    tasks.wake("other")
    assert other.reached(2)
    status = next(status for status in tasks.statuses() if status.name == "failing")
    assert (status.rounds, status.failures_in_a_row, status.last_error) == (0, 1, "ValueError: no luck")
    assert status.last_run is None


def test_a_task_is_late_when_it_has_missed_several_rounds():
    status = module.Status("task", interval=100, started=1000)
    assert not status.is_late(1000 + 300)
    assert status.is_late(1000 + 400)
    status.last_run = 1350
    assert not status.is_late(1400)


def test_what_is_kept_alive_elsewhere_is_shown_among_the_tasks(tasks):
    elsewhere = module.Status("elsewhere", interval=1)
    tasks.watch(elsewhere)
    tasks.start([Task("here", Rounds(), interval=1)])
    assert [status.name for status in tasks.statuses()] == ["elsewhere", "here"]
    assert tasks.statuses()[0] is elsewhere
    tasks.wake("elsewhere")


async def test_rounds_end_after_the_one_under_way():
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await go_on.wait()
        ended.append(True)

    rounds = module.Rounds(Task("slow", work, interval=3600))
    running = asyncio.create_task(rounds.run())
    await begun.wait()
    rounds.end()
    go_on.set()
    await running
    assert ended == [True]
