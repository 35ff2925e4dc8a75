"""`RemoteGraph`: a graph on the server used like a local one."""

from typing import Any

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command

from tests import live
from tests.live import SyncClient

HELLO = {"messages": [{"role": "user", "content": "hi", "id": "h1"}]}


@pytest.fixture
def remote(server: live.LiveServer | live.RunningServer) -> Any:
    return RemoteGraph("counter", url=server.url)


@pytest.fixture
def config(sync_client: SyncClient) -> dict[str, dict[str, str]]:
    return {"configurable": {"thread_id": sync_client.threads.create()["thread_id"]}}


async def test_invoke_without_a_thread(remote: Any) -> None:
    assert await remote.ainvoke({"count": 1}) == {"count": 4, "log": ["inc", "double"]}


def test_synchronous_invoke(remote: Any) -> None:
    assert remote.invoke({"count": 1}) == {"count": 4, "log": ["inc", "double"]}


async def test_stream_of_updates(remote: Any) -> None:
    found = [update async for update in remote.astream({"count": 1}, stream_mode="updates")]
    assert [list(update) for update in found] == [["inc"], ["double"]]


async def test_stream_of_messages(server: live.LiveServer | live.RunningServer) -> None:
    chat: Any = RemoteGraph("chat", url=server.url)
    found = [chunk["content"] async for chunk, _ in chat.astream(HELLO, stream_mode="messages")]
    assert "".join(found) == "Hello there friend"


async def test_state_of_a_thread(remote: Any, config: dict[str, dict[str, str]]) -> None:
    await remote.ainvoke({"count": 1}, config)
    assert (await remote.aget_state(config)).values["count"] == 4


async def test_history_of_a_thread(remote: Any, config: dict[str, dict[str, str]]) -> None:
    await remote.ainvoke({"count": 1}, config)
    history = [state.values["count"] async for state in remote.aget_state_history(config)]
    assert history == [4, 2, 1, 0]


async def test_update_of_a_thread(remote: Any, config: dict[str, dict[str, str]]) -> None:
    await remote.ainvoke({"count": 1}, config)
    await remote.aupdate_state(config, {"count": 10})
    assert (await remote.aget_state(config)).values["count"] == 14


async def test_drawing(remote: Any) -> None:
    assert {"inc", "double"} <= set((await remote.aget_graph()).nodes)


async def test_interrupt_and_resume(
    server: live.LiveServer | live.RunningServer, config: dict[str, dict[str, str]]
) -> None:
    approval: Any = RemoteGraph("approval", url=server.url)
    await approval.ainvoke({"request": "r"}, config)
    values = await approval.ainvoke(Command(resume="yes"), config)
    assert values["decision"] == "yes"
