"""What a newcomer sees first: the sample graphs, before and after the server was killed."""

from collections.abc import AsyncIterator

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests.client.streams import collect, data
from tests.live import Client, LiveServer, SyncClient

QUESTION = {"messages": [{"role": "user", "content": "What is 17 * 23, and where is order A-1001?"}]}
REFUND = {"order": "A-1001", "amount": 120, "reason": "The lamp arrived broken."}


@pytest.fixture
async def sample_client(samples_server: LiveServer) -> AsyncIterator[Client]:
    async with get_client(url=samples_server.url) as client:
        yield client


async def test_all_samples_are_there(sample_client: Client) -> None:
    found = await sample_client.assistants.search(select=["graph_id"], limit=100)
    assert {row["graph_id"] for row in found} == {"chat", "approval", "memory", "research", "slow"}


async def test_chat_streams_its_answer_token_by_token(sample_client: Client) -> None:
    parts = await collect(sample_client.runs.stream(None, "chat", input=QUESTION, stream_mode="messages-tuple"))
    tokens = [chunk["content"] for chunk, _ in data(parts, "messages") if chunk["type"] == "AIMessageChunk"]
    assert len([token for token in tokens if token]) > 3
    assert "391" in "".join(tokens)
    assert "Friday" in "".join(tokens)


async def test_chat_shows_its_tool_calls_in_values(sample_client: Client) -> None:
    parts = await collect(sample_client.runs.stream(None, "chat", input=QUESTION, stream_mode="values"))
    kinds = [message["type"] for message in data(parts, "values")[-1]["messages"]]
    assert kinds == ["human", "ai", "tool", "tool", "ai"]


async def test_approval_waits_and_goes_on(sample_client: Client) -> None:
    thread = (await sample_client.threads.create())["thread_id"]
    waiting = await sample_client.runs.wait(thread, "approval", input=REFUND)
    assert "120.00" in waiting["__interrupt__"][0]["value"]["question"]
    done = await sample_client.runs.wait(thread, "approval", command={"resume": "approve"})
    assert done["outcome"] == "Refunded 120.00 for order A-1001."


async def test_research_streams_two_levels_of_subgraphs(sample_client: Client) -> None:
    body = {"question": "Should we repaint the office?"}
    parts = await collect(
        sample_client.runs.stream(None, "research", input=body, stream_mode="updates", stream_subgraphs=True)
    )
    assert {0, 1, 2} <= {part.event.count("|") for part in parts}


async def test_slow_reports_its_progress(sample_client: Client) -> None:
    parts = await collect(
        sample_client.runs.stream(
            None, "slow", input={"task": "Sort"}, context={"steps": 3, "delay": 0.01}, stream_mode="custom"
        )
    )
    assert [progress["step"] for progress in data(parts, "custom")] == [1, 2, 3]


def test_everything_is_there_again_after_a_kill(samples_server: LiveServer) -> None:
    """An answered chat, a forked thread and a waiting approval: as they were, and they go on."""
    before: SyncClient = get_sync_client(url=samples_server.url)
    chat, waiting = (before.threads.create()["thread_id"] for _ in range(2))
    before.runs.wait(chat, "chat", input=QUESTION)
    history = before.threads.get_history(chat, limit=50)
    before.threads.update_state(chat, {"messages": []}, checkpoint=history[1]["checkpoint"])
    before.runs.wait(waiting, "approval", input=REFUND)
    assistant = before.assistants.create("slow", name="hurried", context={"steps": 1, "delay": 0.0})
    seen = [
        before.threads.get(chat),
        before.threads.get_history(chat, limit=50),
        before.runs.list(chat),
        before.threads.get_state(waiting),
        before.assistants.get(assistant["assistant_id"]),
    ]
    samples_server.restart()
    after: SyncClient = get_sync_client(url=samples_server.url)
    assert seen == [
        after.threads.get(chat),
        after.threads.get_history(chat, limit=50),
        after.runs.list(chat),
        after.threads.get_state(waiting),
        after.assistants.get(assistant["assistant_id"]),
    ]
    assert after.runs.wait(waiting, "approval", command={"resume": "reject"})["outcome"].startswith("Declined")
    more = after.runs.wait(chat, "chat", input={"messages": [{"role": "user", "content": "And 2 + 2?"}]})
    assert "4" in more["messages"][-1]["content"]
    assert after.runs.wait(None, assistant["assistant_id"], input={"task": "Sort"})["steps_done"] == 1
