"""Joining a stream, replaying it, and going on where it broke."""

import asyncio

import httpx
import pytest

from tests import live
from tests.client.streams import collect, data, names
from tests.client.waiting import until, until_over
from tests.live import Client


async def test_finished_stream_without_replay_is_empty(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={})
    run = (await client.runs.list(thread))[0]
    assert await collect(client.runs.join_stream(thread, run["run_id"])) == []


async def test_running_stream_can_be_joined(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"ticks": 8, "delay": 0.1}, stream_mode=["custom", "values"])
    parts = await collect(client.runs.join_stream(thread, run["run_id"]))
    assert {"tick": 7} in data(parts, "custom")
    assert parts[-1].data["seen"] == ["warm", "done"]


async def test_joined_stream_can_be_narrowed_to_one_mode(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"ticks": 5, "delay": 0.1}, stream_mode=["custom", "values"])
    parts = await collect(client.runs.join_stream(thread, run["run_id"], stream_mode="custom"))
    assert set(names(parts)) == {"custom"}


async def test_several_readers_get_the_same_events(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"ticks": 5, "delay": 0.1}, stream_mode="custom")
    one, two = await asyncio.gather(
        *[collect(client.runs.join_stream(thread, run["run_id"], stream_mode="custom")) for _ in range(2)]
    )
    assert data(one, "custom")[-3:] == data(two, "custom")[-3:] == [{"tick": 2}, {"tick": 3}, {"tick": 4}]


async def test_ordinary_events_have_no_id(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={}))
    assert {part.id for part in parts} <= {None, ""}


async def test_resumable_run_is_replayed_from_the_beginning(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_resumable=True))
    run_id = parts[0].data["run_id"]
    again = await collect(client.runs.join_stream(thread, run_id, last_event_id="-1"))
    assert [(part.event, part.data, part.id) for part in again] == [(part.event, part.data, part.id) for part in parts]


@pytest.mark.usefixtures("not_the_reference")
async def test_resumable_run_goes_on_after_an_event(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_resumable=True))
    run_id = parts[0].data["run_id"]
    again = await collect(client.runs.join_stream(thread, run_id, last_event_id=parts[1].id))
    assert [part.data for part in again] == [part.data for part in parts[2:]]


@pytest.mark.usefixtures("not_the_reference")
async def test_event_ids_increase(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_resumable=True))
    ids = [tuple(int(number) for number in str(part.id).split("-")) for part in parts]
    assert ids == sorted(set(ids))


async def test_broken_stream_goes_on_where_it_broke(
    client: Client, thread: str, server: live.LiveServer | live.RunningServer
) -> None:
    body = {"assistant_id": "slow", "input": {"ticks": 6, "delay": 0.2}, "stream_mode": "custom"}
    async with (
        httpx.AsyncClient(base_url=server.url) as http,
        http.stream("POST", f"/threads/{thread}/runs/stream", json={**body, "stream_resumable": True}) as first,
    ):
        location, last = first.headers["location"], ""
        async for line in first.aiter_lines():
            if line.startswith("id: "):
                last = line[4:]
            if '"tick":1' in line:
                break
    run_id = location.split("/")[4]
    rest = await collect(client.runs.join_stream(thread, run_id, last_event_id=last))
    ticks = [part["tick"] for part in data(rest, "custom")]
    assert ticks == list(range(ticks[0], 6))
    assert ticks[0] <= 2


async def test_run_goes_on_when_its_reader_goes_away(client: Client, thread: str) -> None:
    stream = client.runs.stream(thread, "slow", input={"ticks": 3, "delay": 0.1}, on_disconnect="continue")
    async for _ in stream:
        break
    await stream.aclose()
    run = (await client.runs.list(thread))[0]
    assert await until_over(client, thread, run["run_id"]) == "success"


async def test_run_is_cancelled_when_its_reader_goes_away(client: Client, thread: str) -> None:
    stream = client.runs.stream(thread, "slow", input={"ticks": 100, "delay": 0.1}, on_disconnect="cancel")
    async for _ in stream:
        break
    await stream.aclose()
    run = (await client.runs.list(thread))[0]
    assert await until_over(client, thread, run["run_id"]) == "interrupted"


async def test_run_is_cancelled_when_a_joined_reader_asked_for_it(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"ticks": 100, "delay": 0.1}, stream_mode="custom")
    stream = client.runs.join_stream(thread, run["run_id"], cancel_on_disconnect=True)
    async for _ in stream:
        break
    await stream.aclose()
    assert await until_over(client, thread, run["run_id"]) == "interrupted"


async def test_stream_of_a_cancelled_run_ends_without_an_error(client: Client, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input={"ticks": 100, "delay": 0.1}, stream_mode="custom")
    reading = asyncio.create_task(collect(client.runs.join_stream(thread, run["run_id"])))

    async def is_running() -> bool:
        return (await client.threads.get_state(thread))["next"] == ["tick"]

    await until(is_running)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert "error" not in names(await reading)


async def test_stream_of_an_unknown_run_is_an_error_event(client: Client, thread: str) -> None:
    parts = await collect(client.runs.join_stream(thread, "00000000-0000-7000-8000-000000000000"))
    assert data(parts, "error") == [{"error": "HTTPException", "message": "404: Run not found"}]
