"""A graph that writes far more events than a log keeps."""

import asyncio
from typing import Any

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

# Together 100 MB.
EVENTS, EVENT_BYTES = 1000, 100_000


class State(TypedDict, total=False):
    done: bool


async def flood(state: State) -> dict[str, Any]:
    write = get_stream_writer()
    for _ in range(EVENTS):
        write("x" * EVENT_BYTES)
        # The readers are served in between.
        await asyncio.sleep(0.002)
    return {"done": True}


graph = StateGraph(State).add_node("flood", flood).add_edge(START, "flood").add_edge("flood", END).compile()
