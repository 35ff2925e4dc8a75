"""Reading and deleting rows of a `CheckpointFile`: functions on a connection, run on the file's threads."""

import sqlite3
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, PendingWrite, get_checkpoint_id, writes_sort_key
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.utils import search_where

from platform_site.core.checkpoints.chains import Place, Row, Stored, needed_by, row_of
from platform_site.core.checkpoints.interface import PORTION_BYTES, PORTION_ROWS, adopted
from platform_site.core.serialization.serializer import CheckpointSerializer

# Checkpoints that a listing reads and unpacks in one go, and their bytes: it ends when either is reached.
PAGE = 100
PAGE_BYTES = 16_000_000
_COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, metadata, checkpoint"

_Row = tuple[str, str, str, str | None, str, bytes | None, bytes]


def read_tuple(
    connection: sqlite3.Connection, serde: CheckpointSerializer, config: RunnableConfig
) -> CheckpointTuple | None:
    configurable = config["configurable"]
    params = [str(configurable["thread_id"]), configurable.get("checkpoint_ns", "")]
    where = "thread_id = ? AND checkpoint_ns = ?"
    if checkpoint_id := get_checkpoint_id(config):
        where += " AND checkpoint_id = ?"
        params.append(checkpoint_id)
    else:
        where += " ORDER BY checkpoint_id DESC LIMIT 1"
    row = connection.execute(f"SELECT {_COLUMNS} FROM checkpoints WHERE {where}", params).fetchone()
    return None if row is None else _unpacked(serde, row, _writes(connection, serde, row[0], row[1], [row[2]]))


def read_first_page(
    connection: sqlite3.Connection,
    serde: CheckpointSerializer,
    config: RunnableConfig | None,
    filter: dict[str, Any] | None,
    before: RunnableConfig | None,
    limit: int | None,
) -> tuple[deque[list[int]], list[CheckpointTuple]]:
    """Return the first page of the checkpoints that match, newest first, and the row ids of each page behind it."""
    if config is not None:
        configurable = config["configurable"]
        config = {"configurable": {**configurable, "thread_id": str(configurable["thread_id"])}}
    where, params = search_where(config, filter, before)
    statement = f"SELECT rowid, length(checkpoint) FROM checkpoints {where} ORDER BY checkpoint_id DESC"
    if limit is not None:
        statement, params = f"{statement} LIMIT ?", [*params, limit]
    pages = _pages(connection.execute(statement, list(params)))
    return pages, read_page(connection, serde, pages.popleft()) if pages else []


def _pages(rows: Iterable[tuple[int, int | None]]) -> deque[list[int]]:
    """Divide row ids with the sizes of their checkpoints into pages."""
    pages: deque[list[int]] = deque()
    size = 0
    for rowid, length in rows:
        if not pages or len(pages[-1]) == PAGE or size >= PAGE_BYTES:
            pages.append([])
            size = 0
        pages[-1].append(rowid)
        size += length or 0
    return pages


def read_page(connection: sqlite3.Connection, serde: CheckpointSerializer, ids: Sequence[int]) -> list[CheckpointTuple]:
    """The checkpoints with these row ids, in this order; one query for the rows and one a namespace for writes."""
    marks = ",".join("?" * len(ids))
    found: dict[int, _Row] = {
        row[0]: row[1:]
        for row in connection.execute(f"SELECT rowid, {_COLUMNS} FROM checkpoints WHERE rowid IN ({marks})", ids)
    }
    by_namespace: dict[tuple[str, str], list[str]] = {}
    for row in found.values():
        by_namespace.setdefault((row[0], row[1]), []).append(row[2])
    writes: dict[tuple[str, str, str], list[PendingWrite]] = {}
    for (thread_id, namespace), checkpoint_ids in by_namespace.items():
        writes.update(_writes(connection, serde, thread_id, namespace, checkpoint_ids))
    return [_unpacked(serde, found[rowid], writes) for rowid in ids if rowid in found]


def _writes(
    connection: sqlite3.Connection,
    serde: CheckpointSerializer,
    thread_id: str,
    namespace: str,
    checkpoint_ids: Sequence[str],
) -> dict[tuple[str, str, str], list[PendingWrite]]:
    marks = ",".join("?" * len(checkpoint_ids))
    rows = connection.execute(
        "SELECT checkpoint_id, task_path, task_id, idx, channel, type, value FROM writes"
        f" WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id IN ({marks})",
        [thread_id, namespace, *checkpoint_ids],
    ).fetchall()
    rows.sort(key=lambda row: writes_sort_key(row[1], row[2], row[3]))
    writes: dict[tuple[str, str, str], list[PendingWrite]] = {}
    for checkpoint_id, _, task_id, _, channel, type_, value in rows:
        pending = (task_id, channel, serde.loads_channel(channel, (type_, value)))
        writes.setdefault((thread_id, namespace, checkpoint_id), []).append(pending)
    return writes


def _unpacked(
    serde: CheckpointSerializer, row: _Row, writes: Mapping[tuple[str, str, str], list[PendingWrite]]
) -> CheckpointTuple:
    thread_id, namespace, checkpoint_id, parent_id, type_, metadata, checkpoint = row
    return CheckpointTuple(
        place(thread_id, namespace, checkpoint_id),
        serde.loads_typed((type_, checkpoint)),
        orjson.loads(metadata) if metadata is not None else {},
        place(thread_id, namespace, parent_id) if parent_id else None,
        writes.get((thread_id, namespace, checkpoint_id), []),
    )


def delete_threads(connection: sqlite3.Connection, thread_ids: Sequence[str]) -> None:
    """Delete all rows of the threads."""
    for thread_id in thread_ids:
        connection.execute("DELETE FROM checkpoints WHERE thread_id = ?", (thread_id,))
        connection.execute("DELETE FROM writes WHERE thread_id = ?", (thread_id,))
        connection.execute("DELETE FROM replaced_writes WHERE thread_id = ?", (thread_id,))


# Each table of a thread with its large column.
_TABLES = {"writes": "value", "replaced_writes": "value", "checkpoints": "checkpoint"}


def delete_portion(connection: sqlite3.Connection, thread_ids: Sequence[str]) -> bool:
    """Delete a portion of the threads' rows; return whether nothing is left of them."""
    rows, size = PORTION_ROWS, PORTION_BYTES
    for thread_id in thread_ids:
        for table, large in _TABLES.items():
            # The length of a value stands in front of it: the value is not read.
            found = connection.execute(
                f"SELECT rowid, coalesce(length({large}), 0) FROM {table} WHERE thread_id = ? LIMIT ?",
                (thread_id, rows + 1),
            ).fetchall()
            for rowid, length in found:
                if rows <= 0 or size <= 0:
                    return False
                connection.execute(f"DELETE FROM {table} WHERE thread_id = ? AND rowid = ?", (thread_id, rowid))
                rows, size = rows - 1, size - length
    return True


def delete_run(connection: sqlite3.Connection, serde: JsonPlusSerializer, thread_id: str, run_id: str) -> None:
    """Delete the run's checkpoints with their writes, and its writes on others: what they replaced is there again.

    What the delta channels of later checkpoints are rebuilt from stays.
    """
    doomed: dict[Place, str | None] = {
        (namespace, checkpoint_id): parent_id
        for namespace, checkpoint_id, parent_id in connection.execute(
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id FROM checkpoints"
            " WHERE run_id = ? AND thread_id = ?",
            (run_id, thread_id),
        )
    }
    needed, deltas = _needed_by_others(connection, serde, thread_id, doomed)
    doomed = {place: parent_id for place, parent_id in doomed.items() if place not in needed}
    children = connection.execute(
        "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id FROM checkpoints"
        " WHERE thread_id = ? AND parent_checkpoint_id IS NOT NULL",
        (thread_id,),
    ).fetchall()
    for namespace, checkpoint_id, parent_id in children:
        if (namespace, parent_id) in doomed and (namespace, checkpoint_id) not in doomed:
            connection.execute(
                "UPDATE checkpoints SET parent_checkpoint_id = ?"
                " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
                (adopted(doomed, namespace, parent_id), thread_id, namespace, checkpoint_id),
            )
    for table in ("writes", "replaced_writes", "checkpoints"):
        connection.executemany(
            f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            [(thread_id, namespace, checkpoint_id) for namespace, checkpoint_id in doomed],
        )
    _take_back_writes(connection, thread_id, run_id, needed, deltas)


def _take_back_writes(
    connection: sqlite3.Connection, thread_id: str, run_id: str, needed: Collection[Place], deltas: Collection[str]
) -> None:
    """Delete the run's writes; in the place of each, what it replaced last. Writes that others need stay."""
    connection.execute("DELETE FROM replaced_writes WHERE thread_id = ? AND run_id = ?", (thread_id, run_id))
    written = connection.execute(
        "SELECT channel, rowid, checkpoint_ns, checkpoint_id, task_id, idx FROM writes"
        " WHERE thread_id = ? AND run_id = ?",
        (thread_id, run_id),
    ).fetchall()
    for channel, rowid, *where in written:
        if channel in deltas and (where[0], where[1]) in needed:
            continue
        connection.execute("DELETE FROM writes WHERE rowid = ?", (rowid,))
        replaced = connection.execute(
            "SELECT max(sequence) FROM replaced_writes"
            " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ? AND idx = ?",
            (thread_id, *where),
        ).fetchone()[0]
        if replaced is not None:
            columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, run_id, channel, type, value"
            connection.execute(
                f"INSERT INTO writes ({columns}) SELECT {columns} FROM replaced_writes WHERE sequence = ?", (replaced,)
            )
            connection.execute("DELETE FROM replaced_writes WHERE sequence = ?", (replaced,))


def _needed_by_others(
    connection: sqlite3.Connection, serde: JsonPlusSerializer, thread_id: str, doomed: Collection[Place]
) -> tuple[set[Place], set[str]]:
    """The checkpoints from which the delta channels of those that are not doomed are rebuilt; the channels."""
    uses_deltas = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = ?"
        " AND instr(metadata, CAST('\"counters_since_delta_snapshot\"' AS BLOB)))",
        (thread_id,),
    ).fetchone()[0]
    if not uses_deltas:
        return set(), set()
    rows = thread_rows(connection, thread_id)
    survivors = [row for place, row in rows.items() if place not in doomed]
    deltas = set().union(*(row.deltas for row in survivors))
    return needed_by(survivors, rows, stored_in(connection, serde, thread_id)), deltas


def delete_runs(connection: sqlite3.Connection, serde: JsonPlusSerializer, run_ids: Sequence[str]) -> None:
    for run_id in run_ids:
        for (thread_id,) in connection.execute(
            "SELECT DISTINCT thread_id FROM checkpoints WHERE run_id = ?", (str(run_id),)
        ).fetchall():
            delete_run(connection, serde, thread_id, str(run_id))


def thread_rows(connection: sqlite3.Connection, thread_id: str) -> dict[Place, Row]:
    """The thread's checkpoints by place, their values left where they are."""
    found = connection.execute(
        "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata FROM checkpoints WHERE thread_id = ?",
        (thread_id,),
    )
    rows = (row_of(ns, id_, parent, orjson.loads(metadata or b"{}")) for ns, id_, parent, metadata in found)
    return {row.place: row for row in rows}


def stored_in(connection: sqlite3.Connection, serde: JsonPlusSerializer, thread_id: str) -> Stored:
    """Reads which channels a checkpoint holds values of."""

    def stored(namespace: str, checkpoint_id: str) -> Collection[str]:
        row = connection.execute(
            "SELECT type, checkpoint FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            (thread_id, namespace, checkpoint_id),
        ).fetchone()
        channels: Collection[str] = serde.loads_typed(row)["channel_values"].keys()
        return channels

    return stored


def place(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names one checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}
