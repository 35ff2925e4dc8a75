"""The recovery lane: how fast runs come back after a crash, and whom a poisonous one takes with it."""

import asyncio
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from runs.engine import queue, workers
from runs.engine.claim import Claim
from runs.engine.endings import Ending
from runs.engine.engine import Engine
from runs.engine.finish import finish
from runs.engine.recovery import WIDEST, RecoveryLane
from runs.models import Run, RunAttempt, RunStatus
from tests.runs.clock import SetClock
from tests.runs.conftest import Gate, change, create, ended, eventually, use_engine
from tests.runs.graphs import script


def crashed(principal: Principal, count: int) -> list[Run]:
    """Runs whose process died in their first attempt."""
    runs = [create(principal) for _ in range(count)]
    Run.objects.update(attempt=1, started_at=timezone.now())
    return runs


def begin(lane: RecoveryLane) -> list[Claim]:
    """What a dispatcher takes up now."""
    claims: list[Claim] = []
    while found := queue.claim_next("worker", limit=100, recoveries=lane.room, alone=lane.is_empty):
        for claim in found:
            lane.enter(claim)
        claims += found
    return claims


def survive(lane: RecoveryLane, claims: list[Claim]) -> None:
    """All of them live through their probation, and end."""
    for claim in claims:
        lane.leave(claim)
        assert finish(claim, Ending(RunStatus.SUCCESS), None) is not None


def crash(claims: list[Claim]) -> None:
    """Their process dies, and the next one sweeps."""
    for run in Run.objects.filter(sequence__in=[claim.sequence for claim in claims]):
        if run.attempt < 3:
            assert queue.requeue_lost(run)
        else:
            taken = queue.take_over(run, "sweeper")
            assert taken is not None
            assert finish(taken, Ending(RunStatus.ERROR), None) is not None


def test_the_lane_doubles_with_each_probation(principal: Principal) -> None:
    crashed(principal, 80)
    lane, widths = RecoveryLane(), []
    while claims := begin(lane):
        widths.append(len(claims))
        survive(lane, claims)
    assert widths == [1, 2, 4, 8, 16, WIDEST, 17]


def test_five_hundred_runs_are_back_after_twenty_probations() -> None:
    left = [cast(Claim, SimpleNamespace(lease_owner=str(number), attempt=2)) for number in range(500)]
    lane, probations = RecoveryLane(), 0
    while left:
        inside, left = left[: lane.room], left[lane.room :]
        for claim in inside:
            lane.enter(claim)
        assert lane.room == 0 or not left
        for claim in inside:
            lane.leave(claim)
        probations += 1
    assert probations <= 20


def test_a_crash_elsewhere_narrows_the_lane_to_one(principal: Principal) -> None:
    crashed(principal, 8)
    lane = RecoveryLane()
    survive(lane, begin(lane))
    survive(lane, begin(lane))
    lane.narrow()
    assert len(begin(lane)) == 1
    assert lane.room == 0


@pytest.mark.parametrize("attempt", [1, 2, 3])
async def test_whatever_run_another_process_lost_narrows_the_lane(principal: Principal, attempt: int) -> None:
    lane = RecoveryLane()
    lane.width = 8
    run = await in_db(create, principal)
    clock = SetClock()
    await in_db(workers.register, "another", clock)
    assert await in_db(queue.claim_next, "another", limit=1)
    await in_db(change, run, attempt=attempt)
    clock.advance_leases(1.1)
    engine = Engine(lane=lane, clock=clock)
    await in_db(workers.register, engine.worker, clock)
    await engine.take_back(everything=False)
    assert lane.width == 1


@pytest.mark.parametrize("place", [0, 1, 5, 20, 39])
def test_a_poisonous_run_uses_up_its_own_attempts_and_not_its_neighbours(principal: Principal, place: int) -> None:
    runs = crashed(principal, 40)
    poison = runs[place].pk
    lane, crashes = RecoveryLane(), 0
    while claims := begin(lane):
        if poison in [claim.sequence for claim in claims]:
            crash(claims)
            # The next process knows nothing of this one.
            lane, crashes = RecoveryLane(), crashes + 1
        else:
            survive(lane, claims)

    assert crashes == 2
    assert dict(Run.objects.values_list("pk", "status")) == {
        run.pk: "error" if run.pk == poison else "success" for run in runs
    }
    # No neighbour began an attempt that was its last beside the poison.
    lost = Counter(RunAttempt.objects.filter(reason="lost").exclude(run=poison).values_list("run", flat=True))
    assert not lost or max(lost.values()) == 1


def test_a_run_on_its_last_attempt_keeps_the_lane_to_itself(principal: Principal) -> None:
    crashed(principal, 12)
    Run.objects.filter(pk__in=list(Run.objects.order_by("pk").values_list("pk", flat=True)[3:5])).update(attempt=2)
    lane, together = RecoveryLane(), []
    while claims := begin(lane):
        together.append([claim.attempt for claim in claims])
        survive(lane, claims)
    assert together == [[2], [2, 2], [3], [3], [2] * 6, [2]]


def test_runs_that_live_let_more_begin_beside_them(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    probations: list[asyncio.Future[None]] = []

    async def probation() -> None:
        probations.append(asyncio.get_running_loop().create_future())
        await probations[-1]

    engine = use_engine(monkeypatch, Engine(lane=RecoveryLane(probation)))

    def end_probations() -> None:
        for future in probations:
            if not future.done():
                future.set_result(None)

    with script("pause", gate.pause):
        runs = [create(principal, "scripted", input={"do": "pause"}) for _ in range(7)]
        Run.objects.update(attempt=1, started_at=timezone.now())
        engine.start()
        try:
            for begun in (1, 3, 7):
                eventually(partial(has, probations, begun))
                assert engine.active == begun
                engine._loop.loop.call_soon_threadsafe(end_probations)
            gate.open.set()
            assert [ended(run).status for run in runs] == ["success"] * 7
        finally:
            gate.open.set()
            engine.drain(5)


def has(found: list[asyncio.Future[None]], count: int) -> bool:
    return len(found) == count
