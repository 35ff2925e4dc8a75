"""Slots that runs lend while they wait for other runs."""

from concurrent.futures import Future
from typing import Any

import pytest

from platform_site.core.errors import TooManyRequests
from runs.engine.lent_slots import LEAST, Lending, LentSlot
from runs.engine.node_threads import NodeThreads, Work, current_work


def test_slot_is_lent_while_its_run_waits() -> None:
    lending = Lending()
    with LentSlot(lending, Work()).waiting():
        assert lending.lent == 1
    assert lending.lent == 0


def test_run_that_waits_twice_lends_one_slot() -> None:
    lending = Lending()
    slot = LentSlot(lending, Work())
    with slot.waiting():
        with slot.waiting():
            assert lending.lent == 1
        assert lending.lent == 1
    assert lending.lent == 0


def test_others_are_told_of_a_slot_once_it_is_lent() -> None:
    told: list[int] = []
    lending = Lending(lambda: told.append(lending.lent))
    slot = LentSlot(lending, Work())
    with slot.waiting(), slot.waiting():
        pass
    assert told == [1]


def test_slot_is_no_longer_lent_when_its_run_is_over() -> None:
    lending = Lending()
    slot = LentSlot(lending, Work())
    with slot.waiting():
        slot.end()
        assert lending.lent == 0
        with slot.waiting():
            assert lending.lent == 0
    assert lending.lent == 0


@pytest.mark.parametrize(("concurrency", "most"), [(1, LEAST), (LEAST + 1, LEAST + 1)])
def test_runs_beyond_the_bound_are_refused_and_leave_nothing_behind(settings: Any, concurrency: int, most: int) -> None:
    settings.CONCURRENCY = concurrency
    lending = Lending()
    for _ in range(most):
        lending.lend()
    refused = LentSlot(lending, Work())
    with pytest.raises(TooManyRequests, match="start itself without end"), refused.waiting():
        pytest.fail("it waited")
    assert lending.lent == most
    lending.take_back()
    with refused.waiting():
        assert lending.lent == most


def test_thread_of_a_synchronous_node_that_waits_is_lent_as_well() -> None:
    work, pool = Work(), NodeThreads(1)
    slot = LentSlot(Lending(), work)
    answer: Future[str] = Future()

    def node() -> str:
        with slot.waiting():
            return answer.result()

    token = current_work.set(work)
    parent = pool.submit(node)
    current_work.reset(token)
    # The only thread of the pool is held by the node that waits for it.
    child = pool.submit(answer.set_result, "answered")
    child.result()
    assert parent.result() == "answered"
    pool.shutdown()


def test_run_without_a_synchronous_node_lends_no_thread() -> None:
    pool = NodeThreads(1)
    with LentSlot(Lending(), Work()).waiting():
        assert pool._max_workers == 1
    pool.shutdown()
