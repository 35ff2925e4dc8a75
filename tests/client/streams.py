"""What a stream sent, in the form tests compare."""

from collections.abc import AsyncIterator
from typing import Any

from langgraph_sdk.schema import StreamPart


async def collect(stream: AsyncIterator[StreamPart]) -> list[StreamPart]:
    return [part async for part in stream]


def names(parts: list[StreamPart]) -> list[str]:
    return [part.event for part in parts]


def data(parts: list[StreamPart], event: str) -> list[Any]:
    """The payloads of one kind of event."""
    return [part.data for part in parts if part.event == event]
