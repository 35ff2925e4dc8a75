"""Runs that take too long, and loops that are blocked longer than a lease lasts."""

import time
from collections.abc import Callable

import httpx
import pytest

from tests.faults.victim import Victim

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def hurried(start_victim: Callable[..., Victim]) -> Victim:
    """A server whose runs may take one second."""
    return start_victim(RUN_TIME_LIMIT_SECONDS="1")


@pytest.mark.parametrize("graph", ["six", "synchronous"])
def test_run_that_takes_too_long_ends_with_timeout(hurried: Victim, graph: str) -> None:
    thread, run = hurried.start(graph, input={"delay": 3})
    assert hurried.until_over(thread, run) == "timeout"


def test_thread_of_a_run_that_timed_out_goes_on(hurried: Victim) -> None:
    thread, run = hurried.start("six", input={"delay": 3})
    hurried.until_over(thread, run)
    assert hurried.client.threads.get(thread)["status"] == "error"
    values = hurried.client.runs.wait(thread, "six", input={"delay": 0.001})
    assert values["done"][-1] == "n6"


@pytest.fixture(scope="module")
def blocked(victim: Victim) -> tuple[str, str]:
    """A run that blocked its loop for more than the two seconds of a lease."""
    thread, run = victim.start("blocking", input={"delay": 3.5})
    victim.until_started(thread, "blocks")
    return thread, run


def test_server_answers_while_a_node_blocks_its_loop(victim: Victim, blocked: tuple[str, str]) -> None:
    begin = time.monotonic()
    thread, run = victim.start("blocking", input={"delay": 3})
    victim.until_started(thread, "blocks")
    assert httpx.get(f"{victim.server.url}/ok").status_code == 200
    assert victim.client.threads.get_state(thread)["next"] in ([], ["blocks"])
    assert victim.status(thread, run) == "running"
    assert time.monotonic() - begin < 3 + 3.5


def test_blocked_run_is_not_taken_twice(victim: Victim, blocked: tuple[str, str]) -> None:
    assert victim.until_over(*blocked) == "success"
    assert victim.starts(blocked[0]) == ["blocks"]
    assert victim.state(blocked[0])["metadata"]["run_attempt"] == 1
