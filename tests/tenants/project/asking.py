"""A graph that sends requests with the SDK, in its node or in a thread that does not know the run."""

import asyncio
import threading
from typing import Any

from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    # [{"method", "path", "json", "headers"}]
    asked: Any
    outside: bool
    answers: list[Any]


async def send(asked: Any) -> list[Any]:
    answers = []
    async with get_client() as client:
        for request in asked if isinstance(asked, list) else ():
            answer = await client.http.client.request(**request)
            answers.append({"status": answer.status_code, "headers": dict(answer.headers), "text": answer.text})
    return answers


async def ask(state: State) -> State:
    if not state.get("outside"):
        return {"answers": await send(state.get("asked"))}
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(asyncio.run(send(state.get("asked")))))
    thread.start()
    await asyncio.to_thread(thread.join)
    return {"answers": found}


graph = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
