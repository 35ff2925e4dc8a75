"""The figures of `/metrics` that are read when somebody asks: of the database, and of this process.

Those of the database are the same from every process. A database that does not answer in time takes away its own
figures, and no others.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from prometheus_client import REGISTRY, CollectorRegistry, Metric, start_http_server
from prometheus_client.registry import Collector

from platform_site.core.background.collector import count_collections
from platform_site.core.database.access import IS_POSTGRES, database_threads, read_db
from platform_site.core.events.configured import event_log
from platform_site.core.telemetry import metrics
from platform_site.core.telemetry.process_memory import memory_limit, resident_bytes
from platform_site.system.process_figures import RedisFigures
from platform_site.system.processes import processes
from platform_site.system.selectors import Queue, queue_figures
from platform_site.webhooks.selectors import Backlog, webhook_backlog
from threads.state_cache import state_cache

logger = logging.getLogger("switchyard.metrics")

# After this time another attempt is made, on another thread: the connection of the first may be lost for good.
GIVE_UP_SECONDS = 60.0

_GAUGES = (
    metrics.RUNS_PENDING,
    metrics.RUNS_RUNNING,
    metrics.QUEUE_OLDEST_SECONDS,
    metrics.QUEUE_OLDEST_UNBLOCKED_SECONDS,
    metrics.LEASES_OVERDUE,
    metrics.WEBHOOKS_PENDING,
    metrics.WEBHOOKS_HELD,
    metrics.WEBHOOKS_OLDEST_SECONDS,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database tells."""

    queue: Queue
    webhooks: Backlog


def read_figures() -> Figures:
    """Return the figures of all workspaces. In a database thread."""
    return Figures(queue_figures(), webhook_backlog())


async def update() -> None:
    """Put figures of this moment into the metrics of this process."""
    try:
        show(await asyncio.wait_for(_shared(), settings.HEALTH_TIMEOUT_SECONDS))
    except Exception as error:
        show_failure(error)
    show_pools()
    show_memory()


# The reading under way, and since when.
_reading: "tuple[asyncio.Task[Figures], float] | None" = None


async def _shared() -> Figures:
    """Return the figures, the same to all who ask meanwhile: one that hangs must not take thread after thread."""
    global _reading
    loop = asyncio.get_running_loop()
    if _reading is not None:
        task, since = _reading
        if task.done() or task.get_loop() is not loop or loop.time() - since > GIVE_UP_SECONDS:
            _reading = None
    if _reading is None:
        _reading = loop.create_task(read_db(read_figures)), loop.time()
        # Who asked may have given up.
        _reading[0].add_done_callback(lambda task: task.cancelled() or task.exception())
    return await asyncio.shield(_reading[0])


def show(figures: Figures) -> None:
    """Set the gauges of what the database tells."""
    queue, webhooks = figures.queue, figures.webhooks
    metrics.DATABASE_UP.set(1)
    metrics.RUNS_PENDING.set(queue.pending)
    metrics.RUNS_RUNNING.set(queue.running)
    for state, runs in (("due", queue.unblocked), ("blocked", queue.due - queue.unblocked), ("delayed", queue.delayed)):
        metrics.QUEUE_RUNS.labels(state).set(runs)
    metrics.QUEUE_OLDEST_SECONDS.set(queue.longest_wait or 0)
    metrics.QUEUE_OLDEST_UNBLOCKED_SECONDS.set(queue.longest_unblocked_wait or 0)
    metrics.LEASES_OVERDUE.set(queue.overdue)
    metrics.WEBHOOKS_PENDING.set(webhooks.pending)
    metrics.WEBHOOKS_HELD.set(webhooks.held)
    metrics.WEBHOOKS_OLDEST_SECONDS.set(webhooks.oldest_seconds)


def show_failure(error: Exception) -> None:
    """Show no figures of the database: none is better than one of long ago."""
    logger.warning("the figures of the database could not be read: %s: %s", type(error).__name__, error)
    metrics.DATABASE_UP.set(0)
    for gauge in _GAUGES:
        gauge.set(math.nan)
    for state in ("due", "blocked", "delayed"):
        metrics.QUEUE_RUNS.labels(state).set(math.nan)


def show_pools() -> None:
    """Set the gauges of this process's ways to the database."""
    pools = database_threads()
    if IS_POSTGRES:
        from platform_site.core.database.postgres_pool import loop_pools

        pools["connections"] = loop_pools().use()
    for pool, (size, in_use, waiting) in pools.items():
        metrics.DATABASE_POOL_SIZE.labels(pool).set(size)
        metrics.DATABASE_POOL_IN_USE.labels(pool).set(in_use)
        metrics.DATABASE_POOL_WAITING.labels(pool).set(waiting)


# How much of what the cache counts by itself is in the metrics. Several threads of a worker may answer at once.
_counted = {metrics.STATE_CACHE_HITS: 0, metrics.STATE_CACHE_MISSES: 0}
_counting = threading.Lock()


def show_memory() -> None:
    """Set the figures of this process's memory and collections, and of Redis as this process knew them last."""
    count_collections()
    log, states = event_log(), state_cache()
    metrics.EVENT_LOG_BYTES.set(log.held_bytes)
    metrics.EVENT_LOG_BUDGET.set(log.budget_bytes)
    metrics.STATE_CACHE_BYTES.set(states.held_bytes)
    metrics.STATE_CACHE_BUDGET.set(states.budget_bytes)
    with _counting:
        for counter, count in ((metrics.STATE_CACHE_HITS, states.hits), (metrics.STATE_CACHE_MISSES, states.misses)):
            # A cache that was made anew counts from 0.
            counter.inc(count - _counted[counter] if count >= _counted[counter] else count)
            _counted[counter] = count
    resident = resident_bytes()
    metrics.MEMORY_BYTES.set(math.nan if resident is None else resident)
    metrics.MEMORY_LIMIT.set(memory_limit())
    _show_redis(processes().redis)


def _show_redis(redis: RedisFigures | None) -> None:
    """Set what is known of Redis: NaN in a server without Redis, and while it does not answer."""
    metrics.REDIS_STREAMS_BYTES.set(math.nan if redis is None else redis.streams_bytes)
    metrics.REDIS_STREAMS_BUDGET.set(math.nan if redis is None else redis.streams_budget)
    metrics.REDIS_BYTES.set(math.nan if redis is None else redis.used_bytes)
    metrics.REDIS_LIMIT.set(math.nan if redis is None else redis.limit_bytes)


class _Everything(Collector):
    """All metrics of a process that has no web server, with figures of this moment."""

    def __init__(self) -> None:
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="figures")

    def collect(self) -> Iterable[Metric]:
        reading = self._reader.submit(self._read)
        try:
            show(reading.result(settings.HEALTH_TIMEOUT_SECONDS))
        except Exception as error:
            reading.cancel()
            show_failure(error)
        show_pools()
        show_memory()
        return REGISTRY.collect()

    def _read(self) -> Figures:
        try:
            return read_figures()
        finally:
            # A connection of its own each time: the database may have been restarted in between.
            connection.close()


def serve_worker_metrics() -> None:
    """Serve `/metrics` on WORKER_METRICS_PORT from a thread, for a process that has no web server; unless it is 0.

    Raises `ImproperlyConfigured` if the port cannot be had.
    """
    if not settings.WORKER_METRICS_PORT:
        return
    from runs.engine.engine import engine

    metrics.WORKERS_MAX.set_function(lambda: engine().capacity)
    registry = CollectorRegistry()
    registry.register(_Everything())
    try:
        start_http_server(settings.WORKER_METRICS_PORT, settings.WORKER_METRICS_HOST, registry)
    except OSError as error:
        place = f"{settings.WORKER_METRICS_HOST}:{settings.WORKER_METRICS_PORT}"
        raise ImproperlyConfigured(f"WORKER_METRICS_PORT: cannot listen on {place}: {error}") from error
