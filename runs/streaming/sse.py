"""Server-sent events as the contract frames them (WHATWG HTML, 9.2)."""

import asyncio
from collections.abc import AsyncGenerator, Container, Iterable

from django.conf import settings

from platform_site.core.events import Event, Subscription

# Tokens that come faster than a person sees are gathered: a chunk for each would cost several times as much. A stream
# flows after so many events in a row that came this close together, so that a first token is never held back, and
# until a chunk gathers fewer than a few.
FLOWS_AFTER = 8
FLOW_GAP_SECONDS = 0.005
GATHER_SECONDS = 0.02
GATHERS_AT_LEAST = 4
HEARTBEAT = b": heartbeat\r\n\r\n"


def frame(name: str, data: bytes, event_id: str | None = None) -> bytes:
    """One event; `data` is JSON and so holds no line break."""
    if event_id is None:
        return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), data)
    return b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (name.encode(), data, event_id.encode())


def frames(events: Iterable[Event], *, with_ids: bool, only: Container[str] | None = None) -> bytes:
    """Everything that waits, joined into one chunk; `only` keeps events of those modes."""
    return b"".join(
        frame(event.name, event.data, event.id if with_ids else None)
        for event in events
        if only is None or mode_of(event.name) in only
    )


def mode_of(name: str) -> str:
    """The stream mode that an event name belongs to: `values|child:1` to `values`, `messages/partial` to `messages`."""
    return name.partition("|")[0].partition("/")[0]


async def follow(
    subscription: Subscription, *, with_ids: bool, only: Container[str] | None = None
) -> AsyncGenerator[bytes, None]:
    """The frames of a run until its log is closed, with a heartbeat in every silence."""
    clock = asyncio.get_running_loop().time
    begun, last, close_together = clock(), 0.0, 0
    flows = False
    async with subscription:
        while (events := await subscription.batch(settings.STREAM_HEARTBEAT_SECONDS)) is not None:
            if events and flows:
                await asyncio.sleep(GATHER_SECONDS)
                events += await subscription.batch(0) or []
                flows = len(events) >= GATHERS_AT_LEAST
            else:
                close_together = close_together + 1 if clock() - last < FLOW_GAP_SECONDS else 0
                flows = close_together > FLOWS_AFTER
            chunk = frames(events, with_ids=with_ids, only=only) if events else HEARTBEAT
            if not chunk and clock() - max(begun, last) >= settings.STREAM_HEARTBEAT_SECONDS:
                # Events that this reader does not want are silence to it.
                chunk = HEARTBEAT
            if chunk:
                yield chunk
                last = clock()
