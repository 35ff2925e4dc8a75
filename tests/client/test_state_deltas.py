"""Changes by hand of a state that is stored as what was written (delta channels), and that its graph validates."""

import httpx
import pytest

from tests.client.thread_calls import ThreadCalls


@pytest.fixture
def thread(states: httpx.Client) -> ThreadCalls:
    thread = ThreadCalls(states)
    assert thread.wait("delta", input={"n": 1, "log": ["in"]})["log"] == ["in", "n=1"]
    return thread


def test_changes_grow_what_was_written(thread: ThreadCalls) -> None:
    expected = ["in", "n=1"]
    for n in range(6):
        answer = thread.update(values={"log": [f"by hand {n}"]}, as_node="count")
        assert answer.status_code == 200, answer.text
        expected.append(f"by hand {n}")
        assert thread.state()["values"]["log"] == thread.row()["values"]["log"] == expected
    assert thread.wait("delta", input={"n": 2})["log"] == [*expected, "n=2"]
    assert [len(state["values"]["log"]) for state in thread.history()] == [9, 8, 8, *range(8, 0, -1), 0]


def test_a_fork_and_a_copy_hold_what_was_written_until_then(thread: ThreadCalls) -> None:
    place = thread.history()[1]["checkpoint"]
    assert thread.update(values={"log": ["fork"]}, as_node="count", checkpoint=place).status_code == 200
    assert thread.state()["values"]["log"] == ["in", "fork"]
    assert thread.update(as_node="__copy__").status_code == 200
    assert thread.state()["values"]["log"] == ["in", "fork"]


def test_supersteps_hold_what_those_before_wrote(states: httpx.Client) -> None:
    words = [f"step {number}" for number in range(7)]
    supersteps = [{"updates": [{"values": {"log": [word]}, "as_node": "count"}]} for word in words]
    made = states.post("/threads", json={"metadata": {"graph_id": "delta"}, "supersteps": supersteps})
    assert made.status_code == 200, made.text
    thread = ThreadCalls(states, made.json()["thread_id"])
    assert thread.state()["values"]["log"] == made.json()["values"]["log"] == words
    assert thread.wait("delta", input={"n": 3})["log"] == [*words, "n=3"]


def test_a_refused_change_leaves_no_trace(thread: ThreadCalls) -> None:
    before = thread.history()
    for n in ("x", "y"):
        assert thread.update(values={"n": n, "log": ["bad"]}, as_node="__start__").status_code == 400
    assert thread.history() == before
    assert thread.update(values={"log": ["good"]}, as_node="count").status_code == 200
    assert thread.state()["values"]["log"] == ["in", "n=1", "good"]


def test_a_refused_state_is_mended(thread: ThreadCalls) -> None:
    assert "__error__" in thread.wait("delta", input={"n": "x", "log": ["bad"]})
    assert thread.get("/state").status_code == 400
    assert thread.update(values={"n": 5, "log": ["mended"]}, as_node="count").status_code == 200
    assert thread.state()["values"] == {"n": 5, "log": ["in", "n=1", "bad", "mended"]}
    assert thread.wait("delta", input={"n": 6})["log"][-1] == "n=6"
