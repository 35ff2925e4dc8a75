"""`get_client()` without a URL inside graphs, in one process and in workers, which have no HTTP server."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests import live
from tests.scaled_stack import ScaledStack

CONFIG = Path(__file__).resolve().parent / "langgraph.json"
IN_NODES = pytest.mark.parametrize("kind", ["asks", "asks_in_thread"])


@pytest.fixture(scope="module")
def asking_server(
    server_mode: str, start_server: Callable[..., live.LiveServer], scaled_stacks: Callable[..., ScaledStack]
) -> live.LiveServer:
    """A server that executes one run at a time: whoever waits for another run must let it have the slot."""
    if server_mode == "embedded":
        return start_server(CONFIG, CONCURRENCY="1")
    return scaled_stacks(CONFIG, CONCURRENCY="1").start(capacity=1).web


@pytest.fixture
async def outer(asking_server: live.LiveServer) -> AsyncIterator[live.Client]:
    async with get_client(url=asking_server.url) as client:
        yield client


async def told(outer: live.Client, kind: str, do: str, given: Any = None) -> Any:
    """What a node of the graph `kind` makes of an action."""
    values = await outer.runs.wait(None, kind, input={"do": do, "given": given})
    assert "got" in values, values
    return values["got"]


@IN_NODES
@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ("assistants", ["changed", True, "child"]),
        ("threads", ["by hand", "a node", "by hand"]),
        ("runs", [1, 2, ["metadata", "values", "values"], True, 1]),
        ("crons", True),
        ("store", [{"n": 1}, 1, [["by", "node"]]]),
        ("later", "pending"),
        ("early", "early"),
        ("remote", "remote"),
        ("stream", ["waits", "goes on"]),
        ("join_stream", "success"),
        ("leave", "interrupted"),
    ],
)
async def test_node_uses_the_api(outer: live.Client, kind: str, do: str, expected: Any) -> None:
    assert await told(outer, kind, do) == expected


async def test_remote_graph_of_this_server_draws_itself_and_is_refused_to_run_on_the_thread_of_its_caller(
    outer: live.Client,
) -> None:
    assistant = (await outer.assistants.search(graph_id="remote"))[0]["assistant_id"]
    drawing = await outer.assistants.get_graph(assistant, xray=True)
    assert "answer:answer" in [node["id"] for node in drawing["nodes"]]
    values = await outer.runs.wait(None, "remote", input={"given": 5}, raise_error=False)
    assert values["__error__"]["error"] == "ConflictError"


async def test_tools_use_the_api(outer: live.Client) -> None:
    assert (await outer.runs.wait(None, "tools", input={}))["got"] == ["ask_tool", "ask_tool_in_thread"]


async def test_middleware_uses_the_api(outer: live.Client) -> None:
    values = await outer.runs.wait(None, "agent", input={"messages": []})
    assert [message["content"] for message in values["messages"]] == ["by middleware", "done"]


async def test_factory_uses_the_api_when_it_is_read_and_when_it_runs(outer: live.Client) -> None:
    thread = (await outer.threads.create())["thread_id"]
    assistant = (await outer.assistants.search(graph_id="made"))[0]["assistant_id"]
    assert (await outer.assistants.get_schemas(assistant))["graph_id"] == "made"
    assert (await outer.runs.wait(thread, "made", input={}))["got"] == 1
    assert (await outer.threads.get_state(thread))["values"] == {"got": 1}
    await outer.threads.update_state(thread, {"got": 2}, as_node="answer")
    assert [state["values"] for state in await outer.threads.get_history(thread, limit=1)] == [{"got": 2}]


@pytest.mark.parametrize(
    "kinds", [["asks"] * 3, ["asks_in_thread"] * 3, ["asks", "asks_in_thread", "asks", "asks_in_thread"]]
)
async def test_runs_that_wait_for_runs_let_them_have_their_slots(outer: live.Client, kinds: list[str]) -> None:
    got = await told(outer, kinds[0], "ask_below", kinds[1:])
    for kind in kinds[1:]:
        assert got[0] == kind
        got = got[1]
    assert got == "bottom"


@IN_NODES
async def test_run_is_refused_to_wait_for_what_waits_for_it(outer: live.Client, kind: str) -> None:
    thread = (await outer.threads.create())["thread_id"]
    queued, joined, later = (await outer.runs.wait(thread, kind, input={"do": "own_thread"}))["got"]
    assert "409 Conflict" in queued
    assert "queued behind it on the same thread" in queued
    assert "409 Conflict" in joined
    assert "its own end" in joined
    assert "409 Conflict" in later
    assert "queued behind it on the same thread" in later


@IN_NODES
async def test_thread_outside_of_the_run_is_served_where_everybody_is(outer: live.Client, kind: str) -> None:
    assert await told(outer, kind, "outside") == 1
