"""Leases: whose they are, how long they live, how they are taken back, and whose writes count."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from platform_site.access.principal import Principal
from runs.engine import queue, workers
from runs.engine.claim import Claim
from runs.engine.endings import Ending
from runs.engine.engine import Engine
from runs.engine.finish import finish
from runs.models import Run, RunAttempt, RunStatus, Worker
from tests.runs.clock import SetClock
from tests.runs.conftest import alive, change, claim, create

DRAINED, LOST = RunAttempt.Reason.DRAINED, RunAttempt.Reason.LOST


def lost() -> list[UUID]:
    return [run.run_id for run in queue.lost_runs()]


def dies(worker: str) -> None:
    """Somebody declares the worker dead."""
    workers.retire(worker, workers.DatabaseClock())


# --- a lease lives as long as its worker ------------------------------------------------------------


def test_a_lease_names_its_worker(principal: Principal) -> None:
    run = create(principal)
    claimed = claim(run)
    run.refresh_from_db()
    assert (claimed.worker, run.worker) == ("worker", "worker")


def test_a_lease_name_is_never_used_twice(principal: Principal) -> None:
    # An attempt that does not count leaves its number to the next one, of the same worker.
    run = create(principal)
    first = claim(run)
    queue.release(first, counts=False, reason=LOST)
    second = claim(run)
    assert (first.attempt, second.attempt) == (1, 1)
    assert first.lease_owner != second.lease_owner
    assert not queue.release(first, counts=False, reason=LOST)


def test_all_leases_of_a_worker_are_read_in_one_query(django_assert_num_queries: Any, principal: Principal) -> None:
    runs = [create(principal) for _ in range(3)]
    claimed = [claim(run) for run in runs]
    claim(create(principal), worker="other")
    change(runs[1], cancel_action="rollback")
    with django_assert_num_queries(1):
        found = queue.leases_of("worker")
    assert {(lease.run_id, lease.owner, lease.cancel_action) for lease in found} == {
        (run.run_id, one.lease_owner, "rollback" if run == runs[1] else None)
        for run, one in zip(runs, claimed, strict=True)
    }


def test_the_leases_of_a_worker_are_found_by_an_index(principal: Principal) -> None:
    leases = Run.objects.filter(worker="worker", lease_owner__isnull=False)
    assert "(worker=? AND lease_owner>?)" in leases.explain()


def test_lease_that_was_given_back_is_the_workers_no_more(principal: Principal) -> None:
    claimed = claim(create(principal))
    queue.release(claimed, counts=True, reason=LOST)
    assert queue.leases_of("worker") == []


def test_run_of_a_dead_worker_is_lost(principal: Principal) -> None:
    run, other = create(principal), create(principal)
    claim(run, worker="died")
    claim(other)
    dies("died")
    assert lost() == [run.run_id]


def test_run_of_a_worker_without_a_row_is_lost(principal: Principal) -> None:
    # The row was deleted long ago, and the process that claims stood still for longer than that.
    run = create(principal)
    claim(run, worker="died")
    Worker.objects.filter(name="died").delete()
    assert lost() == [run.run_id]


def test_run_of_a_worker_whose_beat_is_late_is_not_lost(principal: Principal) -> None:
    claim(create(principal), worker="late")
    Worker.objects.filter(name="late").update(alive_until=timezone.now() - timedelta(hours=1))
    assert lost() == []


def test_a_dead_worker_claims_nothing(principal: Principal) -> None:
    run = create(principal)
    alive("died")
    dies("died")
    assert queue.claim_next("died", limit=5) == []
    assert queue.claim_named("died", [run.run_id]) == []
    assert queue.claim_next("unknown", limit=5) == []
    assert claim(run).run_id == run.run_id


def test_a_dead_worker_ends_its_run_and_claims_no_other(principal: Principal) -> None:
    first = create(principal)
    following = create(principal, thread_id=first.thread_id)
    claimed = claim(first, worker="died")
    dies("died")
    assert finish(claimed, Ending(RunStatus.SUCCESS), "died") == []
    following.refresh_from_db()
    assert (following.status, following.lease_owner) == ("pending", None)


@pytest.mark.parametrize("is_alive", [True, False])
def test_run_that_is_made_for_a_worker_is_claimed_if_the_worker_lives(
    principal: Principal, idle_engine: Engine, monkeypatch: pytest.MonkeyPatch, is_alive: bool
) -> None:
    accepted: list[Claim] = []
    monkeypatch.setattr(idle_engine, "has_room", lambda taken=0: True)
    monkeypatch.setattr(idle_engine, "accept", accepted.append)
    if is_alive:
        alive(idle_engine.worker)
    run = create(principal)
    assert (run.status, run.worker, run.attempt) == (
        ("running", idle_engine.worker, 1) if is_alive else ("pending", None, 0)
    )
    assert [claim.lease_owner for claim in accepted] == ([run.lease_owner] if is_alive else [])
    if not is_alive:
        assert claim(run).attempt == 1


def test_lost_run_is_pending_again_and_the_attempt_is_kept(principal: Principal) -> None:
    run = create(principal)
    claim(run, worker="died")
    run.refresh_from_db()
    assert queue.requeue_lost(run)
    run.refresh_from_db()
    assert (run.status, run.lease_owner, run.worker, run.attempt) == ("pending", None, None, 1)
    attempt = run.attempts.get()
    assert (attempt.number, attempt.worker, attempt.reason) == (1, "died", "lost")
    assert claim(run).attempt == 2


def test_lost_run_is_requeued_once(principal: Principal) -> None:
    run = create(principal)
    claim(run)
    run.refresh_from_db()
    assert queue.requeue_lost(run)
    claim(run)
    assert not queue.requeue_lost(run)


def test_run_whose_owner_was_only_late_is_left_to_it(principal: Principal) -> None:
    run, clock = create(principal), SetClock()
    workers.register("late", clock)
    claimed = claim(run, worker="late")
    clock.advance_leases(2)
    workers.register("sweeper", clock)
    assert workers.renew("late", clock)
    assert workers.bury("sweeper", clock) == []
    assert lost() == []
    assert finish(claimed, Ending(RunStatus.SUCCESS), None) is not None


def test_run_that_has_another_owner_by_now_is_left_to_it(principal: Principal) -> None:
    run = create(principal)
    queue.release(claim(run), counts=True, reason=LOST)
    run.refresh_from_db()
    run.lease_owner = "worker/x/1/random"
    claimed = claim(run)
    assert not queue.requeue_lost(run)
    assert queue.take_over(run, "sweeper") is None
    assert finish(claimed, Ending(RunStatus.SUCCESS), None) is not None


def test_attempt_that_had_not_begun_does_not_count(principal: Principal) -> None:
    run = create(principal)
    claim(run)
    run.refresh_from_db()
    assert queue.requeue_lost(run, begun=False)
    run.refresh_from_db()
    assert (run.status, run.lease_owner, run.worker, run.attempt) == ("pending", None, None, 0)
    assert not run.attempts.exists()


def test_run_that_was_cancelled_meanwhile_is_not_requeued(principal: Principal) -> None:
    run = create(principal)
    claim(run)
    run.refresh_from_db()
    Run.objects.filter(pk=run.pk).update(cancel_action="interrupt", status=RunStatus.INTERRUPTED)
    assert not queue.requeue_lost(run)
    run.refresh_from_db()
    assert run.status == "interrupted"


def test_exhausted_run_is_taken_over_to_be_ended(principal: Principal) -> None:
    run = create(principal)
    first = claim(run)
    run.refresh_from_db()
    taken = queue.take_over(run, "sweeper")
    assert taken is not None
    assert (taken.attempt, taken.run_id) == (1, run.run_id)
    assert queue.take_over(run, "another") is None
    assert finish(first, Ending(RunStatus.SUCCESS), None) is None
    assert finish(taken, Ending(RunStatus.ERROR), None) is not None


def test_an_ending_is_taken_over_by_one_of_those_who_hear_of_it(principal: Principal) -> None:
    run = create(principal)
    left = {"lease_owner": "web/x/1/end", "cancel_action": "interrupt", "status": RunStatus.INTERRUPTED}
    change(run, started_at=timezone.now(), worker="web", **left)
    heard = [queue.ending_run(run.run_id, "web/x/1/end") for _ in range(2)]
    assert [one is not None for one in heard] == [True, True]
    taken = [queue.take_over(one, worker) for one, worker in zip(heard, "ab", strict=True) if one]
    assert [claimed and claimed.lease_owner[0] for claimed in taken] == ["a", None]
    assert queue.ending_run(run.run_id, "web/x/1/end") is None


# --- giving back and fence -------------------------------------------------------------------------


def test_drain_does_not_count_as_an_attempt(principal: Principal) -> None:
    run = create(principal)
    assert queue.release(claim(run), counts=False, reason=DRAINED)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.lease_owner) == ("pending", 0, None)
    assert run.attempts.get().reason == "drained"
    again = claim(run)
    assert (again.attempt, again.is_recovery, again.was_begun) == (1, False, True)


def test_first_attempt_has_begun_nothing(principal: Principal) -> None:
    assert not claim(create(principal)).was_begun


def test_a_clock_that_went_back_does_not_hide_the_first_attempt(principal: Principal) -> None:
    run = create(principal)
    queue.release(claim(run), counts=False, reason=DRAINED)
    change(run, started_at=timezone.now() + timedelta(hours=1))
    assert claim(run).was_begun


def test_run_that_was_cancelled_meanwhile_is_not_given_back(principal: Principal) -> None:
    run = create(principal)
    claimed = claim(run)
    change(run, cancel_action="interrupt", status=RunStatus.INTERRUPTED)
    assert not queue.release(claimed, counts=False, reason=DRAINED)
    run.refresh_from_db()
    assert (run.status, run.lease_owner) == ("interrupted", claimed.lease_owner)


def test_late_finish_of_a_lost_attempt_writes_nothing(principal: Principal) -> None:
    run = create(principal)
    first = claim(run)
    run.refresh_from_db()
    queue.requeue_lost(run)
    second = claim(run)
    before = Run.objects.values().get(pk=run.pk)
    assert finish(first, Ending(RunStatus.ERROR, error={"error": "X", "message": "x"}), "worker") is None
    assert Run.objects.values().get(pk=run.pk) == before
    assert finish(second, Ending(RunStatus.SUCCESS), None) is not None


def test_lost_attempt_cannot_give_the_run_back(principal: Principal) -> None:
    run = create(principal)
    first = claim(run)
    run.refresh_from_db()
    queue.requeue_lost(run)
    claim(run)
    assert not queue.release(first, counts=False, reason=DRAINED)


def test_lost_attempt_cannot_save_its_baseline(principal: Principal) -> None:
    run = create(principal)
    first = claim(run)
    assert queue.save_baseline(first, {"writes": {}})
    queue.release(first, counts=True, reason=LOST)
    assert not queue.save_baseline(first, {"writes": {"x": "y"}})
    assert claim(run).baseline == {"writes": {}}
