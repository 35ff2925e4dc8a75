"""The rows of workers: who is alive, who may declare whom dead, and that the dead stay dead."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.engine import workers
from runs.models import Worker
from tests.runs.clock import SetClock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def row(clock: SetClock) -> Callable[[str], Worker]:
    """Make a worker of this name, alive for the time of a lease."""

    def make(name: str) -> Worker:
        workers.register(name, clock)
        return Worker.objects.get(name=name)

    return make


def is_dead(name: str) -> bool:
    return not Worker.objects.filter(name=name, died_at=None).exists()


def test_names_are_given_once() -> None:
    assert len({workers.new_name() for _ in range(1000)}) == 1000


def test_a_beat_keeps_a_worker_alive_for_the_time_of_a_lease(row: Any, clock: SetClock, settings: Any) -> None:
    row("a")
    clock.advance(settings.HEARTBEAT_SECONDS)
    assert workers.renew("a", clock)
    assert Worker.objects.get(name="a").alive_until == clock.time + timedelta(seconds=settings.LEASE_SECONDS)


def test_a_worker_is_registered_once(row: Any, clock: SetClock) -> None:
    made = row("a")
    clock.advance(5)
    assert (row("a").alive_until, row("a").started_at) == (made.alive_until, made.started_at)


def test_a_beat_touches_one_row_however_many_runs_the_worker_has(row: Any, clock: SetClock) -> None:
    row("a")
    with CaptureQueriesContext(connection) as asked:
        workers.renew("a", clock)
    [statement] = [query["sql"] for query in asked.captured_queries]
    assert statement.startswith('UPDATE "runs_worker"')


def test_worker_whose_time_is_over_is_declared_dead(row: Any, clock: SetClock) -> None:
    row("silent")
    clock.advance_leases(1.1)
    row("judge")
    assert workers.bury("judge", clock) == ["silent"]
    assert Worker.objects.get(name="silent").died_at == clock.time
    assert workers.bury("judge", clock) == []


def test_worker_whose_time_is_not_over_lives(row: Any, clock: SetClock) -> None:
    row("other")
    clock.advance_leases(0.9)
    row("judge")
    assert workers.bury("judge", clock) == []


def test_worker_that_renewed_its_row_late_but_in_time_lives(row: Any, clock: SetClock) -> None:
    row("late")
    clock.advance_leases(1.1)
    row("judge")
    assert workers.renew("late", clock)
    assert workers.bury("judge", clock) == []
    assert not is_dead("late")


def test_a_dead_row_cannot_be_renewed(row: Any, clock: SetClock) -> None:
    row("silent")
    clock.advance_leases(1.1)
    row("judge")
    workers.bury("judge", clock)
    assert not workers.renew("silent", clock)
    row("silent")
    assert not workers.renew("silent", clock)
    assert is_dead("silent")


def test_a_row_that_is_gone_cannot_be_renewed(clock: SetClock) -> None:
    assert not workers.renew("nobody", clock)


def test_a_worker_never_declares_itself_dead(row: Any, clock: SetClock) -> None:
    row("judge")
    clock.advance_leases(2)
    assert workers.bury("judge", clock) == []


def test_a_judge_whose_own_beat_is_late_declares_nobody_dead(row: Any, clock: SetClock) -> None:
    # The database was away: the time of all is over, and the judge is the first who is back.
    row("judge")
    row("other")
    clock.advance_leases(2)
    assert workers.bury("judge", clock) == []
    workers.renew("judge", clock)
    assert workers.bury("judge", clock) == []
    assert workers.renew("other", clock)


def test_a_judge_that_was_late_waits_for_the_time_of_a_lease(row: Any, clock: SetClock) -> None:
    row("judge")
    row("gone")
    clock.advance_leases(2)
    workers.renew("judge", clock)
    clock.advance_leases(0.9)
    workers.renew("judge", clock)
    assert workers.bury("judge", clock) == []
    clock.advance_leases(0.2)
    workers.renew("judge", clock)
    assert workers.bury("judge", clock) == ["gone"]


def test_a_dead_judge_declares_nobody_dead(row: Any, clock: SetClock) -> None:
    row("other")
    clock.advance_leases(1.1)
    row("judge")
    workers.retire("judge", clock)
    assert workers.bury("judge", clock) == []
    assert workers.bury("nobody", clock) == []


def test_at_the_start_of_the_only_process_every_other_worker_is_dead(row: Any, clock: SetClock) -> None:
    row("before")
    row("judge")
    assert workers.bury_all_others("judge", clock) == ["before"]
    assert (is_dead("before"), is_dead("judge")) == (True, False)


def test_rows_of_the_dead_are_kept_for_a_day(row: Any, clock: SetClock) -> None:
    row("dead")
    row("alive")
    workers.retire("dead", clock)
    clock.advance(23 * 3600)
    workers.forget(clock)
    assert Worker.objects.filter(name="dead").exists()
    clock.advance(2 * 3600)
    workers.forget(clock)
    assert list(Worker.objects.values_list("name", flat=True)) == ["alive"]
