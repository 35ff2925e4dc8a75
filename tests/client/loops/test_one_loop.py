"""What a project keeps in its modules (clients, pools, locks) sees one event loop, whatever is asked of the server."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests import live

CONFIG = Path(__file__).resolve().parent / "langgraph.json"
# Graph and what its node puts before the answer.
GRAPHS = {"function": "F:", "manager": "M:", "returned": "R:", "module": ""}


@pytest.fixture(scope="module")
def looping_server(start_in_mode: Callable[[Path], live.LiveServer]) -> live.LiveServer:
    return start_in_mode(CONFIG)


@pytest.fixture
async def asking(looping_server: live.LiveServer) -> AsyncIterator[live.Client]:
    async with get_client(url=looping_server.url) as client:
        yield client


async def use(client: Any, graph_id: str) -> None:
    """Read the graph in every way, run it, then read and change the state of its thread, and run it again."""
    prefix = GRAPHS[graph_id]
    assistant = (await client.assistants.search(graph_id=graph_id))[0]["assistant_id"]
    assert (await client.assistants.get_schemas(assistant))["graph_id"] == graph_id
    assert await client.assistants.get_graph(assistant)
    assert await client.assistants.get_subgraphs(assistant) == {}
    thread = (await client.threads.create())["thread_id"]
    assert (await client.runs.wait(thread, graph_id, input={"asked": "run"}))["got"] == prefix + "RUN"
    assert (await client.threads.get_state(thread))["values"]["got"] == prefix + "RUN"
    # As if the node had said it: its branch is asked.
    await client.threads.update_state(thread, {"got": "by hand"}, as_node="say")
    assert [state["values"]["got"] for state in await client.threads.get_history(thread, limit=1)] == ["by hand"]
    assert (await client.runs.wait(thread, graph_id, input={"asked": "again"}))["got"] == prefix + "AGAIN"
    steps = [{"updates": [{"values": {"got": "made"}, "as_node": "say"}]}]
    made = (await client.threads.create(graph_id=graph_id, supersteps=steps))["thread_id"]
    assert (await client.threads.get_state(made))["values"] == {"got": "made"}


@pytest.mark.parametrize("graph_id", GRAPHS)
async def test_reads_changes_and_runs_use_one_loop(asking: live.Client, graph_id: str) -> None:
    await use(asking, graph_id)


@pytest.fixture(scope="module")
def server_on_daphne(start_server: Callable[..., live.LiveServer]) -> live.LiveServer:
    return start_server(CONFIG, arguments=("--server", "daphne"))


@pytest.fixture
async def on_daphne(server_on_daphne: live.LiveServer) -> AsyncIterator[live.Client]:
    async with get_client(url=server_on_daphne.url) as client:
        yield client


@pytest.mark.parametrize("graph_id", GRAPHS)
async def test_a_run_before_everything_else_uses_that_loop_too(on_daphne: live.Client, graph_id: str) -> None:
    assert (await on_daphne.runs.wait(None, graph_id, input={"asked": "first"}))["got"].endswith("FIRST")
    await use(on_daphne, graph_id)
