"""SIGKILL while six nodes run one after the other: what runs again, by durability."""

import itertools
from typing import Literal

import pytest

from tests.faults.victim import HUMAN, MOMENTS, NODES, Run, Victim, kill_among, seed_of

pytestmark = pytest.mark.fault

# Runs that are in flight at one kill, each at another node.
AT_ONCE = 4


def killed(victim: Victim, durability: str, seed: int | Literal["end"]) -> list[Run]:
    def start() -> tuple[str, str]:
        return victim.start("six", input=HUMAN, durability=durability)

    return kill_among(victim, [start] * AT_ONCE, 0.35, seed)


@pytest.fixture(scope="module", params=MOMENTS)
def sync_runs(request: pytest.FixtureRequest, victim: Victim) -> list[Run]:
    return killed(victim, "sync", request.param)


@pytest.fixture(scope="module", params=MOMENTS)
def async_runs(request: pytest.FixtureRequest, victim: Victim) -> list[Run]:
    return killed(victim, "async", seed_of(request.param, 1000))


@pytest.fixture(scope="module", params=MOMENTS)
def exit_runs(request: pytest.FixtureRequest, victim: Victim) -> list[Run]:
    return killed(victim, "exit", seed_of(request.param, 2000))


def after(victim: Victim, run: Run) -> list[str]:
    """The starts after the kill."""
    return victim.starts(run.thread)[len(run.before) :]


def test_with_sync_every_run_succeeds(victim: Victim, sync_runs: list[Run]) -> None:
    assert [victim.status(run.thread, run.run) for run in sync_runs] == ["success"] * AT_ONCE


def test_with_sync_finished_nodes_never_run_again(victim: Victim, sync_runs: list[Run]) -> None:
    for run in sync_runs:
        # A node was finished when the next one started: only the last one before the kill may come again.
        assert not set(after(victim, run)) & set(run.before[:-1])


def test_with_sync_the_node_in_flight_runs_at_most_once_more(victim: Victim, sync_runs: list[Run]) -> None:
    for run in sync_runs:
        starts = victim.starts(run.thread)
        assert [node for node, _ in itertools.groupby(starts)] == NODES
        assert len(starts) <= len(NODES) + 1


def test_with_sync_every_node_counts_once(victim: Victim, sync_runs: list[Run]) -> None:
    for run in sync_runs:
        assert victim.values(run.thread)["done"] == NODES


def test_with_sync_the_human_message_is_there_once(victim: Victim, sync_runs: list[Run]) -> None:
    for run in sync_runs:
        messages = victim.values(run.thread)["messages"]
        assert [(message["type"], message["content"]) for message in messages] == [("human", "hello")]


def test_with_async_only_the_last_steps_may_run_again(victim: Victim, async_runs: list[Run]) -> None:
    """What was not committed yet repeats: it begins at some node that had started and goes on to the end."""
    for run in async_runs:
        again = after(victim, run)
        assert again == NODES[len(NODES) - len(again) :]
        assert len(again) >= len(NODES) - len(run.before)


def test_with_async_the_steps_before_the_last_two_are_committed(victim: Victim, async_runs: list[Run]) -> None:
    """A step is written while the next one runs: with nodes of 50 ms two steps are in the air at most."""
    for run in async_runs:
        assert not set(after(victim, run)) & set(run.before[:-3])


def test_with_async_every_node_and_the_message_count_once(victim: Victim, async_runs: list[Run]) -> None:
    for run in async_runs:
        values = victim.values(run.thread)
        assert (values["done"], len(values["messages"])) == (NODES, 1)


def test_with_exit_the_whole_run_repeats(victim: Victim, exit_runs: list[Run]) -> None:
    for run in exit_runs:
        assert after(victim, run) in (NODES, [])


def test_with_exit_every_node_and_the_message_count_once(victim: Victim, exit_runs: list[Run]) -> None:
    for run in exit_runs:
        values = victim.values(run.thread)
        assert (values["done"], len(values["messages"])) == (NODES, 1)


def test_run_that_is_killed_twice_still_counts_every_node_once(victim: Victim) -> None:
    thread, run = victim.start("six", input=HUMAN | {"delay": 0.1}, durability="sync")
    victim.until_started(thread, "n2")
    victim.server.restart()
    victim.until_started(thread, "n4")
    victim.server.restart()
    assert victim.until_over(thread, run) == "success"
    assert victim.values(thread)["done"] == NODES
    assert len(victim.starts(thread)) <= len(NODES) + 2


def test_accepted_runs_are_not_forgotten(victim: Victim) -> None:
    """The answer was sent: the run reaches its end, though the server died in the same instant."""
    accepted = [victim.start("six", input={"delay": 0.001}) for _ in range(8)]
    victim.server.restart()
    assert [victim.until_over(thread, run) for thread, run in accepted] == ["success"] * 8


def test_queued_runs_keep_their_order(victim: Victim) -> None:
    thread = victim.client.threads.create()["thread_id"]
    runs = [victim.start("six", thread, input={"delay": 0.02, "notes": [str(number)]}) for number in range(4)]
    victim.until_started(thread, "n3")
    victim.server.restart()
    victim.until_over(*runs[-1])
    assert victim.values(thread)["notes"] == ["0", "1", "2", "3"]


def test_deleted_thread_stays_deleted(victim: Victim) -> None:
    thread, run = victim.start("six", input=HUMAN | {"delay": 0.001})
    victim.until_over(thread, run)
    victim.client.threads.delete(thread)
    victim.server.restart()
    victim.client.threads.create(thread_id=thread, graph_id="six")
    assert victim.client.threads.get_history(thread) == []
