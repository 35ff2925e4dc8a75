"""Server-sent events as the contract frames them (WHATWG HTML, 9.2)."""

import asyncio
from collections.abc import AsyncGenerator, Container, Iterable

from django.conf import settings

from platform_site.core.events.interface import Event, EventsLost, Subscription
from platform_site.core.telemetry import metrics
from platform_site.core.wire import encode

# Tokens that come faster than a person sees are gathered: a chunk for each would cost several times as much. A stream
# flows after so many events in a row that came this close together, so that a first token is never held back, and
# until a chunk gathers fewer than a few.
FLOWS_AFTER = 8
FLOW_GAP_SECONDS = 0.005
GATHER_SECONDS = 0.02
GATHERS_AT_LEAST = 4
HEARTBEAT = b": heartbeat\r\n\r\n"
# What a reader is told that cannot join the stream again.
NOT_KEPT = (
    "Events of this stream that you have not had are not kept any more. Read the state of the thread to see what the "
    "run has done, or wait for its outcome with join."
)


def frame(name: str, data: bytes, event_id: str | None = None) -> bytes:
    """Return the frame of one event. `data` is JSON and so holds no line break."""
    if event_id is None:
        return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), data)
    return b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (name.encode(), data, event_id.encode())


def frames(events: Iterable[Event], *, with_ids: bool, only: Container[str] | None = None) -> bytes:
    """Return all events joined into one chunk, or only those of the modes `only`."""
    return b"".join(
        frame(event.name, event.data, event.id if with_ids else None)
        for event in events
        if only is None or mode_of(event.name) in only
    )


def mode_of(name: str) -> str:
    """Return the mode that an event name belongs to: `values|child:1` to `values`, `messages/partial` to `messages`."""
    return name.partition("|")[0].partition("/")[0]


def cut_off(loss: EventsLost) -> bytes:
    """Return the last frame of a reader that events were lost to: an `error` that says how to go on.

    Where the stream may be joined, the frame's id and `last_event_id` are the id to join from.
    """
    body = {"error": "EventsLost"}
    if not loss.resumable:
        return frame("error", encode({**body, "message": NOT_KEPT}))
    body["message"] = (
        f"Events up to {loss.kept_after} are not kept any more, and this reader has not had all of them. Join the "
        f"stream with the header Last-Event-ID: {loss.kept_after} (last_event_id in the SDKs) to get everything later. "
        "The run may have dropped more by then: -1 in place of the id begins with whatever is kept."
    )
    return frame("error", encode({**body, "last_event_id": loss.kept_after}), loss.kept_after)


async def follow(
    subscription: Subscription, *, with_ids: bool, only: Container[str] | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield the frames of a run until its log is closed, with a heartbeat in every silence.

    A reader that events are lost to gets what was there before the loss, and then an `error` event as the last one.
    """
    clock = asyncio.get_running_loop().time
    begun, last, close_together = clock(), 0.0, 0
    flows = False
    loss: EventsLost | None = None
    async with subscription:
        while loss is None:
            events, loss = await _batch(subscription, settings.STREAM_HEARTBEAT_SECONDS)
            if events is None:
                return
            if events and flows:
                await asyncio.sleep(GATHER_SECONDS)
                more, loss = await _batch(subscription, 0)
                events += more or []
                flows = len(events) >= GATHERS_AT_LEAST
            else:
                close_together = close_together + 1 if clock() - last < FLOW_GAP_SECONDS else 0
                flows = close_together > FLOWS_AFTER
            chunk = frames(events, with_ids=with_ids, only=only) if events else HEARTBEAT
            if loss is not None:
                metrics.reader_cut_off()
                chunk = (chunk if events else b"") + cut_off(loss)
            elif not chunk and clock() - max(begun, last) >= settings.STREAM_HEARTBEAT_SECONDS:
                # Events that this reader does not want are silence to it.
                chunk = HEARTBEAT
            if chunk:
                yield chunk
                last = clock()


async def _batch(subscription: Subscription, timeout: float) -> tuple[list[Event] | None, EventsLost | None]:
    """Return the next batch, which is empty where the events that follow are lost, and that loss."""
    try:
        return await subscription.batch(timeout), None
    except EventsLost as loss:
        return [], loss


async def until_closed(subscription: Subscription) -> AsyncGenerator[bytes, None]:
    """Yield a line break in every silence until the log is closed.

    This is for those who wait for the end of a run and nothing else, so lost events are no error here.
    """
    async with subscription:
        while True:
            events, loss = await _batch(subscription, settings.STREAM_HEARTBEAT_SECONDS)
            if events is None:
                return
            if not events and loss is None:
                yield b"\n"
