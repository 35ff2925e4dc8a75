"""Readers that do not keep up with a run: the run goes on, and they are told what they have lost.

The state has five megabytes and the run twenty steps, so that its stream is far larger than what is kept of a run, and
than what the sockets between server and client take.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from langgraph_sdk.schema import StreamPart

from tests import live
from tests.client.large_graphs import STEPS
from tests.client.streams import collect
from tests.client.waiting import until_over
from tests.live import Client

# What the reader is stopped with until the run has ended: nothing that the run does waits for it.
RUN: dict[str, Any] = {
    "assistant_id": "large_steps",
    "input": {"step": 0},
    "stream_mode": "values",
    "durability": "exit",
}


@pytest.fixture
async def http(other_server: live.LiveServer | live.RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=other_server.url, timeout=60) as client:
        yield client


async def frames(answer: httpx.Response) -> AsyncIterator[StreamPart]:
    """The events of a stream, as they stand in it."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, text = line.partition(": ")
        if name:
            fields[name] = text
        elif fields:
            yield StreamPart(fields["event"], orjson.loads(fields["data"]), fields.get("id"))
            fields = {}


async def read_slowly(http: httpx.AsyncClient, client: Client, thread: str, **options: Any) -> list[StreamPart]:
    """Read the first event, wait until the run has ended, and read on."""
    request = {**RUN, **options}
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=request) as answer:
        events = frames(answer)
        first = await anext(events)
        assert await until_over(client, thread, first.data["run_id"]) == "success"
        return [first, *[event async for event in events]]


def steps(events: list[StreamPart]) -> list[int]:
    """The steps of the states that were streamed; that of the input is 0."""
    return [event.data["step"] for event in events if event.event == "values"]


async def test_slow_reader_is_told_to_read_the_state(http: httpx.AsyncClient, other: Client, other_thread: str) -> None:
    events = await read_slowly(http, other, other_thread)
    read = steps(events)
    assert read == list(range(len(read)))
    assert len(read) <= STEPS
    assert events[-1].event == "error"
    error = events[-1].data
    assert error["error"] == "EventsLost"
    assert "Read the state of the thread" in error["message"]
    assert (await other.threads.get_state(other_thread))["values"]["step"] == STEPS


async def test_slow_reader_of_a_resumable_run_joins_from_the_id_that_it_is_told(
    http: httpx.AsyncClient, other: Client, other_thread: str
) -> None:
    events = await read_slowly(http, other, other_thread, stream_resumable=True)
    assert events[-1].event == "error"
    error, run_id = events[-1].data, events[0].data["run_id"]
    assert error["last_event_id"] == events[-1].id
    rest = await collect(other.runs.join_stream(other_thread, run_id, last_event_id=error["last_event_id"]))
    kept = steps(rest)
    assert kept == list(range(kept[0], STEPS + 1))
    assert len(kept) >= 3
    # Nothing that is kept is left out.
    replay = await collect(other.runs.join_stream(other_thread, run_id, last_event_id="-1"))
    assert [part.id for part in replay] == [part.id for part in rest]


async def test_official_client_that_reads_slowly_gets_the_error_as_the_last_part(
    other: Client, other_thread: str
) -> None:
    stream = other.runs.stream(other_thread, **RUN, stream_resumable=True)
    first = await anext(stream)
    assert await until_over(other, other_thread, first.data["run_id"]) == "success"
    parts = await collect(stream)
    assert parts[-1].event == "error"
    assert parts[-1].data["error"] == "EventsLost"
    rest = await collect(other.runs.join_stream(other_thread, first.data["run_id"], last_event_id=parts[-1].id))
    assert steps(rest)[-1] == STEPS
    assert "error" not in {part.event for part in rest}


async def test_join_after_an_event_that_is_not_kept_any_more_says_so(
    http: httpx.AsyncClient, other: Client, other_thread: str
) -> None:
    events = await read_slowly(http, other, other_thread, stream_resumable=True)
    run_id = events[0].data["run_id"]
    late = await collect(other.runs.join_stream(other_thread, run_id, last_event_id=events[0].id))
    assert [part.event for part in late] == ["error"]
    assert late[0].data["last_event_id"] == events[-1].id


async def test_slow_reader_of_a_thread_goes_on_from_the_id_that_it_is_told(
    http: httpx.AsyncClient, other: Client, other_thread: str
) -> None:
    place = f"/threads/{other_thread}/stream"
    async with http.stream("GET", place) as answer:
        run = await other.runs.create(
            other_thread,
            RUN["assistant_id"],
            input=RUN["input"],
            stream_mode="values",
            durability="exit",
            stream_resumable=True,
        )
        assert await until_over(other, other_thread, run["run_id"]) == "success"
        events = [event async for event in frames(answer)]
    assert events[-1].event == "error"
    assert events[-1].data["last_event_id"] == events[-1].id
    rest = []
    async with http.stream("GET", place, headers={"Last-Event-ID": str(events[-1].id)}) as answer:
        async for event in frames(answer):
            rest.append(event)
            if event.data.get("status") == "run_done":
                break
    kept = steps(rest)
    assert kept == list(range(kept[0], STEPS + 1))


async def test_who_only_waits_for_the_outcome_is_not_cut_off(other: Client, other_thread: str) -> None:
    values = await other.runs.wait(other_thread, RUN["assistant_id"], input=RUN["input"], durability="exit")
    assert values["step"] == STEPS
