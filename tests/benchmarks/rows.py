"""The rows of the benchmark: what each one asks of a server, and the figure it has to reach."""

import asyncio
import os
import statistics
import uuid
from time import perf_counter
from typing import Any

from .client import BadAnswer, Connection, call, connections
from .measures import Crowd, Metrics, at_once, first_mark, percentile, read_streams, repeat, require_events, spread
from .rows_of import Line, Row, new_thread, run_body
from .scale import Scale
from .servers import Server

HAIKU = {"messages": [{"role": "user", "content": "Say something long."}]}
MESSAGES, CUSTOM = b"event: messages", b"event: custom"


# --- Threads ----------------------------------------------------------------------------------------
def thread_metadata(number: int, people: int, batch: str) -> dict[str, Any]:
    return {
        "user": f"user-{number % people}-{batch}",
        "tier": "gold" if number % 3 else "free",
        "source": {"channel": "web", "locale": "de"},
        "tags": ["benchmark", f"day-{number % 7}"],
        "number": number,
    }


async def seeded(server: Server, scale: Scale) -> tuple[list[str], str]:
    """Thread ids and the batch they were made in: `scale.threads` of them, `scale.matching` for each user."""
    if "threads" not in server.prepared:
        batch, people = uuid.uuid4().hex[:8], max(1, scale.threads // scale.matching)
        numbers, ids = iter(range(scale.threads)), list[str]()

        async def create(connection: Connection) -> None:
            for number in numbers:
                body = {"metadata": thread_metadata(number, people, batch)}
                answer = await connection.send(server.address.request("POST", "/threads", body))
                ids.append(answer.check().json()["thread_id"])

        async with connections(server.address, 16) as opened:
            await asyncio.gather(*(create(connection) for connection in opened))
        server.prepared["threads"] = ids, batch
    threads: tuple[list[str], str] = server.prepared["threads"]  # type: ignore[assignment]
    return threads


async def create_thread(server: Server, scale: Scale) -> Metrics:
    request = server.address.request("POST", "/threads", {"metadata": {"user": "somebody", "tier": "gold"}})
    load = await repeat(server, scale.clients, scale.seconds, lambda client, number: request)
    return {"create_thread": load.rate, "create_thread_cpu": load.cpu_ms, **load.figures("create_thread")}


async def get_thread(server: Server, scale: Scale) -> Metrics:
    ids, _ = await seeded(server, scale)
    requests = [server.address.request("GET", f"/threads/{thread}") for thread in ids]
    load = await repeat(
        server, scale.clients, scale.seconds, lambda client, number: requests[number * 7919 % len(requests)]
    )
    return {"get_thread": load.rate, "get_thread_cpu": load.cpu_ms, **load.figures("get_thread")}


async def search_threads(server: Server, scale: Scale) -> Metrics:
    _, batch = await seeded(server, scale)
    people = max(1, scale.threads // scale.matching)
    bodies = [{"metadata": {"user": f"user-{person}-{batch}"}, "limit": 10} for person in range(people)]
    found = await call(server.address, "POST", "/threads/search", bodies[0])
    if len(found) != 10 or any(thread["metadata"]["user"] != f"user-0-{batch}" for thread in found):
        raise BadAnswer(f"a search that matches {scale.matching} threads gave {len(found)} with limit 10")
    requests = [server.address.request("POST", "/threads/search", body) for body in bodies]
    load = await repeat(
        server, scale.clients, scale.seconds, lambda client, number: requests[number * 13 % len(requests)]
    )
    return {"search_threads": load.rate, "search_threads_cpu": load.cpu_ms, **load.figures("search_threads")}


async def many_threads(server: Server, scale: Scale) -> str:
    """`scale.many_threads` threads, a hundredth of them with a state; the batch they were made in."""
    if "many threads" not in server.prepared:
        batch, numbers = uuid.uuid4().hex[:8], iter(range(scale.many_threads))

        async def create(connection: Connection) -> None:
            for number in numbers:
                body: dict[str, Any] = {"metadata": thread_metadata(number, scale.many_threads // 50, batch)}
                if number % 100 == 0:
                    body["metadata"]["graph_id"] = "steps"
                    update = {"values": {"step": number, "steps": number}, "as_node": "__start__"}
                    body["supersteps"] = [{"updates": [update]}]
                (await connection.send(server.address.request("POST", "/threads", body))).check()

        async with connections(server.address, 16) as opened:
            await asyncio.gather(*(create(connection) for connection in opened))
        server.prepared["many threads"] = batch
    return str(server.prepared["many threads"])


async def search_many(server: Server, scale: Scale) -> Metrics:
    batch = await many_threads(server, scale)
    user, orders = f"user-7-{batch}", ("thread_id", "status", "created_at", "updated_at", "state_updated_at")
    queries: list[dict[str, Any]] = [
        {},
        {"offset": 1000},
        {"status": "interrupted"},
        {"metadata": {"user": user}},
        {"metadata": {"user": user, "tier": "gold"}, "sort_by": "state_updated_at"},
        {"metadata": {"tier": "gold"}, "sort_by": "created_at"},
        {"metadata": {"number": 4711}},
        {"metadata": {"tags": ["day-3"], "source": {"locale": "de"}}},
        {"metadata": {"tags": ["no such day"]}},
        {"values": {"step": 500}},
        {"values": {"step": -1}},
        *({"sort_by": column, "sort_order": order} for column in orders for order in ("asc", "desc")),
    ]
    requests = [server.address.request("POST", "/threads/search", query) for query in queries]
    load = await repeat(server, 1, scale.seconds, lambda client, number: requests[number % len(requests)])
    return {"search_many": percentile(load.latencies, 0.95) * 1000, **load.figures("search_many")}


# --- Runs -------------------------------------------------------------------------------------------
async def wait_one(server: Server, scale: Scale) -> Metrics:
    request = server.address.request("POST", "/runs/wait", run_body("one_node", {"value": 1}))
    load = await repeat(server, 1, scale.seconds, lambda client, number: request)
    return {"wait_one": load.median_ms, **load.figures("wait_one")}


async def wait_crowd(server: Server, scale: Scale) -> Metrics:
    request = server.address.request("POST", "/runs/wait", run_body("one_node", {"value": 1}))
    load = await repeat(server, scale.crowd, scale.seconds, lambda client, number: request)
    return {"wait_crowd": load.rate, "wait_crowd_cpu": load.cpu_ms, **load.figures("wait_crowd")}


async def wait_thread(server: Server, scale: Scale) -> Metrics:
    threads = [await new_thread(server.address) for _ in range(scale.clients)]
    body = run_body("one_node", {"value": 1})
    requests = [server.address.request("POST", f"/threads/{thread}/runs/wait", body) for thread in threads]
    load = await repeat(server, scale.clients, scale.seconds, lambda client, number: requests[client])
    metrics = {"wait_thread": load.rate, "wait_thread_cpu": load.cpu_ms, **load.figures("wait_thread")}
    return {**metrics, "wait_thread_p95": metrics["wait_thread.p95"]}


async def sleepers(server: Server, graph: str, count: int, seconds: float) -> Crowd:
    await call(server.address, "POST", "/runs/wait", run_body(graph, {"seconds": 0}))
    return await at_once(
        server, count, server.address.request("POST", "/runs/wait", run_body(graph, {"seconds": seconds}))
    )


async def sleep_async(server: Server, scale: Scale) -> Metrics:
    return (await sleepers(server, "sleep_async", scale.async_sleepers, scale.sleep)).figures("sleep_async")


async def sleep_sync(server: Server, scale: Scale) -> Metrics:
    return (await sleepers(server, "sleep_sync", scale.sync_sleepers, scale.sleep)).figures("sleep_sync")


# --- Streams ----------------------------------------------------------------------------------------
async def first_token(server: Server, scale: Scale) -> Metrics:
    """On a thread of its own each time, and stateless."""
    stateless, threaded = list[float](), list[float]()
    body = run_body("tokens", {**HAIKU, "tokens": 20}, stream_mode="messages-tuple")
    request = server.address.request("POST", "/runs/stream", body)
    async with connections(server.address, 1) as (connection,):
        await first_mark(connection, request, MESSAGES)
        end = perf_counter() + scale.seconds
        while len(stateless) < 3 or perf_counter() < end:
            stateless.append(await first_mark(connection, request, MESSAGES))
            path = f"/threads/{await new_thread(server.address)}/runs/stream"
            threaded.append(await first_mark(connection, server.address.request("POST", path, body), MESSAGES))
    return {
        "first_token": statistics.median(stateless) * 1000,
        "first_token_thread": statistics.median(threaded) * 1000,
        **spread("first_token", stateless),
        **spread("first_token_thread", threaded),
    }


async def tokens(server: Server, scale: Scale) -> Metrics:
    body = run_body("tokens", {**HAIKU, "tokens": scale.tokens}, stream_mode="messages-tuple")
    request = server.address.request("POST", "/runs/stream", body)
    return (await read_streams(server, request, MESSAGES, scale.streams, scale.tokens)).figures("tokens")


async def custom(server: Server, scale: Scale) -> Metrics:
    body = run_body("custom", {"tokens": scale.tokens}, stream_mode="custom")
    request = server.address.request("POST", "/runs/stream", body)
    return (await read_streams(server, request, CUSTOM, scale.streams, scale.tokens)).figures("custom")


# --- Answering while a graph computes ---------------------------------------------------------------
async def burning(server: Server, graph: str, seconds: float) -> Metrics:
    """95th percentiles in ms of /ok and of get thread while one run of `graph` computes for `seconds`."""
    thread = await new_thread(server.address)
    body = run_body(graph, {"seconds": seconds}, stream_mode="custom")
    probes = {"ok": server.address.request("GET", "/ok")}
    probes["thread"] = server.address.request("GET", f"/threads/{thread}")
    taken: dict[str, list[float]] = {name: [] for name in probes}
    async with connections(server.address, 3) as (runner, *others):
        run, ended = runner.begin(server.address.request("POST", "/runs/stream", body), CUSTOM)
        started = asyncio.ensure_future(run.marked.wait())
        await asyncio.wait((started, ended), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        await asyncio.sleep(0.1)

        async def probe(name: str, connection: Connection) -> None:
            while not ended.done():
                sent = perf_counter()
                (await connection.send(probes[name])).check()
                taken[name].append(perf_counter() - sent)
                await asyncio.sleep(0.005)

        await asyncio.gather(*(probe(name, other) for name, other in zip(probes, others, strict=True)))
        require_events(await ended, 1)
    if not all(taken.values()):
        raise BadAnswer("the node was over before the server answered anything else")
    metrics: Metrics = {}
    for name, latencies in taken.items():
        metrics[f"{graph}_{name}"] = percentile(latencies, 0.95) * 1000
        metrics |= spread(f"{graph}_{name}", latencies)
    return metrics


async def burn_sync(server: Server, scale: Scale) -> Metrics:
    return await burning(server, "burn_sync", scale.burn)


async def burn_async(server: Server, scale: Scale) -> Metrics:
    return await burning(server, "burn_async", scale.burn)


ROWS = (
    Row(
        "create_thread",
        create_thread,
        (
            Line("create_thread", "create thread, c=32", "/s", 1500, higher=True),
            Line("create_thread_cpu", "  CPU a request", "ms"),
        ),
        last=True,
    ),
    Row(
        "get_thread",
        get_thread,
        (
            Line("get_thread", "get thread, c=32", "/s", 2000, higher=True),
            Line("get_thread_cpu", "  CPU a request", "ms"),
        ),
    ),
    Row(
        "search_threads",
        search_threads,
        (
            Line("search_threads", "search 5,000 threads by metadata, c=32", "/s", 900, higher=True),
            Line("search_threads_cpu", "  CPU a request", "ms"),
        ),
    ),
    Row(
        "search_many",
        search_many,
        (
            Line(
                "search_many",
                "search 100,000 threads in 21 ways, c=1, p95",
                "ms",
                50 if os.environ.get("DATABASE_URL") else 250,
            ),
        ),
        last=True,
        in_quick=False,
    ),
    Row(
        "wait_one",
        wait_one,
        (Line("wait_one", "stateless wait, one node, c=1, median", "ms", 5),),
        in_process=True,
    ),
    Row(
        "wait_crowd",
        wait_crowd,
        (
            Line("wait_crowd", "stateless wait, one node, c=256", "/s", 550, higher=True),
            Line("wait_crowd_cpu", "  CPU a run", "ms", 3),
        ),
        in_process=True,
    ),
    Row(
        "wait_thread",
        wait_thread,
        (
            Line("wait_thread", "threaded wait, one node, c=32", "/s", 380, higher=True),
            Line("wait_thread_p95", "  p95", "ms", 110),
            Line("wait_thread_cpu", "  CPU a run", "ms"),
        ),
        in_process=True,
    ),
    Row(
        "first_token",
        first_token,
        (
            Line("first_token", "first token, stateless, median", "ms", 8),
            Line("first_token_thread", "first token, on a new thread, median", "ms", 8),
        ),
        in_process=True,
    ),
    Row(
        "tokens",
        tokens,
        (
            Line("tokens", "model tokens (messages-tuple), 16 x 2,000", "/s", 18000, higher=True),
            Line("tokens_cpu", "  CPU an event", "us"),
        ),
        in_process=True,
    ),
    Row(
        "custom",
        custom,
        (
            Line("custom", "custom events, 16 x 2,000", "/s", 15000, higher=True),
            Line("custom_cpu", "  CPU an event", "us"),
        ),
        in_process=True,
    ),
    Row("sleep_async", sleep_async, (Line("sleep_async", "300 async sleepers of 1 s", "s", 2),), in_process=True),
    Row("sleep_sync", sleep_sync, (Line("sleep_sync", "100 sync sleepers of 1 s", "s", 2),), in_process=True),
    Row(
        "burn_sync",
        burn_sync,
        (
            Line("burn_sync_ok", "/ok while a sync node burns CPU, p95", "ms", 10),
            Line("burn_sync_thread", "get thread while a sync node burns CPU, p95", "ms", 10),
        ),
    ),
    Row(
        "burn_async",
        burn_async,
        (
            Line("burn_async_ok", "/ok while an async node blocks its loop, p95", "ms"),
            Line("burn_async_thread", "get thread while an async node blocks, p95", "ms"),
        ),
    ),
)
