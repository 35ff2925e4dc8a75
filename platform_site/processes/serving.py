"""The life of a serving process: what is made ready before work, and how work ends.

`serve` and `runserver` call these in order. Any other ASGI server may run `platform_site.asgi:application`: the first
request calls `ensure_started()`, so nothing depends on a server's lifespan support, which Daphne lacks.
"""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, connections
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder

from platform_site import __version__
from platform_site.core.database import data_directory
from platform_site.core.telemetry import logs, tracing

logger = logging.getLogger("switchyard.serving")

# A node in plain Python holds the interpreter for this long at a time; HTTP answers in between.
SWITCH_INTERVAL = 0.0005
# Any number will do, as long as every server of this kind takes the same one.
_PREPARE_LOCK = 0x5377_6974
# What a stream says when the server goes before its run has ended.
SHUTDOWN = {"error": "ServerShutdown", "message": "The server is shutting down; the run goes on when it is back."}

# How long the last events may take to reach Redis.
FLUSH_SECONDS = 5.0
# Longest time that threads may take to end after the drain. A node that sleeps does not hold up the exit.
EXIT_SECONDS = 3.0

_lock = threading.Lock()
_started = False


class CannotStart(Exception):
    """Something the operator can put right; the message is all that is printed."""


def local_address(host: str | None = None, port: int | None = None) -> str:
    """Return where a server on this machine listens, as a person would open it: by default as the settings say."""
    host = settings.HOST if host is None else host
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{settings.PORT if port is None else port}"


def claim_data_directory(address: str) -> None:
    """Create the data directory, close its files to other users and, if the database is in it, keep other servers off.

    Raises `data_directory.DataDirectoryInUse`. With PostgreSQL nothing in the directory is written by two servers: the
    leases that keep them apart are in the database.
    """
    data_directory.keep_private()
    data_directory.make(settings.DATA_DIR)
    data_directory.tighten(settings.DATA_DIR)
    if not settings.DATABASE_URL:
        data_directory.lock(settings.DATA_DIR, address)


def prepare() -> None:
    """Bring the databases up to date and create what a first start needs. Cheap when there is nothing to do.

    Processes that start together on one PostgreSQL take turns.
    """
    with _the_only_one():
        if migrations_pending():
            call_command("migrate", verbosity=0, interactive=False)
        from assistants.services import ensure_default_assistants
        from platform_site.access.default_workspace import ensure_first_start
        from platform_site.core.checkpoints.configured import checkpoints
        from platform_site.core.config import config
        from platform_site.core.graphs.registry import registry
        from platform_site.core.items.index import check_index

        check_index(config())
        ensure_first_start()
        asyncio.run(checkpoints().setup())
        # Known before anything is imported; a graph that turns out to be broken says so when it is used.
        descriptions = {graph_id: spec.description for graph_id, spec in config().graphs.items()}
        ensure_default_assistants(registry().ids, config().assistant_configs, descriptions)


@contextmanager
def _the_only_one() -> Iterator[None]:
    """Wait until no other process prepares this database, and keep others from it meanwhile."""
    if connection.vendor != "postgresql":
        # Its directory is locked.
        yield
        return
    with connection.cursor() as cursor:
        # Asked again and again: building an index concurrently waits for every open statement, that of a process
        # which waits for the lock included, and would never end.
        while not _query(cursor, "SELECT pg_try_advisory_lock(%s)"):
            time.sleep(0.05)
        try:
            yield
        finally:
            _query(cursor, "SELECT pg_advisory_unlock(%s)")


def _query(cursor: CursorWrapper, statement: str) -> bool:
    cursor.execute(statement, [_PREPARE_LOCK])
    row = cursor.fetchone()
    return bool(row and row[0])


def migrations_pending() -> bool:
    """Whether a migration file has no row in the database. Imports no migration: that would cost half a second."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return True
    return not _migrations_on_disk() <= set(recorder.applied_migrations())


def _migrations_on_disk() -> set[tuple[str, str]]:
    found = set()
    for app in apps.get_app_configs():
        directory = Path(app.path) / "migrations"
        found |= {(app.label, file.stem) for file in directory.glob("[!_]*.py")}
    return found


def ensure_started() -> None:
    """Prepare the databases, start the engine and begin to load the graphs; once a process, later calls are free.

    May be called on any thread. The first caller waits until the databases are ready, not until the graphs are loaded.
    In scale mode the engine is left to the workers.
    """
    _start_once(_start_web)


def start_worker(capacity: int) -> None:
    """Prepare the databases and start the engine and the background tasks of a worker; once a process.

    It executes at most `capacity` runs at the same time. Returns when the first run may be claimed.
    """
    _start_once(partial(_start_worker, capacity))


def _start_once(start: Callable[[], None]) -> None:
    global _started
    if _started:
        return
    with _lock:
        if not _started:
            # A thread of its own: the caller may be on an event loop, where the ORM refuses to work.
            failure = _in_thread(start)
            if failure is not None:
                raise failure
            _started = True


def _in_thread(work: Callable[[], None]) -> BaseException | None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name="start")
    thread.start()
    thread.join()
    return failures[0] if failures else None


def _start_web() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL)
    logs.identify(role="web" if settings.REDIS_URL else "server")
    tracing.start(__version__, requests=settings.TRACE_REQUESTS)
    _tell_warnings()
    claim_data_directory(local_address())
    prepare()
    _import_before_graphs("platform_site.api_urls")
    _serve_loopback()
    if settings.REDIS_URL:
        from platform_site.core.background.tasks import background
        from platform_site.processes.background_tasks import web_tasks

        background().start(web_tasks())
    else:
        _start_engine(settings.CONCURRENCY)
    threading.Thread(target=_load_graphs, name="load-graphs", daemon=True).start()


def _tell_warnings() -> None:
    """Log what an author should know about the langgraph.json. Workers have the same file and say nothing."""
    from platform_site.core.config import config

    for warning in config().warnings:
        logger.warning("%s: %s", config().path, warning)


def _start_worker(capacity: int) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL)
    from platform_site.system.gauges import serve_worker_metrics

    logs.identify(role="worker")
    tracing.start(__version__)
    prepare()
    serve_worker_metrics()
    _serve_loopback()
    _start_engine(capacity)
    threading.Thread(target=_load_graphs, name="load-graphs", daemon=True).start()
    logger.info("worker ready, it takes up to %d runs at the same time", capacity)


def _import_before_graphs(module: str) -> None:
    """Import what this process serves with before a graph may be loaded.

    Graphs are imported on threads of their own, and two threads that enter LangGraph's import cycles from two sides
    make Python fail one of the imports.
    """
    import_module(module)


def _serve_loopback() -> None:
    """Serve the SDK inside graphs. A worker imports the API when the first request comes, not at its start."""
    from platform_site.core.loopback.transport import serve_loopback

    serve_loopback(lambda: import_module("platform_site.processes.loopback_api").application())


def _start_engine(capacity: int) -> None:
    from platform_site.core.background.tasks import background
    from platform_site.processes.background_tasks import background_tasks
    from runs.engine.engine import engine

    # Imports every app, so before the engine: a run left by an earlier process may load its graph at once.
    tasks = background_tasks()
    logs.identify(role="worker" if settings.REDIS_URL else "server", worker=engine().worker)
    engine().capacity = capacity
    engine().start()
    background().start(tasks)


def wake_all() -> None:
    """Let the engine, and every background task of this process that does so all the time, look for work now."""
    from platform_site.core.background.tasks import background
    from runs.engine.engine import engine

    engine().look()
    for status in background().statuses():
        # Others keep the pace that they were given: nobody wakes them, so no wake-up is lost.
        if status.interval <= settings.SWEEP_SECONDS:
            background().wake(status.name)


def _load_graphs() -> None:
    from platform_site.core.background.collector import settle
    from platform_site.core.graphs.registry import registry

    graphs = registry()
    graphs.load()
    settle()
    _name_default_assistants(graphs.names())


def _name_default_assistants(names: dict[str, str]) -> None:
    """Write the names that graphs were compiled with, which are known only now, where they have changed."""
    from assistants.services import name_default_assistants
    from platform_site.core.database.access import in_db

    try:
        asyncio.run(in_db(name_default_assistants, names))
    except DatabaseError:
        # The next start names them. Until then they keep their old names.
        logger.exception("the default assistants could not be named")


def drain() -> None:
    """End this process's work: nothing new is claimed, runs get DRAIN_SECONDS to finish, the rest goes back to pending.

    Blocks until that is done; the HTTP server goes on with open streams meanwhile. Streams whose run has not ended by
    then are told so and closed.
    """
    if not _started:
        return
    from platform_site.core.background.tasks import background
    from platform_site.core.events.configured import event_log
    from platform_site.core.items.configured import close_storage
    from platform_site.core.loops import state_loop
    from platform_site.core.wire import encode
    from runs.engine.engine import engine

    engine().drain(settings.DRAIN_SECONDS)
    # After the runs: what their ends bring about, such as deliveries, goes on while they finish.
    background().stop()
    try:
        state_loop().submit(close_storage()).result(timeout=10)
    except Exception:
        # What follows tells the clients, and is what Redis still has to have.
        logger.exception("the storage of the state loop could not be closed")
    event_log().close_all("error", encode(SHUTDOWN), encode({"__error__": SHUTDOWN}))
    if settings.REDIS_URL:
        _flush_redis()
    tracing.stop()


def _flush_redis() -> None:
    """Wait until Redis has what this process has to say."""
    from platform_site.core.redis.link import redis_link
    from platform_site.core.redis.signals import redis_writer

    try:
        redis_link().submit(redis_writer().flushed()).result(timeout=FLUSH_SECONDS)
    except TimeoutError:
        logger.warning("Redis did not take the last events in time; sweeps and readers make up for it")


def end_soon(status: int) -> None:
    """Let the interpreter end in its own time, but not wait for a thread that never ends."""
    timer = threading.Timer(EXIT_SECONDS, os._exit, [status])
    timer.daemon = True
    timer.start()
