"""`webhook` through the official client: every way to start a run tells its end."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import UnprocessableEntityError

from tests.client.streams import collect
from tests.live import CONTRACT_CONFIG, Client, LiveServer
from tests.webhooks.receiving import Receiver, receiving

COUNT = {"assistant_id": "counter", "input": {"count": 1}}


@pytest.fixture(scope="module")
def own_server(start_server: Callable[..., LiveServer]) -> LiveServer:
    # Nothing is found by looking for it now and then: the end of a run itself wakes the deliverer.
    return start_server(CONTRACT_CONFIG, WEBHOOK_PRIVATE_ALLOWED="127.0.0.1", SWEEP_SECONDS="3600")


@pytest.fixture
async def client(own_server: LiveServer) -> AsyncIterator[Client]:
    async with get_client(url=own_server.url) as made:
        yield made


@pytest.fixture
async def thread(client: Client) -> str:
    return str((await client.threads.create())["thread_id"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def told(receiver: Receiver, count: int = 1) -> list[dict[str, Any]]:
    return [received.body for received in receiver.wait(count)]


async def test_run_on_a_thread(client: Client, thread: str, receiver: Receiver) -> None:
    run = await client.runs.create(thread, **COUNT, webhook=receiver.url)
    [body] = told(receiver)
    assert body == {**await client.runs.get(thread, run["run_id"]), **body}
    assert (body["status"], body["values"]["count"]) == ("success", 4)


async def test_wait_and_stream(client: Client, thread: str, receiver: Receiver) -> None:
    await client.runs.wait(thread, **COUNT, webhook=receiver.url)
    await collect(client.runs.stream(thread, **COUNT, webhook=receiver.url))
    runs = await client.runs.list(thread)
    assert {body["run_id"] for body in told(receiver, 2)} == {run["run_id"] for run in runs}


async def test_runs_without_a_thread(client: Client, receiver: Receiver) -> None:
    await client.runs.create(None, **COUNT, webhook=receiver.url)
    await client.runs.wait(None, **COUNT, webhook=receiver.url)
    await collect(client.runs.stream(None, **COUNT, webhook=receiver.url))
    await client.runs.create_batch([{**COUNT, "webhook": receiver.url}] * 3)
    bodies = told(receiver, 6)
    assert len({body["run_id"] for body in bodies}) == 6
    assert {(body["status"], body["values"]) for body in bodies} == {("success", None)}


async def test_cancelled_run(client: Client, thread: str, receiver: Receiver) -> None:
    run = await client.runs.create(thread, "slow", input={"ticks": 100, "delay": 0.1}, webhook=receiver.url)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    [body] = told(receiver)
    assert (body["status"], body["error"]["error"]) == ("interrupted", "UserInterrupt")


async def test_runs_of_a_cron(client: Client, thread: str, receiver: Receiver) -> None:
    every_second = "* * * * * *"
    cron = await client.crons.create_for_thread(thread, **COUNT, schedule=every_second, webhook=receiver.url)
    [body, *_] = told(receiver)
    await client.crons.delete(cron["cron_id"])
    assert (body["thread_id"], body["status"]) == (thread, "success")
    assert body["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]


async def test_cron_whose_webhook_may_not_be(client: Client) -> None:
    with pytest.raises(UnprocessableEntityError, match="Webhook host blocked: blocked IP range"):
        await client.crons.create("counter", schedule="@daily", webhook="http://10.0.0.1/")
