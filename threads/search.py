"""The SQL of thread search: filters with jsonb containment semantics, on both databases."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from platform_site.core.database.access import IS_POSTGRES, needle_text, uuid_param

# The tagged term of one row `j` of SQLite's json_each: text, number or literal.
TERM_OF_JSON_EACH = """
    CASE j.type WHEN 'text' THEN 't' || j.atom WHEN 'integer' THEN 'n' || printf('%!.15g', j.atom)
    WHEN 'real' THEN 'n' || printf('%!.15g', j.atom) ELSE j.type END
"""
# Conditions of one search: SQLite nests no more than a thousand.
_MOST_LOOKS = 100
# Pieces of a filter are looked for with patterns, which may not grow at will.
_LONGEST_PIECE = 200
# A filter that more threads than this match is checked per thread, newest first, instead of collected up front.
COLLECT_LIMIT = 2000

# The index that a search in this order walks until it has found enough.
_INDEXES = {
    "status": "thread_status",
    "created_at": "thread_created",
    "updated_at": "thread_recent",
    "state_updated_at": "thread_state_updated",
}


@dataclass
class Where:
    """Conditions on `threads_thread`, joined by AND, each with its parameters."""

    workspace_id: int
    status: str | None = None
    conditions: list[str] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)
    # Whether the conditions name the threads one by one.
    is_collected: bool = False
    covers: bool = False

    def add(self, condition: str, *params: Any) -> None:
        self.conditions.append(condition)
        self.params.extend(params)

    def __str__(self) -> str:
        return " AND ".join(self.conditions)

    def collect(self, condition: str, *params: Any) -> None:
        """A condition that few threads meet, to be found first."""
        self.add(condition, *params)
        self.is_collected = True


def where_threads(
    workspace_id: int,
    *,
    ids: list[UUID] | None = None,
    metadata: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    status: str | None = None,
) -> Where:
    """The condition for a search or a count."""
    where = Where(workspace_id, status)
    where.add("workspace_id = %s", workspace_id)
    if status is not None:
        where.add("status = %s", status)
    if ids is not None:
        _is_one_of(where, [uuid_param(thread_id) for thread_id in ids])
    for column, needle in (("metadata", metadata), ("values", values)):
        if needle:
            where.covers = True
            _covers(where, column, needle)
    return where


def _is_one_of(where: Where, ids: list[Any]) -> None:
    if IS_POSTGRES:
        where.collect("thread_id = ANY(%s)", ids)
    else:
        where.collect("thread_id IN (SELECT value FROM json_each(%s))", orjson.dumps(ids).decode())


def searched_table(where: Where, sort_by: str) -> str:
    """What a sorted search selects from; it may narrow `where`.

    Both databases guess badly what a JSON filter leaves over: PostgreSQL how many rows, SQLite, which has no
    statistics, even which index gives them in order. So few threads are found before they are sorted, and of many those
    that come first.
    """
    if IS_POSTGRES:
        if where.covers and not where.is_collected:
            _collect_if_few(where)
        return "threads_thread"
    if where.is_collected or sort_by not in _INDEXES:
        where.conditions[0] = "+workspace_id = %s"
        return "threads_thread"
    index = _INDEXES[sort_by]
    if where.status is not None and (sort_by == "updated_at" or _is_rare(where.workspace_id, where.status)):
        index = _INDEXES["status"]
    return f"threads_thread INDEXED BY {index}"


def counted_table(where: Where) -> str:
    """What a count selects from."""
    if where.covers and not IS_POSTGRES:
        # The whole table, as it lies.
        where.conditions[0] = "+workspace_id = %s"
    return "threads_thread"


def _collect_if_few(where: Where) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT thread_id FROM threads_thread WHERE {where} LIMIT {COLLECT_LIMIT}", where.params)
        ids = [row[0] for row in cursor.fetchall()]
    if len(ids) < COLLECT_LIMIT:
        where.conditions.clear()
        where.params.clear()
        _is_one_of(where, ids)


def _is_rare(workspace_id: int, status: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT 1 FROM threads_thread INDEXED BY thread_status"
            f" WHERE workspace_id = %s AND status = %s LIMIT {COLLECT_LIMIT})",
            [workspace_id, status],
        )
        return int(cursor.fetchone()[0]) < COLLECT_LIMIT


def order_by(sort_by: str, sort_order: str) -> str:
    """The order of a search, down to the last row. Threads of a status come in the order of the index, either way."""
    if sort_by == "status":
        within = "desc" if sort_order == "asc" else "asc"
        return f"status {sort_order}, updated_at {within}, thread_id {within}"
    return f'"{sort_by}" {sort_order}, thread_id {sort_order}'


def _covers(where: Where, column: str, needle: Mapping[str, Any]) -> None:
    text = needle_text(needle)
    if IS_POSTGRES:
        where.add(f'"{column}" @> %s::jsonb', text)
        return
    scalars = {key: value for key, value in needle.items() if not isinstance(value, (dict, list))}
    if column == "metadata":
        for key, value in islice(scalars.items(), _MOST_LOOKS):
            _has_term(where, orjson.dumps({key: value}).decode())
        if len(scalars) == len(needle) <= _MOST_LOOKS and all(map(_is_told_by_its_term, scalars.values())):
            return
    # Decoding is the dear part: only where the text holds every piece that it must hold. GLOB finds them twice as fast
    # as instr.
    patterns = [
        f"*{_literally(piece[:_LONGEST_PIECE])}*" for piece in dict.fromkeys(islice(_pieces(needle), _MOST_LOOKS))
    ]
    held = " AND ".join([f'"{column}" GLOB %s'] * len(patterns)) or "TRUE"
    where.add(f'CASE WHEN {held} THEN json_covers("{column}", %s) ELSE 0 END', *patterns, text)


def _pieces(needle: Any, prefix: str = "") -> Iterator[str]:
    """Texts that compact JSON holds if it contains `needle`, each of which costs a look: scalars, with their keys."""
    if isinstance(needle, dict):
        for key, value in needle.items():
            yield from _pieces(value, f"{orjson.dumps(key).decode()}:")
    elif isinstance(needle, list):
        if not needle:
            yield f"{prefix}["
        for item in needle:
            yield from _pieces(item)
    elif _is_told_by_its_digits(needle):
        yield prefix + orjson.dumps(int(needle) if isinstance(needle, float) else needle).decode()
    elif prefix:
        yield prefix


def _is_told_by_its_digits(scalar: Any) -> bool:
    """Whether the JSON of everything that equals the scalar begins alike: 5 and 5.0 do, 0 and -0.0 do not."""
    if isinstance(scalar, float):
        return scalar.is_integer() and 0 < abs(scalar) < 10**15
    if isinstance(scalar, int) and not isinstance(scalar, bool):
        return 0 < abs(scalar) < 10**15
    return True


def _literally(text: str) -> str:
    """`text` as a GLOB pattern that stands for itself."""
    return re.sub(r"[*?\[]", r"[\g<0>]", text)


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
        where.collect(f"thread_id IN ({term})", pair)
    else:
        where.add(
            f"""EXISTS (SELECT 1 FROM json_each(%s) j JOIN threads_metadata_term t
            ON t.key = j.key AND t.value = {TERM_OF_JSON_EACH} AND t.thread_id = threads_thread.thread_id)""",
            pair,
        )
