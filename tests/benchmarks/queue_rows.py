"""Rows that measure the way of a run through the queue: from accepted to its first node, and with many that wait."""

import asyncio
import statistics
from datetime import datetime
from time import perf_counter

from .client import BadAnswer, call, connections
from .measures import Metrics, at_once, percentile, spread
from .rows_of import Line, Row, new_thread, run_body
from .scale import Scale
from .servers import Server

# Runs that wait at once; the cost of one is compared between them.
QUEUES = (10, 100, 1000)
# A batch is one request.
BATCH = 100


async def dispatch(server: Server, scale: Scale) -> Metrics:
    """Milliseconds from the moment a run was accepted, as its `created_at` says, to the start of its node."""
    thread, end, taken = await new_thread(server.address), perf_counter() + scale.seconds, list[float]()
    body = run_body("clock", {"started": 0})
    async with connections(server.address, 1) as (connection,):
        while perf_counter() < end or len(taken) < 3:
            request = server.address.request("POST", f"/threads/{thread}/runs", body)
            run = (await connection.send(request)).check().json()
            join = server.address.request("GET", f"/threads/{thread}/runs/{run['run_id']}/join")
            values = (await connection.send(join)).check().json()
            taken.append(values["started"] - datetime.fromisoformat(run["created_at"]).timestamp())
    figures = {"dispatch": statistics.median(taken) * 1000, "dispatch_p95": percentile(taken, 0.95) * 1000}
    return {**figures, **spread("dispatch", taken)}


async def queue(server: Server, scale: Scale) -> Metrics:
    """Milliseconds for each of so many runs that were accepted together, until none of them is left."""
    metrics: Metrics = {}
    for size in QUEUES:
        count = min(size, scale.waiting)
        bodies = [run_body("one_node", {"value": 1})] * min(count, BATCH)
        began = perf_counter()
        for _ in range(count // len(bodies)):
            if len(await call(server.address, "POST", "/runs/batch", bodies)) != len(bodies):
                raise BadAnswer("a batch was not accepted whole")
        ended = await ends(server, count, began)
        metrics[f"queue_{size}"] = ended[-1] * 1000 / count
        metrics |= spread(f"queue_{size}", ended)
    return metrics


async def ends(server: Server, count: int, began: float) -> list[float]:
    """Wait until no run is left; return the seconds from `began` at which each of `count` runs was seen to be over."""
    ended: list[float] = []
    while len(ended) < count:
        left = (await call(server.address, "GET", "/metrics?format=json"))["queue"]
        over = count - left["n_pending"] - left["n_running"] - len(ended)
        ended += [perf_counter() - began] * over
        await asyncio.sleep(0.01)
    return ended


async def sleepers(server: Server, scale: Scale) -> Metrics:
    """Seconds for 200 runs that sleep, all begun at once."""
    body = run_body("sleep_async", {"seconds": scale.sleep})
    request = server.address.request("POST", "/runs/wait", body)
    return (await at_once(server, min(200, scale.async_sleepers), request)).figures("sleepers")


QUEUE_ROWS = (
    Row(
        "dispatch",
        dispatch,
        (
            Line("dispatch", "accepted to graph start, idle worker, median", "ms", 15),
            Line("dispatch_p95", "  p95", "ms"),
        ),
    ),
    Row("queue", queue, tuple(Line(f"queue_{count}", f"a run of {count:,} that wait", "ms") for count in QUEUES)),
    Row("sleepers", sleepers, (Line("sleepers", "200 sleepers of 1 s", "s", 3),)),
)
