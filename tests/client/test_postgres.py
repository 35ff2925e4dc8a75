"""The same server on PostgreSQL, through the same client."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph_sdk import get_client

from tests.client.streams import collect, data
from tests.live import CONTRACT_CONFIG, Client, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres
HELLO = {"messages": [{"role": "user", "content": "hi", "id": "h1"}]}


@pytest.fixture
def on_postgres(tmp_path: Path, postgres_url: str) -> Iterator[LiveServer]:  # noqa: F811
    # Other processes may share the database, so a killed server's runs are taken up when its leases end.
    leases = {"LEASE_SECONDS": "2", "HEARTBEAT_SECONDS": "0.5", "SWEEP_SECONDS": "0.5"}
    server = LiveServer(CONTRACT_CONFIG, tmp_path, {"DATABASE_URL": postgres_url, **leases}).start()
    yield server
    server.stop()


async def test_client_walks_through_the_api_and_everything_is_there_after_a_kill(on_postgres: LiveServer) -> None:
    client: Client
    async with get_client(url=on_postgres.url) as client:
        assistant = await client.assistants.create("counter", metadata={"team": "a"})
        thread = (await client.threads.create(metadata={"nest": {"a": 1}}))["thread_id"]
        assert await client.runs.wait(thread, assistant["assistant_id"], input={"count": 1}) == {
            "count": 4,
            "log": ["inc", "double"],
        }
        parts = await collect(client.runs.stream(None, "chat", input=HELLO, stream_mode="messages-tuple"))
        assert "".join(chunk["content"] for chunk, _ in data(parts, "messages")) == "Hello there friend"
        found = await client.threads.search(metadata={"nest": {"a": 1}}, values={"count": 4})
        assert [row["thread_id"] for row in found] == [thread]
        history = await client.threads.get_history(thread)
        await client.threads.update_state(thread, {"count": 100}, checkpoint=history[1]["checkpoint"])
        waiting = (await client.threads.create())["thread_id"]
        await client.runs.wait(waiting, "approval", input={"request": "r"})
        running = (await client.threads.create())["thread_id"]
        run = await client.runs.create(running, "slow", input={"ticks": 4, "delay": 0.2}, durability="sync")
    on_postgres.restart()
    async with get_client(url=on_postgres.url) as client:
        assert (await client.threads.get_state(thread))["values"]["count"] == 102
        assert len(await client.threads.get_history(thread, limit=50)) == 5
        values = await client.runs.wait(waiting, "approval", command={"resume": "yes"})
        assert values["decision"] == "yes"
        assert (await client.runs.join(running, run["run_id"]))["seen"] == ["warm", "done"]
        await client.runs.delete(running, run["run_id"])
        await client.threads.delete(thread)
        assert await client.threads.count(metadata={"nest": {"a": 1}}) == 0
