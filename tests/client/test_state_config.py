"""A thread's state is read and changed with the configuration that the thread was last run with.

`named_node` makes a graph of one node that has the name `configurable.node`.
"""

from typing import Any

import httpx
import pytest

from tests import live
from tests.client.thread_calls import ThreadCalls


def assistant_of(http: httpx.Client, node: str) -> str:
    """An assistant of `named_node` with this node."""
    fields = {"graph_id": "named_node", "config": {"configurable": {"node": node}}}
    made: str = http.post("/assistants", json=fields).json()["assistant_id"]
    return made


def node_of(thread: ThreadCalls) -> str:
    """The only node of the graph that the thread's state is changed with."""
    for node in ("default", "alice", "bob"):
        answer = thread.update(values={"log": ["by hand"]}, as_node=node)
        if answer.status_code == 200:
            return node
        assert answer.json()["detail"] == f"Node {node} does not exist"
    raise AssertionError("the graph has a node of another name")


@pytest.fixture
def thread(states: httpx.Client) -> ThreadCalls:
    return ThreadCalls(states)


def test_of_the_assistant(states: httpx.Client, thread: ThreadCalls) -> None:
    thread.wait(assistant_of(states, "alice"), input={"log": []})
    assert node_of(thread) == "alice"


def test_of_the_request(thread: ThreadCalls) -> None:
    thread.wait("named_node", input={"log": []}, config={"configurable": {"node": "bob"}})
    assert node_of(thread) == "bob"


def test_of_the_request_given_as_context(thread: ThreadCalls) -> None:
    thread.wait("named_node", input={"log": []}, context={"node": "bob"})
    assert node_of(thread) == "bob"


def test_the_request_goes_before_the_assistant(states: httpx.Client, thread: ThreadCalls) -> None:
    thread.wait(assistant_of(states, "alice"), input={"log": []}, config={"configurable": {"node": "bob"}})
    assert node_of(thread) == "bob"


def test_only_the_last_run_counts(states: httpx.Client, thread: ThreadCalls) -> None:
    thread.wait("named_node", input={"log": []}, config={"configurable": {"node": "bob"}})
    thread.wait(assistant_of(states, "alice"), input={"log": []})
    assert node_of(thread) == "alice"
    thread.wait("named_node", input={"log": []})
    assert node_of(thread) == "default"


def test_it_stays_when_the_assistant_is_changed_or_deleted(states: httpx.Client, thread: ThreadCalls) -> None:
    assistant = assistant_of(states, "alice")
    thread.wait(assistant, input={"log": []})
    states.patch(f"/assistants/{assistant}", json={"config": {"configurable": {"node": "bob"}}})
    assert node_of(thread) == "alice"
    states.delete(f"/assistants/{assistant}")
    assert node_of(thread) == "alice"


def test_it_stays_after_a_restart(states: httpx.Client, thread: ThreadCalls, states_server: live.LiveServer) -> None:
    thread.wait(assistant_of(states, "alice"), input={"log": []}, interrupt_before=["alice"])
    states_server.restart()
    assert thread.state()["next"] == ["alice"]
    assert thread.history()[0]["next"] == ["alice"]
    assert node_of(thread) == "alice"


def test_a_fork_and_the_history_have_it(states: httpx.Client, thread: ThreadCalls) -> None:
    thread.wait(assistant_of(states, "alice"), input={"log": ["in"]})
    first = thread.history()[-2]
    assert (first["values"], first["next"]) == ({"log": ["in"]}, ["alice"])
    assert thread.update(values={"log": ["fork"]}, as_node="alice", checkpoint=first["checkpoint"]).status_code == 200
    assert thread.state()["values"] == {"log": ["in", "fork"]}


def test_a_copy_has_it(states: httpx.Client, thread: ThreadCalls) -> None:
    thread.wait(assistant_of(states, "alice"), input={"log": []}, interrupt_before=["alice"])
    copy = ThreadCalls(states, thread.post("copy").json()["thread_id"])
    assert copy.state()["next"] == ["alice"]
    assert node_of(copy) == "alice"


def test_a_thread_that_was_never_run_has_the_graphs_defaults(states: httpx.Client) -> None:
    assert node_of(ThreadCalls(states, metadata={"graph_id": "named_node"})) == "default"


def test_it_is_not_shown(states: httpx.Client, thread: ThreadCalls) -> None:
    def shown() -> list[Any]:
        found = states.post("/threads/search", json={"ids": [thread.id]}).json()
        return [thread.row(), *found]

    config = {"configurable": {"node": "bob", "token": "secret"}, "tags": ["t"], "recursion_limit": 7}
    thread.wait(assistant_of(states, "alice"), input={"log": []}, config=config)
    for row in shown():
        assert row["config"] == {"configurable": {}, "tags": ["t"], "recursion_limit": 7}
        assert "run_config" not in row
    assert states.post("/threads/search", json={"select": ["run_config"]}).status_code == 422


def test_the_assistant_is_drawn_with_its_own(states: httpx.Client) -> None:
    drawn = states.get(f"/assistants/{assistant_of(states, 'alice')}/graph").json()
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "alice", "__end__"]
