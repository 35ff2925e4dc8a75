"""SIGTERM: short work is finished, long work goes back to pending and on after the next start."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.victim import NODES, Victim

pytestmark = pytest.mark.fault


@dataclass
class Drained:
    victim: Victim
    exit_status: int
    short: tuple[str, str]
    long: tuple[str, str]
    queued: tuple[str, str]
    # What a reader of the long run's stream got.
    stream: list[Any]
    starts_before: list[str]


@pytest.fixture(scope="module")
def drained(start_victim: Callable[..., Victim]) -> Drained:
    # One attempt: if the drain counted as one, the long run would end with an error.
    victim = start_victim(DRAIN_SECONDS="2", MAX_ATTEMPTS="1")
    thread, run = victim.start("six", input={"delay": 0.8}, durability="sync", stream_mode="updates")
    queued = victim.start("six", thread, input={"delay": 0.01})
    stream: list[Any] = []

    def read() -> None:
        stream.extend(victim.client.runs.join_stream(thread, run))

    reader = threading.Thread(target=read)
    reader.start()
    victim.until_started(thread, "n2")
    short = victim.start("six", input={"delay": 0.1})
    victim.until_started(short[0], "n1")
    exit_status = victim.server.terminate()
    starts = victim.starts(thread)
    victim.server.start()
    reader.join(20)
    return Drained(victim, exit_status, short, (thread, run), queued, stream, starts)


def test_server_ends_in_order(drained: Drained) -> None:
    assert drained.exit_status == 0


def test_short_run_is_finished_before_the_end(drained: Drained) -> None:
    assert drained.victim.status(*drained.short) == "success"
    assert drained.victim.starts(drained.short[0]) == NODES


def test_long_run_goes_on_after_the_start(drained: Drained) -> None:
    assert drained.victim.until_over(*drained.long) == "success"
    assert drained.victim.values(drained.long[0])["done"][:6] == NODES


def test_long_run_repeats_only_the_node_in_flight(drained: Drained) -> None:
    drained.victim.until_over(*drained.queued)
    starts = drained.victim.starts(drained.long[0])
    again = starts[len(drained.starts_before) : -6]
    assert not set(again) & set(drained.starts_before[:-1])
    assert len(again) <= 6 - len(drained.starts_before) + 1


def test_drain_does_not_count_as_an_attempt(drained: Drained) -> None:
    drained.victim.until_over(*drained.long)
    history = drained.victim.client.threads.get_history(drained.long[0], limit=50)
    assert {state["metadata"]["run_attempt"] for state in history} == {1}


def test_queued_run_follows(drained: Drained) -> None:
    assert drained.victim.until_over(*drained.queued) == "success"
    assert drained.victim.values(drained.long[0])["done"] == NODES * 2


def test_open_stream_goes_on_with_the_next_worker_or_is_closed_with_a_reason(drained: Drained) -> None:
    if drained.victim.is_scaled:
        assert [list(part.data) for part in drained.stream if part.event == "updates"][-1] == ["n6"]
        return
    assert drained.stream[-1].event == "error"
    assert "shut" in drained.stream[-1].data["message"]
