"""Server-sent events as the contract frames them."""

import asyncio
from typing import Any
from uuid import uuid4

from platform_site.core.events import BEGIN, Event, event_log
from runs.streaming.sse import HEARTBEAT, follow, frame, frames, mode_of


def test_frame_has_crlf_and_one_line_of_data() -> None:
    assert frame("values", b'{"a":1}') == b'event: values\r\ndata: {"a":1}\r\n\r\n'


def test_id_follows_the_data() -> None:
    assert frame("values", b"{}", "1-0") == b"event: values\r\ndata: {}\r\nid: 1-0\r\n\r\n"


def test_everything_that_waits_is_one_chunk() -> None:
    events = [Event("1-0", "a", b"1"), Event("1-1", "b", b"2")]
    assert frames(events, with_ids=False) == frame("a", b"1") + frame("b", b"2")


def test_only_events_of_the_modes_asked_for() -> None:
    names = ("metadata", b"1"), ("values|child:1", b"2"), ("messages/partial", b"3")
    events = [Event(f"1-{n}", *event) for n, event in enumerate(names)]
    assert frames(events, with_ids=False, only={"values"}) == frame("values|child:1", b"2")
    assert frames(events, with_ids=False, only={"messages"}) == frame("messages/partial", b"3")


def test_mode_of_an_event_name() -> None:
    assert [mode_of(name) for name in ("values", "values|a:1|b:2", "messages/metadata", "messages|a:1")] == [
        "values",
        "values",
        "messages",
        "messages",
    ]


async def read(name: str, **options: Any) -> bytes:
    chunks = [chunk async for chunk in follow(event_log().subscribe(name, BEGIN), **({"with_ids": False} | options))]
    return b"".join(chunks)


async def test_stream_ends_with_the_log_and_has_no_end_event() -> None:
    name = str(uuid4())
    event_log().append(name, "values", b"1")
    event_log().close(name, b"null")
    assert await read(name) == frame("values", b"1")


async def test_silence_is_filled_with_heartbeats(settings: Any) -> None:
    settings.STREAM_HEARTBEAT_SECONDS = 0.02
    name = str(uuid4())
    asyncio.get_running_loop().call_later(0.1, event_log().close, name, b"null")
    chunk = await read(name)
    assert chunk
    assert chunk == HEARTBEAT * (len(chunk) // len(HEARTBEAT))


async def test_events_of_other_modes_do_not_take_the_heartbeat_away(settings: Any) -> None:
    settings.STREAM_HEARTBEAT_SECONDS = 0.05
    name, loop = str(uuid4()), asyncio.get_running_loop()
    for n in range(20):
        loop.call_later(0.02 * n, event_log().append, name, "debug", b"1")
    loop.call_later(0.4, event_log().close, name, b"null")
    assert HEARTBEAT in await read(name, only={"values"})
