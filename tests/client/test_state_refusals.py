"""States that their graph refuses: the answer says why, and the thread can be used again.

`strict` and `strict_data` validate their state before a node sees it; `spoils` stores what its second node may not see.
"""

from typing import Any

import httpx
import pytest

from tests.client.thread_calls import ThreadCalls

INVALID = {"strict": "valid integer", "strict_data": "can only concatenate str", "spoils": "valid integer"}


@pytest.fixture(params=sorted(INVALID))
def graph(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def refused(states: httpx.Client, graph: str) -> ThreadCalls:
    """A thread whose newest checkpoint has a value that its graph refuses."""
    thread = ThreadCalls(states)
    failed = thread.wait(graph, input={"n": 5 if graph == "spoils" else "x"})
    assert INVALID[graph] in failed["__error__"]["message"]
    return thread


def require_reason(answer: httpx.Response, graph: str) -> None:
    assert (answer.status_code, INVALID[graph] in answer.json()["detail"]) == (400, True), answer.text


def test_reads_answer_with_the_reason(refused: ThreadCalls, graph: str) -> None:
    for path in ("/state", "/state?subgraphs=true", "/history"):
        require_reason(refused.get(path), graph)
    require_reason(refused.post("history", limit=10), graph)
    require_reason(refused.post("state/checkpoint", checkpoint={"checkpoint_ns": ""}), graph)


def test_the_thread_is_listed_and_copied(refused: ThreadCalls, graph: str) -> None:
    select = ["thread_id", "status", "values", "error"]
    [found] = refused.http.post("/threads/search", json={"ids": [refused.id], "select": select}).json()
    assert (found["status"], INVALID[graph] in found["error"]["message"]) == ("error", True)
    assert refused.http.post("/threads/search", json={"ids": [refused.id], "values": {"n": 9}}).json() == []
    copy = refused.post("copy")
    assert copy.status_code == 200, copy.text
    require_reason(ThreadCalls(refused.http, copy.json()["thread_id"]).get("/state"), graph)


def test_an_earlier_state_can_be_read_and_forked(refused: ThreadCalls, graph: str) -> None:
    # The copy of the checkpoint before the refused one.
    runs = refused.get("/runs").json()
    assert runs[0]["status"] == "error"
    assert refused.update(values={"n": 7}, as_node="__input__").status_code == 400
    assert refused.update(values={"n": 7}, as_node="count").status_code == 200
    first = refused.history()[-1]
    assert refused.get(f"/state/{first['checkpoint_id']}").json()["next"] == ["__start__"]
    fork = refused.update(values={"n": 8}, as_node="__start__", checkpoint_id=first["checkpoint_id"])
    assert fork.status_code == 200, fork.text
    assert refused.state()["values"]["n"] == 8


@pytest.mark.parametrize("as_node", [None, "count", "__start__"])
def test_a_good_update_mends_the_thread(refused: ThreadCalls, graph: str, as_node: str | None) -> None:
    answer = refused.update(values={"n": 3}, **({"as_node": as_node} if as_node else {}))
    assert answer.status_code == 200, answer.text
    assert refused.state()["values"]["n"] == 3
    assert refused.row()["error"] is None
    if graph != "spoils":
        assert refused.wait(graph, input={"n": 4})["log"][-1] == "n=4"
        assert refused.state()["values"]["n"] == 4


def test_the_history_of_a_mended_thread_tells_what_was_refused(refused: ThreadCalls, graph: str) -> None:
    refused.update(values={"n": 3}, as_node="count")
    states = refused.history()
    [stored] = [state for state in states if state["values"].get("n") == "x"]
    [task] = stored["tasks"]
    assert (stored["next"], INVALID[graph] in task["error"]) == (["count"], True)
    assert [state["metadata"]["step"] for state in states] == list(range(len(states) - 2, -2, -1))


def test_dismissing_what_waits_makes_the_state_readable(refused: ThreadCalls) -> None:
    assert refused.update(as_node="__end__").status_code == 200
    assert (refused.state()["values"]["n"], refused.row()["status"]) == ("x", "idle")


@pytest.mark.parametrize(
    "fields", [{}, {"values": {"n": "y"}, "as_node": "__start__"}, {"as_node": "__copy__"}], ids=str
)
def test_an_update_that_mends_nothing_is_refused(refused: ThreadCalls, graph: str, fields: dict[str, Any]) -> None:
    count = refused.get("/storage").json()["checkpoints"]["count"]
    require_reason(refused.update(**fields), graph)
    assert refused.get("/storage").json()["checkpoints"]["count"] == count


@pytest.mark.parametrize("graph", ["strict", "strict_data"])
def test_a_value_that_does_not_validate_is_not_stored(states: httpx.Client, graph: str) -> None:
    thread = ThreadCalls(states)
    thread.wait(graph, input={"n": 1})
    before = thread.history()
    require_reason(thread.update(values={"n": "y"}, as_node="__start__"), graph)
    assert thread.history() == before
    assert thread.row()["values"]["n"] == 1
    assert thread.wait(graph, input={"n": 2})["n"] == 2


# --- Factories ---------------------------------------------------------------------------------------

NOT_MADE = "Graph 'named_node' could not be made with the configuration of the thread's last run: "


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("RuntimeError", "RuntimeError: no such tenant"),
        ("KeyError", "KeyError: 'no such tenant'"),
        ("SecretError", "SecretError: An internal error occurred"),
    ],
)
def test_a_factory_that_raises_is_the_reason(states: httpx.Client, error: str, told: str) -> None:
    thread = ThreadCalls(states)
    failed = thread.wait("named_node", input={"log": ["in"]}, config={"configurable": {"raises": error}})
    assert failed["__error__"]["error"] == error
    for answer in (
        thread.get("/state"),
        thread.post("history"),
        thread.update(values={"log": ["x"]}),
        thread.post("messages", role="user", content="hello"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (400, NOT_MADE + told)
    assert thread.post("copy").status_code == 200
    assert thread.row()["status"] == "error"


def test_a_thread_is_usable_again_after_a_run_with_another_configuration(states: httpx.Client) -> None:
    thread = ThreadCalls(states)
    thread.wait("named_node", input={"log": ["in"]}, config={"configurable": {"raises": "RuntimeError"}})
    assert thread.wait("named_node", input={"log": ["in"]}) == {"log": ["in", "default"]}
    assert thread.state()["values"] == {"log": ["in", "default"]}


def test_a_factory_that_cannot_be_closed_is_the_reason(states: httpx.Client) -> None:
    thread = ThreadCalls(states)
    thread.wait("named_node", input={"log": ["in"]}, config={"configurable": {"raises_at_the_end": "RuntimeError"}})
    answer = thread.get("/state")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Graph 'named_node' could not be closed: RuntimeError: cannot be closed"


@pytest.mark.parametrize("path", ["graph", "schemas", "subgraphs"])
def test_an_assistant_whose_factory_raises_is_not_described(states: httpx.Client, path: str) -> None:
    fields = {"graph_id": "named_node", "config": {"configurable": {"raises": "RuntimeError"}}}
    assistant = states.post("/assistants", json=fields).json()["assistant_id"]
    answer = states.get(f"/assistants/{assistant}/{path}")
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "Graph 'named_node' cannot be described with the configuration of the assistant: RuntimeError: no such tenant"
    )
