"""A process that dies where a run has come to a breakpoint, a question or its end: no node runs that was to wait."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.victim import HUMAN, NODES, Victim
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.fault

# Where a run stops, what has run by then, and its durability: `tests.runs.engine.test_breakpoints` tries all of them.
STOPS: list[tuple[dict[str, Any], list[str], str]] = [
    ({"interrupt_before": ["n3"]}, NODES[:2], "sync"),
    ({"interrupt_after": ["n3"]}, NODES[:3], "async"),
    ({"interrupt_before": "*"}, [], "exit"),
    ({}, NODES, "async"),
]


def dies_at_its_stop(victim: Victim, graph: str, **body: Any) -> tuple[str, str]:
    """A run whose process died when it had stopped; it was taken up again."""
    thread, run = victim.start(graph, after_seconds=1, **body)
    victim.die_before_the_end([thread])
    victim.server.start()
    assert victim.until_over(thread, run) == "success"
    return thread, run


def stops_where_it_had_stopped(victim: Victim, stop: dict[str, Any], ran: list[str], durability: str) -> None:
    given = HUMAN | {"delay": 0.02}
    thread, _ = dies_at_its_stop(victim, "six", input=given, durability=durability, **stop)
    assert victim.starts(thread) == ran
    assert victim.state(thread)["next"] == NODES[len(ran) : len(ran) + 1]
    assert victim.client.threads.get(thread)["status"] == ("interrupted" if stop else "idle")
    if stop:
        victim.client.runs.wait(thread, "six", durability=durability)
        assert victim.starts(thread) == NODES


@pytest.mark.parametrize(("stop", "ran", "durability"), STOPS)
def test_stops_where_it_had_stopped(victim: Victim, stop: dict[str, Any], ran: list[str], durability: str) -> None:
    stops_where_it_had_stopped(victim, stop, ran, durability)


@pytest.mark.postgres
def test_stops_where_it_had_stopped_in_one_process_on_postgres(
    start_victim: Callable[..., Victim],
    postgres_url: str,  # noqa: F811
) -> None:
    victim = start_victim(DATABASE_URL=postgres_url)
    for stop, ran, durability in STOPS:
        stops_where_it_had_stopped(victim, stop, ran, durability)


def test_run_that_was_let_go_on_stops_at_the_next_breakpoint(victim: Victim) -> None:
    thread = victim.client.threads.create()["thread_id"]
    stops: dict[str, Any] = {"interrupt_before": ["n2", "n4"]}
    victim.client.runs.wait(thread, "six", input=HUMAN | {"delay": 0.02}, **stops)
    assert victim.starts(thread) == NODES[:1]
    _, run = victim.start("six", thread, after_seconds=1, **stops)
    victim.die_before_the_end([thread])
    victim.server.start()
    assert victim.until_over(thread, run) == "success"
    assert (victim.starts(thread), victim.state(thread)["next"]) == (NODES[:3], ["n4"])


@pytest.mark.parametrize(("graph", "node"), [("two_nodes", "first"), ("one_node", "both")])
def test_question_waits_and_its_node_is_not_run_again(victim: Victim, graph: str, node: str) -> None:
    thread, _ = dies_at_its_stop(victim, graph, input={})
    assert victim.starts(thread) == [node]
    assert victim.questions(thread) == ["first?"]
