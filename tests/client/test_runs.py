"""Runs through the official client: create, wait, join, list, cancel, delete, stateless."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.errors import NotFoundError

from tests.client.waiting import until, until_over
from tests.live import Client

LONG = {"ticks": 100, "delay": 0.1}


async def test_new_run_is_pending_and_its_thread_busy(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input=LONG)
    assert run["status"] == "pending"
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.cancel(thread, run["run_id"], wait=True)


async def test_run_ends_with_success(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"count": 1})
    await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_wait_returns_the_final_values(client: Client, thread: str) -> None:
    assert await client.runs.wait(thread, "counter", input={"count": 1}) == {"count": 4, "log": ["inc", "double"]}


async def test_join_returns_the_final_values(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"count": 1})
    assert await client.runs.join(thread, run["run_id"]) == {"count": 4, "log": ["inc", "double"]}


async def test_created_run_is_announced_to_the_client(client: Client, thread: str) -> None:
    announced: list[Any] = []
    await client.runs.wait(thread, "counter", input={}, on_run_created=announced.append)
    runs = await client.runs.list(thread)
    assert announced == [{"run_id": runs[0]["run_id"], "thread_id": thread}]


async def test_failed_run_raises_in_wait(client: Client, thread: str) -> None:
    with pytest.raises(Exception, match="boom: x=3"):
        await client.runs.wait(thread, "failing", input={"x": 3})


async def test_failed_run_marks_its_thread(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "failing", input={"x": 3}, raise_error=False)
    found = await client.threads.get(thread)
    assert (found["status"], found["error"]) == ("error", {"error": "ValueError", "message": "boom: x=3"})
    assert [run["status"] for run in await client.runs.list(thread)] == ["error"]


async def test_failed_task_shows_its_error_in_the_state(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "failing", input={"x": 3}, raise_error=False)
    state = await client.threads.get_state(thread)
    assert [(task["name"], task["error"]) for task in state["tasks"]] == [("bad", "ValueError('boom: x=3')")]


async def test_runs_of_a_thread_are_listed_newest_first(client: Client, thread: str) -> None:
    made = []
    for _ in range(3):
        made.append((await client.runs.create(thread, "counter", input={}))["run_id"])
    assert [run["run_id"] for run in await client.runs.list(thread)] == made[::-1]
    assert [run["run_id"] for run in await client.runs.list(thread, limit=1, offset=1)] == [made[1]]


async def test_runs_are_listed_by_status(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={})
    await client.runs.wait(thread, "failing", input={}, raise_error=False)
    assert len(await client.runs.list(thread, status="error")) == 1


async def test_metadata_of_thread_assistant_config_and_run_reach_the_run(client: Client) -> None:
    assistant = await client.assistants.create("counter", metadata={"of": "assistant", "a": 1})
    thread = await client.threads.create(metadata={"t": 1})
    run = await client.runs.create(
        thread["thread_id"],
        assistant["assistant_id"],
        input={},
        metadata={"r": 1},
        config={"metadata": {"c": 1}},
    )
    expected = {"a": 1, "t": 1, "r": 1, "c": 1, "graph_id": "counter", "assistant_id": assistant["assistant_id"]}
    assert expected.items() <= (run["metadata"] or {}).items()


async def test_queued_runs_of_a_thread_run_one_after_the_other(client: Client, thread: str) -> None:
    made = [await client.runs.create(thread, "counter", input={"count": count}) for count in (1, 2, 3)]
    values = await client.runs.join(thread, made[-1]["run_id"])
    # Each run adds its input, one, and then the double of all: ((1+1)*2, (4+2+1)*2, (14+3+1)*2).
    assert values == {"count": 36, "log": ["inc", "double"] * 3}


async def test_later_run_waits_while_an_earlier_one_is_running(client: Client, thread: str) -> None:
    first = await client.runs.create(thread, "slow", input={"ticks": 4, "delay": 0.1})
    second = await client.runs.create(thread, "slow", input={"ticks": 1, "delay": 0.0})
    await client.runs.join(thread, first["run_id"])
    await client.runs.join(thread, second["run_id"])
    state = await client.threads.get_state(thread)
    assert state["values"]["seen"] == ["warm", "done", "warm", "done"]


async def test_delayed_run_is_scheduled_in_the_future(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={}, after_seconds=3600)
    assert datetime.fromisoformat(str(run["created_at"])) > datetime.now(UTC)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "pending"
    assert (await client.threads.get(thread))["status"] == "busy"


async def test_delayed_run_runs_when_its_time_has_come(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={}, after_seconds=1)
    assert await until_over(client, thread, run["run_id"]) == "success"


async def test_missing_thread_is_refused(client: Client) -> None:
    with pytest.raises(NotFoundError, match=r"Thread or assistant not found\."):
        await client.runs.create(str(uuid4()), "counter", input={})


async def test_missing_thread_is_created_on_request(client: Client) -> None:
    thread = str(uuid4())
    await client.runs.wait(thread, "counter", input={}, if_not_exists="create")
    assert (await client.threads.get(thread))["values"]["log"] == ["inc", "double"]


async def test_cancelled_run_is_interrupted_and_keeps_finished_steps(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input=LONG)
    await until(lambda: in_tick(client, thread))
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    found = await client.threads.get(thread)
    assert (found["status"], found["values"]["seen"]) == ("interrupted", ["warm"])


async def test_cancelled_thread_goes_on_with_the_next_run(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"ticks": 3, "delay": 0.3})
    await until(lambda: in_tick(client, thread))
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.runs.wait(thread, "slow", input=None))["seen"] == ["warm", "done"]


async def test_rolled_back_run_is_gone_with_its_checkpoints(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "slow", input={"ticks": 0})
    before = await client.threads.get_state(thread)
    run = await client.runs.create(thread, "slow", input=LONG)
    await until(lambda: in_tick(client, thread))
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    assert await client.threads.get_state(thread) == before


async def test_rollback_goes_back_though_the_past_was_pruned_meanwhile(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "slow", input={"ticks": 0})
    before = await client.threads.get_state(thread)
    run = await client.runs.create(thread, "slow", input=LONG)
    await until(lambda: in_tick(client, thread))
    assert await client.threads.prune([thread], strategy="keep_latest") == {"pruned_count": 1}
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    after = await client.threads.get_state(thread)
    assert after == {**before, "parent_checkpoint": None, "parent_checkpoint_id": None}
    assert len(await client.threads.get_history(thread)) == 1


async def test_pending_run_can_be_cancelled(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={}, after_seconds=3600)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_finished_run_cannot_be_cancelled(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={})
    run = (await client.runs.list(thread))[0]
    with pytest.raises(NotFoundError, match="No matching runs to cancel"):
        await client.runs.cancel(thread, run["run_id"])


async def test_deleting_a_run_deletes_its_checkpoints(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"count": 1})
    await client.runs.wait(thread, "counter", input={"count": 1})
    newest = (await client.runs.list(thread))[0]
    await client.runs.delete(thread, newest["run_id"])
    assert len(await client.runs.list(thread)) == 1
    assert (await client.threads.get_state(thread))["values"] == {"count": 4, "log": ["inc", "double"]}


async def test_stateless_run_leaves_nothing_behind(client: Client) -> None:
    run = await client.runs.create(None, "counter", input={"count": 1})
    await until(lambda: is_gone(client, run["thread_id"]))


async def test_stateless_run_keeps_its_thread_on_request(client: Client) -> None:
    run = await client.runs.create(None, "counter", input={"count": 1}, on_completion="keep")
    await until_over(client, run["thread_id"], run["run_id"])
    assert (await client.threads.get(run["thread_id"]))["values"] == {"count": 4, "log": ["inc", "double"]}


async def test_stateless_wait_returns_the_final_values(client: Client) -> None:
    assert await client.runs.wait(None, "counter", input={"count": 2}) == {"count": 6, "log": ["inc", "double"]}


async def test_run_stops_when_its_waiting_client_goes_away(client: Client, thread: str) -> None:
    waiting = asyncio.create_task(client.runs.wait(thread, "slow", input=LONG, on_disconnect="cancel"))
    await until(lambda: in_tick(client, thread))
    waiting.cancel()
    run = (await client.runs.list(thread))[0]
    assert await until_over(client, thread, run["run_id"]) == "interrupted"


async def test_run_goes_on_when_its_waiting_client_goes_away(client: Client, thread: str) -> None:
    body = {"ticks": 6, "delay": 0.1}
    waiting = asyncio.create_task(client.runs.wait(thread, "slow", input=body, on_disconnect="continue"))
    await until(lambda: in_tick(client, thread))
    waiting.cancel()
    run = (await client.runs.list(thread))[0]
    assert await until_over(client, thread, run["run_id"]) == "success"


async def test_context_and_configurable_cannot_both_be_given(client: Client) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="Cannot specify both configurable and context"):
        await client.runs.wait(None, "ctx", input={}, context={"tone": "x"}, config={"configurable": {"tone": "y"}})


async def test_context_of_assistant_and_run_are_merged(client: Client) -> None:
    assistant = await client.assistants.create("ctx", context={"tone": "base", "level": 1})
    values = await client.runs.wait(None, assistant["assistant_id"], input={"q": "a"}, context={"level": 9})
    assert values["seen"]["context"] == {"tone": "base", "level": 9}


async def test_a_node_writes_to_the_store(client: Client) -> None:
    values = await client.runs.wait(None, "memory", input={"key": "k", "val": "v"})
    assert values["found"] == {"val": "v"}


async def in_tick(client: Client, thread: str) -> bool:
    return (await client.threads.get_state(thread))["next"] == ["tick"]


async def is_gone(client: Client, thread: str) -> bool:
    try:
        await client.threads.get(thread)
    except NotFoundError:
        return True
    return False
