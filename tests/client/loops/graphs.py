"""Factories and graphs that keep, in this module, what belongs to the event loop of its first use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class Pool:
    """A client with a task of its own, as drivers of databases have: `ask` raises on any loop but the first."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, word: str) -> str:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._asked: asyncio.Queue[tuple[str, asyncio.Future[str]]] = asyncio.Queue()
            self._task = asyncio.create_task(self._work())
        answer: asyncio.Future[str] = self._loop.create_future()
        self._asked.put_nowait((word, answer))
        return await answer

    async def _work(self) -> None:
        while True:
            word, answer = await self._asked.get()
            answer.set_result(word.upper())


class State(TypedDict, total=False):
    asked: str
    got: str


def graph_with(pool: Pool, *, said: str = "") -> Any:
    """A graph whose node and whose branch ask the pool."""

    async def say(state: State) -> State:
        return {"got": said + await pool.ask(state.get("asked", ""))}

    async def branch(state: State) -> str:
        await pool.ask("whither")
        return END

    return StateGraph(State).add_node("say", say).add_edge(START, "say").add_conditional_edges("say", branch, [END])


function_pool, manager_pool, returned_pool, module_pool = Pool(), Pool(), Pool(), Pool()


async def function(config: dict[str, Any]) -> Any:
    return graph_with(function_pool, said=await function_pool.ask("f:"))


@asynccontextmanager
async def manager(config: dict[str, Any]) -> AsyncIterator[Any]:
    # Cancel scopes want to be left in the task that entered them, as in clients of MCP.
    async with asyncio.timeout(60):
        yield graph_with(manager_pool, said=await manager_pool.ask("m:"))
        await manager_pool.ask("bye")


def returned(config: dict[str, Any]) -> Any:
    @asynccontextmanager
    async def entered() -> AsyncIterator[Any]:
        yield graph_with(returned_pool, said=await returned_pool.ask("r:"))

    return entered()


module = graph_with(module_pool).compile()
