"""The queue: who may execute which run, and when."""

import threading
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from platform_site.access.principal import Principal
from runs.engine import queue
from runs.engine.claim import row_of
from runs.engine.endings import Ending
from runs.engine.finish import finish
from runs.models import Run, RunAttempt, RunStatus
from tests.runs.conftest import alive, change, claim, create

DRAINED, LOST = RunAttempt.Reason.DRAINED, RunAttempt.Reason.LOST


def same_thread(principal: Principal, count: int) -> list[Run]:
    first = create(principal)
    return [first, *(create(principal, thread_id=first.thread_id) for _ in range(count - 1))]


def claimed_ids(**options: Any) -> list[UUID]:
    return [claimed.run_id for claimed in queue.claim_next("worker", **{"limit": 10, **options})]


# --- claiming by name ----------------------------------------------------------------------------


def named_ids(*runs: Run) -> list[UUID]:
    return [claimed.run_id for claimed in queue.claim_named("worker", [run.run_id for run in runs])]


def test_named_runs_are_claimed_in_the_order_of_the_queue(principal: Principal) -> None:
    first, second, other = (create(principal) for _ in range(3))
    assert named_ids(second, first) == [first.run_id, second.run_id]
    assert claimed_ids() == [other.run_id]


def test_a_name_that_comes_twice_or_late_claims_nothing(principal: Principal) -> None:
    run = create(principal)
    assert named_ids(run, run) == [run.run_id]
    assert named_ids(run) == []
    assert queue.claim_named("worker", [uuid4()]) == []
    assert queue.claim_named("worker", []) == []


def test_a_named_run_waits_for_its_turn_on_its_thread(principal: Principal) -> None:
    first, second = same_thread(principal, 2)
    assert named_ids(second) == []
    assert named_ids(first) == [first.run_id]
    assert named_ids(second) == []


def test_a_named_run_that_is_not_due_waits_and_is_known_to(principal: Principal) -> None:
    run = change(create(principal), scheduled_at=timezone.now() + timedelta(minutes=1))
    assert named_ids(run) == []
    assert queue.any_delayed([run.run_id])
    assert not queue.any_delayed([create(principal).run_id])


def test_a_run_that_lost_its_process_is_not_claimed_by_name(principal: Principal) -> None:
    """Recovered runs are taken up one at a time, which only the dispatcher looks to."""
    run = change(create(principal), attempt=1)
    assert named_ids(run) == []
    assert claimed_ids(recoveries=1) == [run.run_id]


def test_a_run_is_held_from_its_claim_to_its_end(principal: Principal) -> None:
    run = create(principal)
    assert not queue.is_held(run.run_id)
    claimed = claim(run)
    assert queue.is_held(run.run_id)
    finish(claimed, Ending(RunStatus.SUCCESS), None)
    assert not queue.is_held(run.run_id)


# --- claiming ------------------------------------------------------------------------------------


def test_claimed_run_is_running_and_leased(principal: Principal) -> None:
    run = create(principal)
    claimed = claim(run)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.lease_owner) == ("running", 1, claimed.lease_owner)
    assert run.started_at == run.attempt_started_at == claimed.started_at
    assert run.worker == "worker"


def test_claim_brings_all_that_execution_needs(principal: Principal) -> None:
    run = create(principal, input={"log": ["x"]})
    claimed = claim(run)
    assert (claimed.run_id, claimed.thread_id, claimed.workspace_id) == (run.run_id, run.thread_id, run.workspace_id)
    assert (claimed.assistant_id, claimed.graph_id, claimed.kwargs) == (run.assistant_id, "log", run.kwargs)
    assert claimed.scheduled_at == run.scheduled_at


def test_claimed_run_is_not_claimed_again(principal: Principal) -> None:
    claim(create(principal))
    assert claimed_ids() == []


def test_claim_is_lost_if_another_worker_was_faster(principal: Principal) -> None:
    # Two workers have read the same pending row; the compare-and-set lets one of them through.
    run = create(principal)
    row = row_of(run)
    with connection.cursor() as cursor:
        assert queue._take(cursor, "first", row, timezone.now()) is not None
        assert queue._take(cursor, "second", row, timezone.now()) is None
    run.refresh_from_db()
    assert str(run.lease_owner).startswith("first/")


def test_leases_of_two_attempts_have_different_owners(principal: Principal) -> None:
    run = create(principal)
    first = claim(run)
    queue.release(first, counts=True, reason=LOST)
    assert claim(run).lease_owner != first.lease_owner


def test_concurrent_claims_never_claim_a_run_twice(principal: Principal) -> None:
    runs = [create(principal) for _ in range(40)]
    barrier, claimed, failures = threading.Barrier(4), Counter[UUID](), []
    alive(*[f"worker{number}" for number in range(4)])

    def work(name: str) -> None:
        try:
            barrier.wait()
            while found := queue.claim_next(name, limit=3):
                claimed.update(one.run_id for one in found)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(f"worker{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert claimed == Counter(run.run_id for run in runs)


# --- order and one owner ---------------------------------------------------------------------------


def test_runs_are_claimed_in_order_of_sequence(principal: Principal) -> None:
    runs = [create(principal) for _ in range(3)]
    assert claimed_ids() == [run.run_id for run in runs]


def test_sequence_counts_and_not_the_clock(principal: Principal) -> None:
    first, second = same_thread(principal, 2)
    earlier = timezone.now() - timedelta(hours=1)
    change(second, created_at=earlier, scheduled_at=earlier)
    assert claimed_ids() == [first.run_id]


def test_one_run_of_a_thread_at_a_time(principal: Principal) -> None:
    first, second = same_thread(principal, 2)
    assert claimed_ids() == [first.run_id]
    assert claimed_ids() == []
    finish(queue.claim_of(Run.objects.get(pk=first.pk), str(Run.objects.get(pk=first.pk).lease_owner)),
           Ending(RunStatus.SUCCESS), None)  # fmt: skip
    assert claimed_ids() == [second.run_id]


def test_a_cancelled_run_holds_its_thread_until_it_has_let_go(principal: Principal) -> None:
    first, _ = same_thread(principal, 2)
    claim(first)
    change(first, status=RunStatus.INTERRUPTED)
    assert claimed_ids() == []


def test_the_database_refuses_two_leases_on_a_thread(principal: Principal) -> None:
    first, second = same_thread(principal, 2)
    claim(first)
    with pytest.raises(IntegrityError):
        change(second, lease_owner="somebody")


def test_runs_of_other_threads_do_not_wait(principal: Principal) -> None:
    first, _, other = *same_thread(principal, 2), create(principal)
    assert claimed_ids() == [first.run_id, other.run_id]


def test_no_more_than_the_limit(principal: Principal) -> None:
    runs = [create(principal) for _ in range(3)]
    assert claimed_ids(limit=2) == [run.run_id for run in runs[:2]]


def test_claims_of_one_thread_only(principal: Principal) -> None:
    _, wanted = create(principal), create(principal)
    assert claimed_ids(thread_id=wanted.thread_id) == [wanted.run_id]


# --- delayed runs ----------------------------------------------------------------------------------


def test_delayed_run_is_claimed_when_it_is_due(principal: Principal) -> None:
    run = create(principal, after_seconds=60)
    assert claimed_ids() == []
    change(run, scheduled_at=timezone.now())
    assert claimed_ids() == [run.run_id]


def test_delayed_run_does_not_hold_up_later_runs_of_its_thread(principal: Principal) -> None:
    delayed, later = same_thread(principal, 2)
    change(delayed, scheduled_at=timezone.now() + timedelta(hours=1))
    assert claimed_ids() == [later.run_id]


def test_next_due_is_the_earliest_run_that_is_not_due_yet(principal: Principal) -> None:
    now = timezone.now()
    # Overdue, and pending still: it waits for its thread. Nobody has to wake up for it.
    change(create(principal), scheduled_at=now - timedelta(minutes=1))
    change(create(principal), scheduled_at=now + timedelta(minutes=2))
    soon = change(create(principal), scheduled_at=now + timedelta(minutes=1))
    assert queue.next_due(now) == soon.scheduled_at


def test_nothing_is_due_when_nothing_is_pending(principal: Principal) -> None:
    claim(create(principal))
    assert queue.next_due(timezone.now()) is None


# --- recoveries ------------------------------------------------------------------------------------


def lost_runs(principal: Principal, count: int) -> list[Run]:
    return [change(create(principal), attempt=1, started_at=timezone.now()) for _ in range(count)]


def test_recoveries_are_claimed_up_to_their_limit(principal: Principal) -> None:
    lost = lost_runs(principal, 3)
    fresh = create(principal)
    assert claimed_ids(recoveries=1) == [lost[0].run_id, fresh.run_id]


def test_a_recovered_run_on_its_last_attempt_is_claimed_alone(principal: Principal, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 3
    last, second, third = lost_runs(principal, 3)
    change(last, attempt=2)
    fresh = create(principal)
    assert claimed_ids(recoveries=8) == [last.run_id, fresh.run_id]
    assert claimed_ids(recoveries=8) == [second.run_id, third.run_id]


def test_recovered_runs_wait_behind_one_on_its_last_attempt(principal: Principal, settings: Any) -> None:
    """Or it would wait for as long as there are others."""
    settings.MAX_ATTEMPTS = 3
    first, last, _ = lost_runs(principal, 3)
    change(last, attempt=2)
    assert claimed_ids(recoveries=8) == [first.run_id]
    assert claimed_ids(recoveries=8, alone=False) == []
    assert claimed_ids(recoveries=8) == [last.run_id]


def test_recoveries_do_not_crowd_out_other_runs(principal: Principal) -> None:
    lost_runs(principal, 3)
    fresh = create(principal)
    assert claimed_ids(recoveries=0, limit=1) == [fresh.run_id]
