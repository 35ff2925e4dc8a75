"""The one place that knows SQLite from PostgreSQL: the database hop, JSON columns and containment.

API code runs on an event loop and never touches the ORM there. It makes one hop per request:
`await in_db(service, ...)` for what writes, `await read_db(selector, ...)` for what only reads.
Each hop runs on a small pool of threads whose connections live on: a new connection for each costs more than the hop.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import orjson
from django.conf import settings
from django.db import close_old_connections, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate

from platform_site.core.database.group_writer import GroupWriter
from platform_site.core.errors import Unprocessable
from platform_site.core.wire import encode, timestamp, without_nul

P = ParamSpec("P")
T = TypeVar("T")

IS_POSTGRES = bool(settings.DATABASE_URL)
# What a caller is told whose statement waited for LOCK_TIMEOUT_SECONDS.
LOCKED = "Another process has locked what this needs; try again"
# Pause before a statement of a run that met a lock is tried again: it has waited for the lock already.
LOCKED_PAUSE_SECONDS = 0.2
# `lock_not_available` and `deadlock_detected` (PostgreSQL manual, appendix A).
_LOCK_ERRORS = ("55P03", "40P01")
# A connection that was not used for so long is tried before it is.
UNUSED_SECONDS = 1.0
LONGEST_NEEDLE_BYTES = 100_000
_last_use = threading.local()
# SQLite has one writer; more threads only wait for its lock.
_writers: ThreadPoolExecutor | GroupWriter
if IS_POSTGRES:
    _writers = _readers = ThreadPoolExecutor(12, thread_name_prefix="db")
else:
    _writers = GroupWriter("db-write")
    _readers = ThreadPoolExecutor(3, thread_name_prefix="db-read")


class _Hops:
    """Counts the calls on database threads that are in progress."""

    def __init__(self) -> None:
        # Adding and discarding are atomic, which counting is not.
        self._working: set[object] = set()

    def work(self, call: Callable[[], T]) -> T:
        self._working.add(call)
        try:
            return call()
        finally:
            self._working.discard(call)

    def __len__(self) -> int:
        return len(self._working)


_hops = _Hops()


def database_threads() -> dict[str, tuple[int, int, int]]:
    """The pools of threads for calls to the database: how many threads, calls in progress, calls that wait."""
    shared = (_readers._max_workers, len(_hops), _readers._work_queue.qsize())
    if isinstance(_writers, GroupWriter):
        return {"writer": (1, int(_writers.is_busy), _writers.waiting), "readers": shared}
    return {"threads": shared}


async def _hop(
    pool: ThreadPoolExecutor | GroupWriter, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    # What is logged there belongs to the caller's request or run.
    context = copy_context()
    if isinstance(pool, GroupWriter):
        return await pool.run(partial(context.run, function, *args, **kwargs))

    def call() -> T:
        _without_lost_connection()
        return context.run(function, *args, **kwargs)

    return await asyncio.wrap_future(pool.submit(_hops.work, call))


def _without_lost_connection() -> None:
    """Close this thread's connection if the database was restarted while nobody used it: a new one is made."""
    close_old_connections()
    now = time.monotonic()
    if now - getattr(_last_use, "at", now) > UNUSED_SECONDS and not connection.is_usable():
        connection.close()
    _last_use.at = now


async def in_db(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that may write on a database thread; its result, once that is committed.

    On SQLite functions that wait together share a transaction (see `group_writer`): an effect outside of the database
    belongs into `transaction.on_commit(..., robust=True)`.
    """
    return await _hop(_writers, function, *args, **kwargs)


async def read_db(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that only reads on a database thread and return its result."""
    return await _hop(_readers, function, *args, **kwargs)


def write_turn() -> AbstractContextManager[object]:
    """Let the calling thread write on its own connection at once, however much waits for SQLite's one writer."""
    return _writers.turn() if isinstance(_writers, GroupWriter) else nullcontext()


class Portion:
    """How many more rows a transaction may delete. SQLite has one writer: whoever waits for it waits for a portion."""

    def __init__(self, rows: int) -> None:
        self.left = rows

    @property
    def is_used_up(self) -> bool:
        return self.left <= 0

    def delete(self, rows: "models.QuerySet[Any, Any]") -> None:
        """Delete as many of the rows as the portion has left. What refers to them must be gone already."""
        # A thousand parameters at a time are too many for some builds of SQLite.
        while self.left > 0 and (found := list(rows.values_list("pk", flat=True)[: min(self.left, 500)])):
            # The primary keys alone: Django reads what it deletes.
            rows.model._default_manager.filter(pk__in=found).only("pk").delete()
            self.left -= len(found)


def lost_a_lock(error: BaseException) -> bool:
    """Return whether PostgreSQL gave up a statement because another session holds a lock that the statement needs."""
    return any(getattr(one, "sqlstate", None) in _LOCK_ERRORS for one in (error, error.__cause__))


def _wait_for_locks(using: str, **_: Any) -> None:
    # A migration may wait for as long as the statements of running processes take.
    _set_session(using, "SET lock_timeout = 0")


def _wait_no_longer_than_usual(using: str, **_: Any) -> None:
    _set_session(using, "RESET lock_timeout")


def _set_session(using: str, statement: str) -> None:
    if IS_POSTGRES:
        with connections[using].cursor() as cursor:
            cursor.execute(statement)


pre_migrate.connect(_wait_for_locks)
post_migrate.connect(_wait_no_longer_than_usual)


class JSONField(models.JSONField):
    """A JSON column read and written with orjson; `raw` SQL on it yields the JSON text on both databases."""

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if value is None or not isinstance(value, (str, bytes)):
            return value
        return orjson.loads(value)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return super().get_db_prep_value(value, connection, prepared)
        return json_param(value)


def json_param(value: Any) -> Any:
    """`value` as a parameter for a JSON column in raw SQL."""
    text = encode(value).decode()
    if IS_POSTGRES:
        from psycopg.types.json import Jsonb

        return Jsonb(value, dumps=lambda _: text)
    return text


def storable(text: bytes) -> bytes:
    """Return the JSON as the database can keep it. PostgreSQL has no NUL, so U+FFFD takes its place there."""
    return without_nul(text) if IS_POSTGRES else text


def encode_shown(value: Any) -> bytes:
    """Return what `encode` makes, in the form that the database keeps: streams, states and rows show the same."""
    return storable(encode(value))


def is_storable(text: bytes) -> bool:
    """Whether the database gives this JSON back as it is."""
    return storable(text) == text


def json_contains(document: Any, needle: Any) -> bool:
    """PostgreSQL's `document @> needle` for decoded JSON (PostgreSQL manual, 8.14.3)."""
    if isinstance(needle, dict):
        return isinstance(document, dict) and all(
            key in document and json_contains(document[key], value) for key, value in needle.items()
        )
    if isinstance(needle, list):
        return isinstance(document, list) and all(
            any(json_contains(item, wanted) for item in document) for wanted in needle
        )
    if isinstance(document, bool) or isinstance(needle, bool):
        return document is needle
    return bool(document == needle)


@lru_cache(maxsize=64)
def _decoded(needle: str) -> Any:
    # SQLite asks for every row.
    return orjson.loads(needle)


def needle_text(needle: Any) -> str:
    """What is to be contained, as JSON. Raises `Unprocessable` if it is too long to be compared with every row."""
    text = encode(needle)
    if len(text) > LONGEST_NEEDLE_BYTES:
        raise Unprocessable(f"A filter by metadata or values has at most {LONGEST_NEEDLE_BYTES} bytes")
    return text.decode()


def _json_contains_text(document: str | None, needle: str) -> int | None:
    if document is None:
        return None
    decoded, wanted = orjson.loads(document), _decoded(needle)
    # An array may contain a bare scalar, at the top level only (same source).
    if isinstance(decoded, list) and not isinstance(wanted, (list, dict)):
        return int(any(json_contains(item, wanted) for item in decoded))
    return int(json_contains(decoded, wanted))


@JSONField.register_lookup
class JSONCovers(models.Lookup):
    """`field__covers={...}`: jsonb containment on PostgreSQL and on SQLite."""

    lookup_name = "covers"
    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return "%s", [needle_text(value)]

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:  # type: ignore[override]
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        params = [*left_params, *right_params]
        if connection.vendor == "postgresql":
            return f"{left} @> {right}::jsonb", params
        return f"json_covers({left}, {right})", params


def _register_functions(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "sqlite":
        connection.connection.create_function("json_covers", 2, _json_contains_text, deterministic=True)
        if isinstance(_writers, GroupWriter) and _writers.is_current:
            # For each savepoint SQLite would write the pages as they were to a file.
            connection.connection.execute("PRAGMA temp_store=MEMORY")


connection_created.connect(_register_functions)


def uuid_param(value: UUID) -> Any:
    """A UUID as Django stores it: char(32) on SQLite, uuid on PostgreSQL. For raw SQL."""
    return value if IS_POSTGRES else value.hex


def moment(value: datetime) -> datetime:
    """A timestamp column read by raw SQL: SQLite's come without their time zone, which is UTC."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def stamp(value: datetime | None) -> str | None:
    """A timestamp column read by raw SQL, as it goes over the wire (see `core.wire.timestamp`)."""
    return None if value is None else timestamp(moment(value))


def moment_param(value: datetime) -> Any:
    """A point in time as a parameter for raw SQL, as Django stores it: text in UTC on SQLite."""
    return value if IS_POSTGRES else value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
