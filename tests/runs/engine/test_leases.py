"""Leases: how they are renewed, run out and are taken back, and whose writes count."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from platform_site.access.principal import Principal
from runs.engine import queue
from runs.engine.finish import Ending, finish
from runs.models import Run, RunAttempt, RunStatus
from tests.runs.conftest import change, claim, create

DRAINED, LOST = RunAttempt.Reason.DRAINED, RunAttempt.Reason.LOST


def test_renewed_lease_lasts_longer(principal: Principal) -> None:
    run = create(principal)
    claimed = claim(run)
    before = change(run, lease_expires_at=timezone.now()).lease_expires_at
    assert queue.renew([claimed.lease_owner]) == {run.run_id: None}
    run.refresh_from_db()
    assert run.lease_expires_at > before  # type: ignore[operator]


def test_heartbeat_learns_of_cancels(principal: Principal) -> None:
    run = create(principal)
    claimed = claim(run)
    change(run, cancel_action="rollback")
    assert queue.renew([claimed.lease_owner]) == {run.run_id: "rollback"}


def test_heartbeat_learns_of_lost_leases(principal: Principal) -> None:
    claimed = claim(create(principal))
    queue.release(claimed, counts=True, reason=LOST)
    assert queue.renew([claimed.lease_owner]) == {}


def test_heartbeat_without_runs_asks_nobody(django_assert_num_queries: Any, principal: Principal) -> None:
    with django_assert_num_queries(0):
        assert queue.renew([]) == {}


def expire(run: Run) -> Run:
    return change(run, lease_expires_at=timezone.now() - timedelta(seconds=1))


def expired(**options: Any) -> list[UUID]:
    given: dict[str, Any] = {"alive": set(), "everything": False, "worker": "me"} | options
    return [run.run_id for run in queue.expired_runs(**given)]


def test_lease_that_ran_out_is_found(principal: Principal) -> None:
    run, other = create(principal), create(principal)
    claim(run)
    claim(other)
    expire(run)
    assert expired() == [run.run_id]


def test_attempt_that_lives_is_not_lost_though_its_lease_ran_out(principal: Principal) -> None:
    run = create(principal)
    claimed = claim(run)
    expire(run)
    assert expired(alive={claimed.lease_owner}) == []


def test_at_the_start_every_lease_of_others_has_ended(principal: Principal) -> None:
    run = create(principal)
    claim(run, worker="died")
    assert expired(everything=True) == [run.run_id]


def test_at_the_start_what_this_worker_has_claimed_meanwhile_is_alive(principal: Principal) -> None:
    claim(create(principal), worker="me")
    assert expired(everything=True) == []


def test_lost_run_is_pending_again_and_the_attempt_is_kept(principal: Principal) -> None:
    run = create(principal)
    claim(run, worker="died")
    run.refresh_from_db()
    assert queue.requeue_lost(run)
    run.refresh_from_db()
    assert (run.status, run.lease_owner, run.attempt) == ("pending", None, 1)
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


def test_run_whose_owner_renewed_its_lease_meanwhile_is_left_to_it(principal: Principal) -> None:
    run = create(principal)
    claimed = claim(run)
    change(run, lease_expires_at=timezone.now() - timedelta(seconds=1))
    queue.renew([claimed.lease_owner])
    assert not queue.requeue_lost(run)
    assert queue.take_over(run, "sweeper") is None
    assert finish(claimed, Ending(RunStatus.SUCCESS), None).written


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
    assert not finish(first, Ending(RunStatus.SUCCESS), None).written
    assert finish(taken, Ending(RunStatus.ERROR), None).written


def test_an_ending_is_taken_over_by_one_of_those_who_hear_of_it(principal: Principal) -> None:
    run = create(principal)
    left = {"lease_owner": "web/x/1/end", "cancel_action": "interrupt", "status": RunStatus.INTERRUPTED}
    change(run, started_at=timezone.now(), lease_expires_at=timezone.now(), **left)
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
    assert not finish(first, Ending(RunStatus.ERROR, error={"error": "X", "message": "x"}), "worker").written
    assert Run.objects.values().get(pk=run.pk) == before
    assert finish(second, Ending(RunStatus.SUCCESS), None).written


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
