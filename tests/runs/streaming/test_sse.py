"""Server-sent events as the contract frames them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self
from uuid import uuid4

import orjson
import pytest

from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import BEGIN, Event, EventsLost
from runs.streaming.sse import HEARTBEAT, NOT_KEPT, follow, frame, frames, mode_of, until_closed


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


# --- Readers that are cut off ------------------------------------------------------------------------


def cut(log: Any, name: str) -> None:
    """What no log keeps beside its newest event."""
    for number in range(3):
        log.append(name, "values", b'"%d%s"' % (number, b"x" * 900))


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A log that keeps a kilobyte of each run."""
    log = event_log()
    monkeypatch.setattr(log, "_max_bytes", 1000)
    return log


def error_of(chunks: bytes) -> tuple[dict[str, str], str | None]:
    """The data and the id of the last frame."""
    last = chunks.decode().split("\r\n\r\n")[-2].split("\r\n")
    assert last[0] == "event: error"
    return orjson.loads(last[1].removeprefix("data: ")), last[2].removeprefix("id: ") if len(last) > 2 else None


async def test_reader_that_is_overtaken_gets_what_it_could_have_and_then_an_error(small_log: Any) -> None:
    name = str(uuid4())
    small_log.append(name, "values", b"1")
    stream = follow(small_log.subscribe(name, BEGIN), with_ids=False)
    assert await anext(stream) == frame("values", b"1")
    cut(small_log, name)
    rest = b"".join([chunk async for chunk in stream])
    error, event_id = error_of(rest)
    assert rest.count(b"event: ") == 1
    assert error == {"error": "EventsLost", "message": NOT_KEPT}
    assert "Read the state" in NOT_KEPT
    assert event_id is None


async def test_resumable_stream_names_the_id_to_join_from(small_log: Any) -> None:
    name = str(uuid4())
    small_log.begin(name, None, resumable=True)
    small_log.append(name, "values", b"1")
    stream = follow(small_log.subscribe(name, BEGIN), with_ids=True)
    await anext(stream)
    cut(small_log, name)
    error, event_id = error_of(b"".join([chunk async for chunk in stream]))
    assert error["error"] == "EventsLost"
    assert error["last_event_id"] == event_id
    assert f"Last-Event-ID: {event_id}" in error["message"]
    [kept] = await small_log.subscribe(name, event_id).batch(0)
    assert kept.data.startswith(b'"2')


async def test_what_was_gathered_before_a_loss_is_sent_before_the_error(small_log: Any) -> None:
    """The loss is found by the second look, which takes what came while the first batch waited to be sent."""

    class Flowing:
        outcome = None
        told = 0

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *exc: object) -> None:
            pass

        async def batch(self, timeout: float | None) -> list[Event] | None:
            if timeout == 0:
                raise EventsLost("3-0", resumable=True)
            self.told += 1
            return [Event(f"1-{self.told}", "values", b"%d" % self.told)]

    flowing = Flowing()
    chunks = [chunk async for chunk in follow(flowing, with_ids=False)]
    assert chunks[-1].startswith(frame("values", b"%d" % flowing.told) + b"event: error\r\n")
    assert error_of(chunks[-1])[1] == "3-0"


async def test_error_reaches_readers_of_any_mode(small_log: Any) -> None:
    name = str(uuid4())
    small_log.append(name, "values", b"1")
    stream = follow(small_log.subscribe(name, BEGIN), with_ids=False, only={"values"})
    await anext(stream)
    cut(small_log, name)
    assert error_of(b"".join([chunk async for chunk in stream]))[0]["error"] == "EventsLost"


async def test_who_waits_for_the_end_is_not_cut_off(small_log: Any) -> None:
    name = str(uuid4())
    subscription = small_log.subscribe(name, None)
    waiting = asyncio.ensure_future(_all(until_closed(subscription)))
    await asyncio.sleep(0)
    for _ in range(2):
        cut(small_log, name)
        # It is woken, and told of the loss.
        for _ in range(5):
            await asyncio.sleep(0)
    assert not waiting.done()
    small_log.close(name, b'{"answer":42}')
    assert await waiting == b""
    assert subscription.outcome == b'{"answer":42}'


async def _all(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])
