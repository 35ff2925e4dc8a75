"""A graph that takes its process with it uses up its own attempts, not those of its neighbours."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults.victim import HUMAN, NODES, Victim

pytestmark = pytest.mark.fault


@dataclass
class Aftermath:
    victim: Victim
    poison: tuple[str, str]
    neighbours: list[tuple[str, str]]


@pytest.fixture(scope="module")
def aftermath(start_victim: Callable[..., Victim]) -> Aftermath:
    victim = start_victim(RECOVERY_PROBATION_SECONDS="10")
    neighbours = [victim.start("six", input=HUMAN | {"delay": 0.25})]
    poison = victim.start("poison", input={})
    neighbours += [victim.start("six", input=HUMAN | {"delay": 0.25}) for _ in range(2)]
    for _ in range(3):
        process = victim.server.process
        assert process is not None
        process.wait(60)
        victim.server.launch()
    victim.server.wait_ready()
    victim.until_over(*poison)
    for neighbour in neighbours:
        victim.until_over(*neighbour)
    return Aftermath(victim, poison, neighbours)


def test_poisonous_run_is_tried_three_times(aftermath: Aftermath) -> None:
    assert aftermath.victim.starts(aftermath.poison[0]) == ["poisoned"] * 3


def test_poisonous_run_ends_with_an_error_that_says_why(aftermath: Aftermath) -> None:
    assert aftermath.victim.status(*aftermath.poison) == "error"
    error = aftermath.victim.client.threads.get(aftermath.poison[0])["error"]
    assert "3 attempts" in error["message"]


def test_neighbours_succeed(aftermath: Aftermath) -> None:
    assert [aftermath.victim.status(*run) for run in aftermath.neighbours] == ["success"] * 3
    for thread, _ in aftermath.neighbours:
        assert aftermath.victim.values(thread)["done"] == NODES


def test_neighbours_lose_one_attempt_at_most_and_one_of_them_two(aftermath: Aftermath) -> None:
    """They were in flight at the first death. At the second the lane had room for one beside the poison, whose last
    attempt was alone."""
    attempts = [aftermath.victim.state(thread)["metadata"]["run_attempt"] for thread, _ in aftermath.neighbours]
    assert max(sorted(attempts)[:-1]) <= 2
    assert max(attempts) <= 3
