"""The SQL of thread search: filters with jsonb containment semantics, on both databases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from platform_site.core.database import IS_POSTGRES, uuid_param

# The tagged term of one row `j` of SQLite's json_each: text, number or literal.
TERM_OF_JSON_EACH = """
    CASE j.type WHEN 'text' THEN 't' || j.atom WHEN 'integer' THEN 'n' || printf('%!.15g', j.atom)
    WHEN 'real' THEN 'n' || printf('%!.15g', j.atom) ELSE j.type END
"""
# A filter that more threads than this match is checked per thread, newest first, instead of collected up front.
COLLECT_LIMIT = 2000

SORT_COLUMNS = ("thread_id", "status", "created_at", "updated_at", "state_updated_at")


@dataclass
class Where:
    """Conditions joined by AND, each with its parameters."""

    conditions: list[str] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)

    def add(self, condition: str, *params: Any) -> None:
        self.conditions.append(condition)
        self.params.extend(params)

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "1 = 1"


def where_threads(
    workspace_id: int,
    *,
    ids: list[UUID] | None = None,
    metadata: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    status: str | None = None,
) -> Where:
    """The condition for a search; to be used with `threads_thread` as the only table."""
    where = Where()
    where.add("workspace_id = %s", workspace_id)
    if ids is not None:
        where.add(f"thread_id IN ({', '.join(['%s'] * len(ids))})" if ids else "1 = 0", *map(uuid_param, ids))
    if status is not None:
        where.add("status = %s", status)
    if metadata:
        _covers(where, "metadata", metadata)
    if values:
        _covers(where, "values", values)
    return where


def _covers(where: Where, column: str, needle: Mapping[str, Any]) -> None:
    text = orjson.dumps(needle).decode()
    if IS_POSTGRES:
        where.add(f'"{column}" @> %s::jsonb', text)
        return
    scalars = {key: value for key, value in needle.items() if not isinstance(value, (dict, list))}
    if column == "metadata":
        for key, value in scalars.items():
            _has_term(where, orjson.dumps({key: value}).decode())
        if len(scalars) == len(needle) and all(map(_is_told_by_its_term, scalars.values())):
            return
    where.add(f'json_covers("{column}", %s)', text)


def _is_told_by_its_term(value: Any) -> bool:
    """Whether no other value has the same term: terms hold 15 digits of a number, and text up to its first NUL."""
    if isinstance(value, str):
        return "\x00" not in value
    return value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 10**15)


def _has_term(where: Where, pair: str) -> None:
    term = f"""
        SELECT t.thread_id FROM json_each(%s) j CROSS JOIN threads_metadata_term t
        ON t.key = j.key AND t.value = {TERM_OF_JSON_EACH}
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({term} LIMIT {COLLECT_LIMIT})", [pair])
        is_rare = cursor.fetchone()[0] < COLLECT_LIMIT
    if is_rare:
        where.add(f"thread_id IN ({term})", pair)
    else:
        where.add(
            f"""EXISTS (SELECT 1 FROM json_each(%s) j JOIN threads_metadata_term t
            ON t.key = j.key AND t.value = {TERM_OF_JSON_EACH} AND t.thread_id = threads_thread.thread_id)""",
            pair,
        )
