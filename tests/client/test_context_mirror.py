"""A run's `context` stands for its `configurable`, too: of a graph with a context schema only the keys of the schema.

`defaults` and `chosen`, which a factory makes, have the schema `tone`; `unnamed` has none.
"""

from typing import Any

import httpx
import pytest

from tests.client.thread_calls import ThreadCalls

GIVEN = {"tone": "warm", "other": 1}


@pytest.fixture
def thread(states: httpx.Client) -> ThreadCalls:
    return ThreadCalls(states)


def seen(thread: ThreadCalls, graph: str, **fields: Any) -> dict[str, Any]:
    """What the node of the graph was given."""
    answer: dict[str, Any] = thread.wait(graph, input={"by_node": {}}, **fields)
    return answer


@pytest.mark.parametrize("graph", ["defaults", "chosen"])
def test_keys_that_the_schema_does_not_know_are_not_mirrored(thread: ThreadCalls, graph: str) -> None:
    assert seen(thread, graph, context=GIVEN)["by_node"] == {"tone": "warm"}


@pytest.mark.parametrize("graph", ["defaults", "chosen"])
def test_what_was_given_as_configurable_stays(thread: ThreadCalls, graph: str) -> None:
    assert seen(thread, graph, config={"configurable": GIVEN})["by_node"] == GIVEN


def test_a_factory_may_read_every_key(thread: ThreadCalls) -> None:
    assert seen(thread, "chosen", context=GIVEN)["by_factory"] == GIVEN


@pytest.mark.parametrize("field", ["config", "context"])
def test_what_the_assistant_has_stays(states: httpx.Client, thread: ThreadCalls, field: str) -> None:
    given = {"config": {"configurable": GIVEN}} if field == "config" else {"context": GIVEN}
    assistant = states.post("/assistants", json={"graph_id": "defaults", **given}).json()
    assert (assistant["config"], assistant["context"]) == ({"configurable": GIVEN}, GIVEN)
    assert seen(thread, assistant["assistant_id"])["by_node"] == GIVEN
    assert seen(thread, assistant["assistant_id"], context={"other": 2, "node": "x"})["by_node"] == {
        "tone": "warm",
        "other": 2,
    }


def test_a_context_without_a_schema_is_mirrored(thread: ThreadCalls) -> None:
    run = thread.post("runs", assistant_id="unnamed", input={"log": []}, context=GIVEN).json()
    assert {key: run["kwargs"]["config"]["configurable"].get(key) for key in GIVEN} == GIVEN
