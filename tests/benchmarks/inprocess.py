"""The same work with no server: `ainvoke` and `astream` of the same graphs, in a process of their own.

`python -m tests.benchmarks.inprocess` reads lines `{"row": ..., "scale": {...}}` and answers each with one of metrics.
Stateless rows keep checkpoints in memory, the others in LangGraph's own SQLite saver with synchronous=NORMAL.
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import uvloop
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from . import graphs
from .measures import Metrics
from .rows import HAIKU
from .scale import Scale


def thread_config(**more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid.uuid4())}, **more}  # type: ignore[typeddict-item]


def in_memory(graph: Any) -> Any:
    return graph.copy(update={"checkpointer": InMemorySaver()})


@contextlib.asynccontextmanager
async def durable(graph: Any) -> AsyncIterator[Any]:
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncSqliteSaver.from_conn_string(str(Path(directory) / "checkpoints.sqlite3")) as saver:
            await saver.conn.execute("PRAGMA journal_mode=WAL")
            await saver.conn.execute("PRAGMA synchronous=NORMAL")
            yield graph.copy(update={"checkpointer": saver})


async def repeated(seconds: float, work: Callable[[], Awaitable[Any]], least: int = 1) -> list[float]:
    await work()
    taken, end = list[float](), perf_counter() + seconds
    while len(taken) < least or perf_counter() < end:
        began = perf_counter()
        await work()
        taken.append(perf_counter() - began)
    return taken


async def wait_one(scale: Scale) -> Metrics:
    async def work() -> None:
        await in_memory(graphs.one_node).ainvoke({"value": 1}, thread_config())

    return {"wait_one": statistics.median(await repeated(scale.seconds, work)) * 1000}


async def wait_crowd(scale: Scale) -> Metrics:
    async def work() -> None:
        await in_memory(graphs.one_node).ainvoke({"value": 1}, thread_config())

    cpu, began = process_time(), perf_counter()
    taken = await asyncio.gather(*(repeated(scale.seconds, work) for _ in range(scale.crowd)))
    count = sum(map(len, taken)) + scale.crowd
    return {"wait_crowd": count / (perf_counter() - began), "wait_crowd_cpu": (process_time() - cpu) * 1000 / count}


async def wait_thread(scale: Scale) -> Metrics:
    async with durable(graphs.one_node) as graph:

        async def client() -> list[float]:
            config = thread_config()
            return await repeated(scale.seconds, lambda: graph.ainvoke({"value": 1}, config))

        cpu, began = process_time(), perf_counter()
        taken = await asyncio.gather(*(client() for _ in range(scale.clients)))
        count = sum(map(len, taken)) + scale.clients
        took, used = perf_counter() - began, process_time() - cpu
        return {"wait_thread": count / took, "wait_thread_cpu": used * 1000 / count}


async def first_token(scale: Scale) -> Metrics:
    value = {**HAIKU, "tokens": 20}

    async def once(graph: Any) -> float:
        began, first = perf_counter(), 0.0
        async for _ in graph.astream(value, thread_config(), stream_mode="messages"):
            first = first or perf_counter() - began
        return first

    async def median(graph: Callable[[], Any]) -> float:
        taken, end = list[float](), perf_counter() + scale.seconds / 2
        await once(graph())
        while len(taken) < 3 or perf_counter() < end:
            taken.append(await once(graph()))
        return statistics.median(taken) * 1000

    async with durable(graphs.tokens) as graph:
        return {
            "first_token": await median(lambda: in_memory(graphs.tokens)),
            "first_token_thread": await median(lambda: graph),
        }


async def streamed(scale: Scale, graph: Any, value: dict[str, Any], mode: str) -> tuple[float, float]:
    """Events a second, and microseconds of CPU for one."""

    async def stream() -> int:
        return sum([1 async for _ in in_memory(graph).astream(value, thread_config(), stream_mode=mode)])

    cpu, began = process_time(), perf_counter()
    count = sum(await asyncio.gather(*(stream() for _ in range(scale.streams))))
    return count / (perf_counter() - began), (process_time() - cpu) * 1e6 / count


async def tokens(scale: Scale) -> Metrics:
    rate, cpu = await streamed(scale, graphs.tokens, {**HAIKU, "tokens": scale.tokens}, "messages")
    return {"tokens": rate, "tokens_cpu": cpu}


async def custom(scale: Scale) -> Metrics:
    rate, cpu = await streamed(scale, graphs.custom, {"tokens": scale.tokens}, "custom")
    return {"custom": rate, "custom_cpu": cpu}


async def asleep(graph: Any, count: int, seconds: float) -> float:
    began = perf_counter()
    await asyncio.gather(*(in_memory(graph).ainvoke({"seconds": seconds}, thread_config()) for _ in range(count)))
    return perf_counter() - began


async def sleep_async(scale: Scale) -> Metrics:
    return {"sleep_async": await asleep(graphs.sleep_async, scale.async_sleepers, scale.sleep)}


async def sleep_sync(scale: Scale) -> Metrics:
    return {"sleep_sync": await asleep(graphs.sleep_sync, scale.sync_sleepers, scale.sleep)}


async def steps(scale: Scale) -> Metrics:
    metrics: Metrics = {}
    async with durable(graphs.steps) as graph:
        for durability in ("sync", "async"):

            async def median(count: int, durability: str = durability) -> float:
                config, value = {"recursion_limit": scale.steps + 10}, {"step": 0, "steps": count}
                taken = await repeated(
                    scale.seconds / 4,
                    lambda: graph.ainvoke(value, thread_config(**config), durability=durability),
                    2,
                )
                return statistics.median(taken) * 1000

            whole = await median(scale.steps)
            metrics[f"steps_{durability}"] = whole / scale.steps
            metrics[f"step_{durability}"] = (whole - await median(1)) / (scale.steps - 1)
    return metrics


async def history(scale: Scale) -> Metrics:
    async with durable(graphs.steps) as graph:
        config = thread_config(recursion_limit=scale.steps + 10)
        await graph.ainvoke({"step": 0, "steps": scale.steps}, config)

        async def work() -> None:
            found = [state async for state in graph.aget_state_history(config, limit=scale.steps)]
            assert len(found) == scale.steps

        return {"history": statistics.median(await repeated(scale.seconds / 2, work)) * 1000}


WORK: dict[str, Callable[[Scale], Awaitable[Metrics]]] = {
    work.__name__: work
    for work in (
        wait_one,
        wait_crowd,
        wait_thread,
        first_token,
        tokens,
        custom,
        sleep_async,
        sleep_sync,
        steps,
        history,
    )
}


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(500))
    # Lines are read off the loop and between measurements only; whatever a graph prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        metrics = await WORK[order["row"]](Scale(**order["scale"]))
        print(json.dumps(metrics), file=answers, flush=True)


if __name__ == "__main__":
    os.environ["LANGSMITH_TRACING"] = "false"
    uvloop.run(main())
