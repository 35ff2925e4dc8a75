"""The stream of a thread: every run on it, and changes of its state, as they happen."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.schema import StreamPart

from tests import live
from tests.client.waiting import until
from tests.live import Client

pytestmark = pytest.mark.usefixtures("not_the_reference")


@asynccontextmanager
async def listening(client: Client, thread: str, **options: Any) -> AsyncIterator[list[StreamPart]]:
    """What a thread's stream has sent so far; it is open when the block begins."""
    heard: list[StreamPart] = []
    opened = asyncio.Event()

    async def listen() -> None:
        async for part in await client.threads.join_stream(thread, **options):
            heard.append(part)

    async def open_soon(response: httpx.Response) -> None:
        if response.request.url.path == f"/threads/{thread}/stream":
            opened.set()

    hooks = client.http.client.event_hooks
    client.http.client.event_hooks = {**hooks, "response": [*hooks["response"], open_soon]}
    task = asyncio.create_task(listen())
    try:
        await asyncio.wait_for(opened.wait(), 10)
        yield heard
    finally:
        client.http.client.event_hooks = hooks
        task.cancel()
        await asyncio.wait({task})


async def heard_in_all(heard: list[StreamPart], count: int) -> list[StreamPart]:
    async def enough() -> bool:
        return len(heard) >= count

    await until(enough, 10)
    return heard


async def run(client: Client, thread: str, **options: Any) -> str:
    """A run to its end; its id."""
    stream = client.runs.stream(thread, "counter", input={"count": 1}, **options)
    parts = [part async for part in stream]
    run_id: str = parts[0].data["run_id"]
    return run_id


def done(run_id: str) -> dict[str, str]:
    return {"status": "run_done", "run_id": run_id}


async def test_all_runs_are_heard_with_their_beginnings_and_ends(client: Client, thread: str) -> None:
    async with listening(client, thread) as heard:
        first, second = await run(client, thread), await run(client, thread, stream_resumable=True)
        events = await heard_in_all(heard, 10)
    assert [part.event for part in events] == ["metadata", "values", "values", "values", "metadata"] * 2
    assert [events[0].data, events[4].data] == [{"run_id": first, "attempt": 1}, done(first)]
    assert [events[5].data, events[9].data] == [{"run_id": second, "attempt": 1}, done(second)]
    assert events[3].data["count"] == 4
    ids = [tuple(int(number) for number in str(part.id).split("-")) for part in events]
    assert ids == sorted(set(ids))


async def test_lifecycle_is_beginnings_and_ends_only(client: Client, thread: str) -> None:
    async with listening(client, thread, stream_mode="lifecycle") as heard:
        run_id = await run(client, thread)
        events = await heard_in_all(heard, 2)
    assert [part.data for part in events] == [{"run_id": run_id, "attempt": 1}, done(run_id)]


async def test_state_updates_show_the_new_state(client: Client, thread: str) -> None:
    await run(client, thread)
    async with listening(client, thread, stream_mode="state_update") as heard:
        await client.threads.update_state(thread, {"note": "x"})
        [event] = await heard_in_all(heard, 1)
    assert event.event == "state_update"
    assert event.data == {"state": await client.threads.get_state(thread), "thread_id": thread}
    assert event.data["state"]["values"]["note"] == "x"


async def test_several_modes_together(client: Client, thread: str) -> None:
    async with listening(client, thread, stream_mode=["lifecycle", "state_update"]) as heard:
        await run(client, thread)
        await client.threads.update_state(thread, {"note": "x"})
        events = await heard_in_all(heard, 3)
    assert [part.event for part in events] == ["metadata", "metadata", "state_update"]


async def test_only_resumable_runs_are_replayed_from_the_beginning(client: Client, thread: str) -> None:
    first = await run(client, thread, stream_resumable=True)
    await run(client, thread)
    async with listening(client, thread, last_event_id="-") as heard:
        last = await run(client, thread)
        events = await heard_in_all(heard, 10)
    assert [part.data["run_id"] for part in events if part.event == "metadata"] == [first, first, last, last]


async def test_a_broken_stream_goes_on_after_its_last_event(client: Client, thread: str) -> None:
    async with listening(client, thread) as heard:
        await run(client, thread, stream_resumable=True)
        before = list(await heard_in_all(heard, 5))
    await run(client, thread, stream_resumable=True)
    async with listening(client, thread, last_event_id=before[2].id) as heard:
        after = await heard_in_all(heard, 7)
    assert after[:2] == before[3:]
    assert [part.event for part in after[2:]] == ["metadata", "values", "values", "values", "metadata"]


async def test_a_failure_is_heard(client: Client, thread: str) -> None:
    async with listening(client, thread) as heard:
        await client.runs.wait(thread, "failing", input={}, raise_error=False)
        events = await heard_in_all(heard, 4)
    assert [part.event for part in events] == ["metadata", "values", "error", "metadata"]
    assert events[-1].data["status"] == "run_done"


async def test_a_run_that_is_cancelled_while_it_waits_is_done(client: Client, thread: str) -> None:
    async with listening(client, thread, stream_mode="lifecycle") as heard:
        waiting = (await client.runs.create(thread, "counter", input={}, after_seconds=600))["run_id"]
        await client.runs.cancel(thread, waiting)
        [event] = await heard_in_all(heard, 1)
    assert event.data == done(waiting)


async def test_an_unknown_thread_is_silent_until_it_is_there(client: Client) -> None:
    thread = str(uuid4())
    async with listening(client, thread, stream_mode="lifecycle") as heard:
        await client.threads.create(thread_id=thread)
        run_id = await run(client, thread)
        assert [part.data.get("run_id") for part in await heard_in_all(heard, 2)] == [run_id, run_id]


async def test_the_stream_of_a_deleted_thread_ends(client: Client, thread: str) -> None:
    async def listen() -> int:
        return len([part async for part in await client.threads.join_stream(thread)])

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0.2)
    await client.threads.delete(thread)
    assert await asyncio.wait_for(listener, 20) == 0


@pytest.mark.parametrize(
    "query",
    ["stream_modes=lifecycle,state_update", "stream_mode=lifecycle&stream_mode=run_modes", "stream_modes=", "x=y"],
)
def test_modes_may_be_repeated_or_joined(http: httpx.Client, query: str) -> None:
    answer = http.head(f"/threads/{uuid4()}/stream?{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("stream_modes=zzz", "Invalid stream mode: zzz"),
        ("stream_mode=values", "Invalid stream mode: values"),
        ("stream_modes=lifecycle,zzz", "Invalid stream mode: zzz"),
    ],
)
def test_unknown_mode(http: httpx.Client, query: str, detail: str) -> None:
    answer = http.get(f"/threads/{uuid4()}/stream?{query}")
    assert (answer.status_code, answer.json()) == (422, {"detail": detail})


@pytest.mark.parametrize("last", ["-1", "garbage", "1-x", "--"])
def test_bad_last_event_id(http: httpx.Client, last: str) -> None:
    answer = http.get(f"/threads/{uuid4()}/stream", headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "Invalid last-event-id: must be a valid Redis stream ID",
    )


def test_bad_thread_id(http: httpx.Client) -> None:
    answer = http.get("/threads/nope/stream")
    assert (answer.status_code, answer.json()) == (422, {"detail": "Invalid thread ID: must be a UUID"})


def test_silence_is_filled_with_heartbeats(start_server: Callable[..., live.LiveServer]) -> None:
    server = start_server(live.CONTRACT_CONFIG, STREAM_HEARTBEAT_SECONDS="0.05")
    with httpx.stream("GET", f"{server.url}/threads/{uuid4()}/stream", timeout=20) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)] == [": heartbeat", "", ": heartbeat", ""]
        server.terminate()
        assert [line for line in lines if line.startswith("event")] == ["event: error"]
