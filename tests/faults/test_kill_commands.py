"""SIGKILL after a resume, an update and a fork: each of them applies once."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults.victim import HUMAN, MOMENTS, NODES, Run, Victim, kill_among, seed_of

pytestmark = pytest.mark.fault

# The last run is started so long before the kill at most; each takes about as long.
WINDOW = 0.25


@dataclass
class Killed:
    """What was in flight at one kill, by what had been asked for."""

    answered: dict[str, list[Run]]
    updated: list[Run]
    sent: list[Run]
    forked: list[Run]
    forked_with_input: list[Run]


def asked(victim: Victim, graph: str) -> str:
    """A thread that waits for its first answer."""
    thread = victim.client.threads.create()["thread_id"]
    victim.client.runs.wait(thread, graph, input={}, durability="sync")
    return str(thread)


def finished(victim: Victim) -> tuple[str, str]:
    """A thread on which six nodes ran, and the checkpoint after the second."""
    thread = victim.client.threads.create()["thread_id"]
    victim.client.runs.wait(thread, "six", input=HUMAN | {"delay": 0.04}, durability="sync")
    history = victim.client.threads.get_history(thread)
    return thread, next(state["checkpoint"]["checkpoint_id"] for state in history if state["next"] == ["n3"])


@pytest.fixture(scope="module", params=MOMENTS)
def killed(request: pytest.FixtureRequest, victim: Victim) -> Killed:
    def on(thread: str, graph: str, **body: object) -> Callable[[], tuple[str, str]]:
        return lambda: victim.start(graph, thread, durability="sync", **body)

    starters = []
    for graph in ("two_nodes", "one_node"):
        starters += [on(asked(victim, graph), graph, command={"resume": "one"}) for _ in range(3)]
    both = {"resume": "one", "update": {"notes": ["updated"]}}
    starters += [on(asked(victim, "two_nodes"), "two_nodes", command=both) for _ in range(2)]
    goto = {"goto": "n5", "update": {"notes": ["sent"], "delay": 0.12}}
    starters += [on(finished(victim)[0], "six", command=goto) for _ in range(2)]
    for body in ({}, {"input": {"notes": ["forked"], "delay": 0.06}}):
        for _ in range(2):
            thread, checkpoint = finished(victim)
            starters.append(on(thread, "six", checkpoint_id=checkpoint, **body))
    runs = kill_among(victim, starters, WINDOW, seed_of(request.param, 3000))
    return Killed({"two_nodes": runs[:3], "one_node": runs[3:6]}, runs[6:8], runs[8:10], runs[10:12], runs[12:14])


@pytest.mark.parametrize("graph", ["two_nodes", "one_node"])
def test_second_question_still_waits(victim: Victim, killed: Killed, graph: str) -> None:
    for run in killed.answered[graph]:
        assert victim.questions(run.thread) == ["second?"]
        assert victim.client.threads.get(run.thread)["status"] == "interrupted"


def test_first_question_is_answered_once(victim: Victim, killed: Killed) -> None:
    for run in killed.answered["two_nodes"]:
        assert victim.values(run.thread)["answers"] == ["one"]


@pytest.mark.parametrize("graph", ["two_nodes", "one_node"])
def test_second_answer_goes_to_the_second_question(victim: Victim, killed: Killed, graph: str) -> None:
    for run in killed.answered[graph]:
        if victim.questions(run.thread):
            victim.client.runs.wait(run.thread, graph, command={"resume": "two"})
        assert victim.values(run.thread)["answers"] == ["one", "two"]


def test_update_with_an_answer_is_applied_once(victim: Victim, killed: Killed) -> None:
    for run in killed.updated:
        assert victim.values(run.thread)["notes"].count("updated") == 1
        assert victim.questions(run.thread) == ["second?"]


def test_update_with_a_goto_is_applied_once(victim: Victim, killed: Killed) -> None:
    for run in killed.sent:
        assert victim.values(run.thread)["notes"] == ["sent"]


def test_goto_runs_its_node_and_what_follows_once(victim: Victim, killed: Killed) -> None:
    for run in killed.sent:
        assert victim.values(run.thread)["done"] == [*NODES, "n5", "n6"]


def test_fork_runs_from_its_checkpoint_once(victim: Victim, killed: Killed) -> None:
    for run in killed.forked:
        assert victim.values(run.thread)["done"] == NODES
        forked = victim.starts(run.thread)[len(NODES) :]
        assert [node for node, _ in itertools.groupby(forked)] == NODES[2:]
        assert len(forked) <= len(NODES[2:]) + 1


def test_fork_with_input_starts_there_once(victim: Victim, killed: Killed) -> None:
    for run in killed.forked_with_input:
        values = victim.values(run.thread)
        assert values["notes"] == ["forked"]
        assert values["done"] == ["n1", "n2", *NODES]
        assert len(values["messages"]) == 1
