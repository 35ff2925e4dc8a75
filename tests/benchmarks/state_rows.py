"""Rows about checkpoints: what a step costs, and reading state and history."""

import asyncio
import statistics
from time import perf_counter

from .client import BadAnswer, call, connections
from .measures import Metrics, percentile, repeat, spread
from .rows_of import Line, Row, new_thread, run_body
from .scale import Scale
from .servers import Server


async def walk(server: Server, steps: int, durability: str) -> tuple[str, float]:
    """One run of that many supersteps on a new thread; the thread and the milliseconds the run took."""
    thread = await new_thread(server.address)
    body = run_body(
        "steps",
        {"step": 0, "steps": steps},
        durability=durability,
        config={"recursion_limit": steps + 10},
    )
    async with connections(server.address, 1) as (connection,):
        request, began = server.address.request("POST", f"/threads/{thread}/runs/wait", body), perf_counter()
        answer = (await connection.send(request)).check().json()
        took = perf_counter() - began
    if answer.get("step") != steps:
        raise BadAnswer(f"{steps} steps ended with {answer}")
    return thread, took * 1000


async def steps(server: Server, scale: Scale) -> Metrics:
    """The whole run over its steps, and what each step after the first adds: the run's start and end taken out."""
    metrics: Metrics = {}
    for durability in ("sync", "async"):
        await walk(server, scale.steps, durability)
        long, short, end = list[float](), list[float](), perf_counter() + scale.seconds
        while len(long) < 2 or perf_counter() < end:
            long.append((await walk(server, scale.steps, durability))[1])
            short.append((await walk(server, 1, durability))[1])
        whole = statistics.median(long)
        metrics[f"steps_{durability}"] = whole / scale.steps
        metrics |= spread(f"steps_{durability}", [took / 1000 / scale.steps for took in long])
        metrics[f"step_{durability}"] = (whole - statistics.median(short)) / (scale.steps - 1)
    return metrics


async def history(server: Server, scale: Scale) -> Metrics:
    if "history" not in server.prepared:
        server.prepared["history"] = (await walk(server, scale.steps, "sync"))[0]
    path = f"/threads/{server.prepared['history']}/history"
    found = await call(server.address, "POST", path, {"limit": scale.steps})
    if len(found) != scale.steps:
        raise BadAnswer(f"a history of {scale.steps} checkpoints has {len(found)}")
    request = server.address.request("POST", path, {"limit": scale.steps})
    load = await repeat(server, 1, scale.seconds, lambda client, number: request)
    return {"history": load.median_ms, **load.figures("history")}


# --- Large states -----------------------------------------------------------------------------------
async def grown_thread(server: Server, messages: int) -> str:
    """Return a thread whose conversation grew by one message in each of so many steps."""
    thread = await new_thread(server.address)
    body = run_body(
        "growing",
        {"messages": [], "steps": messages},
        durability="async",
        config={"recursion_limit": messages + 10},
    )
    found = await call(server.address, "POST", f"/threads/{thread}/runs/wait", body)
    if len(found["messages"]) != messages:
        raise BadAnswer(f"{messages} steps ended with {len(found['messages'])} messages")
    return thread


async def history_large(server: Server, scale: Scale) -> Metrics:
    """The first read of the history of several fresh threads, and reading that of one of them again and again."""
    threads = [await grown_thread(server, scale.steps) for _ in range(scale.cold_threads)]
    cold = list[float]()
    async with connections(server.address, 1) as (connection,):
        for thread in threads:
            request = server.address.request("POST", f"/threads/{thread}/history", {"limit": scale.steps})
            began = perf_counter()
            answer = (await connection.send(request)).check()
            cold.append(perf_counter() - began)
            if len(answer.json()) != scale.steps:
                raise BadAnswer(f"a history of {scale.steps} checkpoints has {len(answer.json())}")
    load = await repeat(server, 1, scale.seconds, lambda client, number: request)
    return {
        "history_cold": statistics.median(cold) * 1000,
        **spread("history_cold", cold),
        "history_again": load.median_ms,
        **load.figures("history_again"),
        "history_tail": percentile(load.latencies, 0.95) * 1000 / load.median_ms,
        "history_size": len(answer.body) / 1000,
    }


async def get_state(server: Server, scale: Scale) -> Metrics:
    """Each client reads the state of a thread of its own."""
    if "grown" not in server.prepared:
        work = (grown_thread(server, scale.messages) for _ in range(scale.clients))
        server.prepared["grown"] = await asyncio.gather(*work)
    threads: list[str] = server.prepared["grown"]  # type: ignore[assignment]
    requests = [server.address.request("GET", f"/threads/{thread}/state") for thread in threads]
    load = await repeat(server, scale.clients, scale.seconds, lambda client, number: requests[client])
    return {"get_state": load.rate, "get_state_cpu": load.cpu_ms, **load.figures("get_state")}


STATE_ROWS = (
    Row(
        "steps",
        steps,
        (
            Line("steps_sync", "run of 50 supersteps / 50, durability sync", "ms", 2),
            Line("step_sync", "  each superstep after the first", "ms"),
            Line("steps_async", "run of 50 supersteps / 50, durability async", "ms", 2),
            Line("step_async", "  each superstep after the first", "ms"),
        ),
        in_process=True,
    ),
    Row("history", history, (Line("history", "history of 50 checkpoints, c=1, median", "ms", 13),), in_process=True),
    Row(
        "history_large",
        history_large,
        (
            Line("history_cold", "history of 50 steps, 450 kB, first read", "ms", 15),
            Line("history_again", "  again, median", "ms", 4),
            Line("history_tail", "  again, p95 to median", "x", 2.5),
            Line("history_size", "  size of the answer", "kB"),
        ),
    ),
    Row(
        "get_state",
        get_state,
        (
            Line("get_state", "get state of 50 messages, c=32", "/s", 1500, higher=True),
            Line("get_state_cpu", "  CPU a request", "ms"),
        ),
    ),
)
