"""POST state as `__end__`, `__copy__` and `__input__`: names of LangGraph's own, as the reference takes them.

`asks` runs first -> ask -> last; `ask` waits for an answer.
"""

from typing import Any

import httpx
import pytest

from tests.client.thread_calls import ThreadCalls


@pytest.fixture
def thread(states: httpx.Client) -> ThreadCalls:
    """A thread that waits for an answer."""
    thread = ThreadCalls(states)
    assert "__interrupt__" in thread.wait("asks", input={"log": ["in"]})
    return thread


def head(thread: ThreadCalls) -> tuple[Any, ...]:
    """Values, next and source of the state; status and questions of the thread."""
    state, row = thread.state(), thread.row()
    assert row["values"] == state["values"]
    return state["values"]["log"], state["next"], state["metadata"]["source"], row["status"], row["interrupts"]


@pytest.mark.parametrize("values", [{}, {"values": None}], ids=["absent", "null"])
def test_end_dismisses_the_question(thread: ThreadCalls, values: dict[str, Any]) -> None:
    assert thread.update(as_node="__end__", **values).status_code == 200
    assert head(thread) == (["in", "first"], [], "update", "idle", {})
    assert thread.state()["tasks"] == []


def test_nothing_is_left_to_run_after_end(thread: ThreadCalls) -> None:
    thread.update(as_node="__end__")
    assert thread.wait("asks", input=None) == {"log": ["in", "first"]}
    assert "__interrupt__" in thread.wait("asks", input={"log": ["again"]})


def test_a_dismissed_thread_is_found_as_idle(thread: ThreadCalls, states: httpx.Client) -> None:
    def found(status: str) -> int:
        return len(states.post("/threads/search", json={"status": status, "ids": [thread.id]}).json())

    assert (found("interrupted"), found("idle")) == (1, 0)
    thread.update(as_node="__end__")
    assert (found("interrupted"), found("idle")) == (0, 1)


def test_end_takes_no_values(thread: ThreadCalls) -> None:
    answer = thread.update(as_node="__end__", values={"log": ["x"]})
    assert (answer.status_code, answer.json()["detail"]) == (400, "Node __end__ does not exist")
    assert head(thread)[3] == "interrupted"


def test_end_at_an_earlier_checkpoint_keeps_what_its_tasks_have_done(thread: ThreadCalls) -> None:
    place = thread.history()[1]["checkpoint"]
    assert thread.update(as_node="__end__", checkpoint=place).status_code == 200
    assert head(thread) == (["in", "first"], ["ask"], "update", "interrupted", {})


def test_copy_forks_the_checkpoint(thread: ThreadCalls) -> None:
    before = thread.history()
    answer = thread.update(as_node="__copy__", values=None, checkpoint=before[1]["checkpoint"])
    assert answer.status_code == 200
    assert head(thread) == (["in"], ["first"], "fork", "interrupted", {})
    made = thread.state()
    assert made["checkpoint_id"] == answer.json()["checkpoint_id"] not in {state["checkpoint_id"] for state in before}
    assert made["parent_checkpoint_id"] == before[1]["parent_checkpoint_id"]
    assert len(thread.history()) == len(before) + 1


def test_a_run_goes_on_from_a_copy(thread: ThreadCalls) -> None:
    thread.update(as_node="__copy__", checkpoint=thread.history()[1]["checkpoint"])
    assert thread.wait("asks", input=None)["log"] == ["in", "first"]
    assert thread.wait("asks", command={"resume": "yes"})["log"] == ["in", "first", "answered yes", "last"]


def test_copy_of_the_head(thread: ThreadCalls) -> None:
    assert thread.update(as_node="__copy__").status_code == 200
    assert head(thread) == (["in", "first"], ["ask"], "fork", "interrupted", {})


def test_copy_of_the_first_checkpoint(thread: ThreadCalls) -> None:
    first = thread.history()[-1]
    assert thread.update(as_node="__copy__", checkpoint_id=first["checkpoint_id"]).status_code == 200
    assert head(thread) == ([], ["__start__"], "fork", "interrupted", {})
    assert thread.state()["parent_checkpoint_id"] is None


def test_copy_and_update_in_one(thread: ThreadCalls) -> None:
    place = thread.history()[1]["checkpoint"]
    values = [[{"log": ["instead"]}, "first"]]
    assert thread.update(as_node="__copy__", values=values, checkpoint=place).status_code == 200
    assert head(thread) == (["in", "instead"], ["ask"], "update", "interrupted", {})
    assert thread.history()[1]["metadata"]["source"] == "fork"


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (
            {"as_node": "__copy__", "checkpoint_id": "1f1ecc5d-1fa7-6a4d-8002-aee7a3a01942"},
            "Cannot copy a non-existent",
        ),
        ({"as_node": "__input__"}, "Received no input writes"),
        ({"as_node": "__copy__", "values": [5]}, "Invalid update item"),
        ({"as_node": "__copy__", "values": [[{"log": []}, "nobody"]]}, "Node nobody does not exist"),
    ],
)
def test_what_cannot_be_done_changes_nothing(thread: ThreadCalls, fields: dict[str, Any], detail: str) -> None:
    before = thread.history()
    answer = thread.update(**fields)
    assert (answer.status_code, detail in answer.json()["detail"]) == (400, True), answer.text
    assert thread.history() == before
    assert head(thread)[3] == "interrupted"


def test_input_begins_anew_beside_what_waits(thread: ThreadCalls) -> None:
    assert thread.update(as_node="__input__", values={"log": ["more"]}).status_code == 200
    assert head(thread) == (["in", "first"], ["__start__", "ask"], "input", "interrupted", {})


def test_input_of_an_empty_thread_is_taken_by_the_next_run(states: httpx.Client) -> None:
    thread = ThreadCalls(states, metadata={"graph_id": "asks"})
    assert thread.update(as_node="__input__", values={"log": ["in"]}).status_code == 200
    assert head(thread) == ([], ["__start__"], "input", "interrupted", {})
    assert thread.wait("asks", input=None)["log"] == ["in", "first"]


def test_an_empty_thread_has_nothing_to_copy_and_may_be_ended(states: httpx.Client) -> None:
    thread = ThreadCalls(states, metadata={"graph_id": "asks"})
    assert thread.update(as_node="__copy__").status_code == 400
    assert thread.row()["values"] is None
    assert thread.update(as_node="__end__").status_code == 200
    assert head(thread) == ([], [], "update", "idle", {})


def test_a_subgraph_is_updated_as_its_own_node(states: httpx.Client) -> None:
    thread = ThreadCalls(states)
    thread.wait("parent", input={"log": ["in"]})
    place = thread.state()["tasks"][0]["checkpoint"]
    answer = thread.update(as_node="ask", values={"log": ["by hand"]}, checkpoint=place)
    assert answer.status_code == 200, answer.text
    assert thread.wait("parent", input=None)["log"][-2:] == ["by hand", "last"]


def test_supersteps_may_copy_and_end(states: httpx.Client) -> None:
    updates: list[dict[str, Any]] = [
        {"values": {"log": ["in"]}, "as_node": "__start__"},
        {"as_node": "__copy__"},
        {"as_node": "__end__"},
    ]
    made = states.post(
        "/threads", json={"metadata": {"graph_id": "asks"}, "supersteps": [{"updates": [update]} for update in updates]}
    )
    assert made.status_code == 200, made.text
    thread = ThreadCalls(states, made.json()["thread_id"])
    assert head(thread) == (["in"], [], "update", "idle", {})
