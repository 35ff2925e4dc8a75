"""Reads of threads. The wire forms are built from raw JSON columns: nothing is decoded to be encoded again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import QuerySet

from platform_site.access.principal import Principal
from platform_site.core.database.access import moment, moment_param, stamp, uuid_param
from platform_site.core.errors import BadRequest, NotFound
from platform_site.core.http.paging import Page
from platform_site.core.ids import parse_uuid
from threads.extract import ExtractPath, parse_extract
from threads.models import Thread
from threads.schemas import ThreadCount, ThreadSearch
from threads.search import counted_table, order_by, searched_table, where_threads
from threads.time_to_live import ttl_end, ttl_of, ttl_wire

COLUMNS = (
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "status",
    "config",
    "values",
    "error",
    "interrupts",
)
_JSON = {"metadata", "config", "values", "error", "interrupts"}
_TIMES = {"created_at", "updated_at", "state_updated_at"}
_SELECT_ALL = ", ".join(f'"{column}"' for column in COLUMNS)
# What the field `ttl` is made of.
_TTL_COLUMNS = ("ttl_minutes", "ttl_strategy", "expires_at", "updated_at")
_SELECT_TTL = ", ".join(_TTL_COLUMNS)


def thread_not_found(thread_id: UUID) -> NotFound:
    return NotFound(f"Thread with ID {thread_id} not found")


def threads_visible(principal: Principal) -> "QuerySet[Thread]":
    """Every thread of the caller's workspace."""
    return Thread.objects.filter(workspace_id=principal.workspace_id)


def _wire(row: tuple[Any, ...], columns: tuple[str, ...]) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if column == "thread_id":
            wire[column] = str(value if isinstance(value, UUID) else UUID(value))
        elif column in _TIMES:
            wire[column] = stamp(value)
        elif column in _JSON:
            wire[column] = None if value is None else orjson.Fragment(value)
        else:
            wire[column] = value
    # A thread that has never run has neither of the two.
    if wire.get("interrupts", ...) is None:
        del wire["interrupts"]
        if wire.get("error", ...) is None:
            del wire["error"]
    return wire


def thread_get(principal: Principal, thread_id: UUID, *, with_ttl: bool = False) -> bytes:
    """The thread as JSON. Raises `NotFound`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_SELECT_ALL}, {_SELECT_TTL} FROM threads_thread WHERE thread_id = %s AND workspace_id = %s",
            [uuid_param(thread_id), principal.workspace_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise thread_not_found(thread_id)
    wire = _wire(row[: len(COLUMNS)], COLUMNS)
    if with_ttl:
        wire["ttl"] = _ttl(row[len(COLUMNS) :])
    return orjson.dumps(wire)


def _ttl(row: tuple[Any, ...]) -> dict[str, Any] | None:
    minutes, strategy, expires_at, updated_at = row
    ttl = ttl_of(minutes, strategy)
    return None if ttl is None else ttl_wire(ttl, ttl_end(ttl, updated_at, expires_at))


def _ids(texts: list[str] | None) -> list[UUID] | None:
    if texts is None:
        return None
    ids = []
    for text in texts:
        parsed = parse_uuid(text)
        if parsed is None:
            raise BadRequest(f"Invalid thread ID {text}")
        ids.append(parsed)
    return ids


def thread_search(principal: Principal, query: ThreadSearch) -> Page:
    """The page of threads that match. Raises `BadRequest` for a bad id, `Unprocessable` for a bad extract path."""
    extracts = parse_extract(query.extract or {})
    where = where_threads(
        principal.workspace_id,
        ids=_ids(query.ids),
        metadata=query.metadata,
        values=query.values,
        status=query.status,
    )
    columns = tuple(query.select or COLUMNS)
    needed = tuple(dict.fromkeys([*columns, *(path.column for path in extracts.values())]))
    selected = ", ".join(f'"{column}"' for column in (*needed, *_TTL_COLUMNS))
    table = searched_table(where, query.sort_by)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {selected} FROM {table} "
            f"WHERE {where} ORDER BY {order_by(query.sort_by, query.sort_order)} LIMIT %s OFFSET %s",
            [*where.params, query.limit + 1, query.offset],
        )
        # Row by row: SQLite reads a row when it is asked for, and a page may end early.
        return Page.of(query.offset, query.limit, (_found(row, needed, columns, extracts, query) for row in cursor))


def _found(
    row: tuple[Any, ...],
    needed: tuple[str, ...],
    columns: tuple[str, ...],
    extracts: dict[str, ExtractPath],
    query: ThreadSearch,
) -> bytes:
    item = _item(row, needed, columns, extracts)
    if "ttl" in query.include:
        item["ttl"] = _ttl(row[len(needed) :])
    return orjson.dumps(item)


def _item(
    row: tuple[Any, ...], needed: tuple[str, ...], columns: tuple[str, ...], extracts: dict[str, ExtractPath]
) -> dict[str, Any]:
    item = _wire(row[: len(columns)], columns)
    if extracts:
        raw = dict(zip(needed, row, strict=False))
        decoded = {column: orjson.loads(raw[column]) for column in needed if column in _JSON and raw[column]}
        item["extracted"] = {alias: path.of(decoded.get(path.column)) for alias, path in extracts.items()}
    return item


def thread_count(principal: Principal, query: ThreadCount) -> int:
    where = where_threads(principal.workspace_id, metadata=query.metadata, values=query.values, status=query.status)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {counted_table(where)} WHERE {where}", where.params)
        return int(cursor.fetchone()[0])


@dataclass(frozen=True)
class ThreadForState:
    """What reading or changing a thread's state needs to know of it."""

    thread_id: UUID
    workspace_id: int
    # With the id it names this thread, and none that is made under the id once this one is deleted.
    created_at: datetime
    graph_id: str | None
    assistant_id: str | None
    # The configuration that the thread was last run with; None before any run.
    run_config: dict[str, Any] | None
    # Who reads or changes it, and for whom the SDK acts in a factory.
    principal: Principal


def thread_for_state(principal: Principal, thread_id: UUID) -> ThreadForState:
    """Raises `NotFound`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT metadata, run_config, created_at FROM threads_thread WHERE thread_id = %s AND workspace_id = %s",
            [uuid_param(thread_id), principal.workspace_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise thread_not_found(thread_id)
    metadata, created_at = orjson.loads(row[0]), moment(row[2])
    run_config = orjson.loads(row[1]) if row[1] is not None else None
    graph_id, assistant_id = metadata.get("graph_id"), metadata.get("assistant_id")
    return ThreadForState(
        thread_id=thread_id,
        workspace_id=principal.workspace_id,
        created_at=created_at,
        graph_id=graph_id if isinstance(graph_id, str) else None,
        assistant_id=assistant_id if isinstance(assistant_id, str) else None,
        run_config=run_config,
        principal=principal,
    )


def require_same(thread: ThreadForState) -> None:
    """Raise `NotFound` if the thread was deleted since it was looked up.

    Whoever has read its checkpoints meanwhile may have read those of another workspace, which took the id.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM threads_thread WHERE thread_id = %s AND workspace_id = %s AND created_at = %s",
            [uuid_param(thread.thread_id), thread.workspace_id, moment_param(thread.created_at)],
        )
        if cursor.fetchone() is None:
            raise thread_not_found(thread.thread_id)
