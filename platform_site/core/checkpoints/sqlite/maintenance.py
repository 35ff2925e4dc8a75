"""Copying, pruning and measuring the threads of a `CheckpointFile`: functions on a connection."""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from platform_site.core.checkpoints.chains import STRATEGIES, Place, known_rows, latest_and_needed
from platform_site.core.checkpoints.interface import PORTION_BYTES, PORTION_ROWS
from platform_site.core.checkpoints.sqlite.rows import delete_threads, stored_in, thread_rows
from platform_site.core.checkpoints.storage import Storage
from platform_site.core.quotas import require_free_disk

_AT = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_COPIED = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type, metadata, checkpoint",
    "writes": "checkpoint_ns, checkpoint_id, task_id, idx, task_path, run_id, channel, type, value",
}


def copy_in_portions(
    reader: sqlite3.Connection,
    write: Callable[[Callable[[sqlite3.Connection], object]], object],
    source: str,
    target: str,
) -> None:
    """Copy all rows of a thread, as the reader's transaction sees them, in a transaction for each portion.

    `write` runs a function in the transaction of the file's writer: it writes for others in between. Raises
    `InsufficientStorage` if the disk becomes nearly full.
    """
    for table, columns in _COPIED.items():
        insert = f"INSERT INTO {table} (thread_id, {columns}) VALUES (?{', ?' * len(columns.split(', '))})"
        portion: list[tuple[Any, ...]] = []
        size = 0
        for row in reader.execute(f"SELECT {columns} FROM {table} WHERE thread_id = ?", (source,)):
            portion.append((target, *row))
            # The large column is the last.
            size += len(row[-1] or b"")
            if len(portion) == PORTION_ROWS or size >= PORTION_BYTES:
                require_free_disk()
                write(partial(_insert, statement=insert, rows=portion))
                portion, size = [], 0
        if portion:
            write(partial(_insert, statement=insert, rows=portion))


def _insert(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.executemany(statement, rows)


def copy_thread(connection: sqlite3.Connection, source: str, target: str) -> None:
    """Copy all rows of a thread to one that has none; not what its runs replaced, which only deleting them asks for."""
    for table, columns in _COPIED.items():
        connection.execute(
            f"INSERT INTO {table} (thread_id, {columns}) SELECT ?, {columns} FROM {table} WHERE thread_id = ?",
            (target, source),
        )


def prune(connection: sqlite3.Connection, serde: JsonPlusSerializer, thread_ids: Sequence[str], strategy: str) -> None:
    """`delete` everything of the threads, or `keep_latest`: see `latest_and_needed`."""
    if strategy not in STRATEGIES:
        raise ValueError(f"Unknown prune strategy: {strategy!r}")
    if strategy == "delete":
        delete_threads(connection, thread_ids)
        return
    for thread_id in thread_ids:
        keep_latest(connection, serde, thread_id)


def keep_latest(
    connection: sqlite3.Connection,
    serde: JsonPlusSerializer,
    thread_id: str,
    known: Collection[Place] | None = None,
    *,
    is_busy: bool = False,
) -> None:
    """Delete what `latest_and_needed` does not keep of the checkpoints that are `known`; what came since stays."""
    delete_places(connection, thread_id, cut_off_past(connection, serde, thread_id, known, is_busy=is_busy))


def cut_off_past(
    connection: sqlite3.Connection,
    serde: JsonPlusSerializer,
    thread_id: str,
    known: Collection[Place] | None,
    *,
    is_busy: bool,
) -> list[Place]:
    """Let no checkpoint that is kept name one that goes; return those that go, to be deleted in any portions."""
    rows = known_rows(thread_rows(connection, thread_id), known)
    kept = latest_and_needed(rows, stored_in(connection, serde, thread_id), is_busy=is_busy)
    roots = [(thread_id, *place) for place in kept if (place[0], rows[place].parent_id) not in kept]
    connection.executemany(f"UPDATE checkpoints SET parent_checkpoint_id = NULL {_AT}", roots)
    return [place for place in rows if place not in kept]


def delete_places(connection: sqlite3.Connection, thread_id: str, places: Sequence[Place]) -> None:
    """Delete checkpoints with their writes."""
    for table in ("writes", "replaced_writes", "checkpoints"):
        connection.executemany(f"DELETE FROM {table} {_AT}", [(thread_id, *place) for place in places])


def storage(connection: sqlite3.Connection, thread_id: str) -> Storage:
    """What the thread takes up. Each checkpoint holds values of its own, so each one counts."""
    measured = Storage()
    versions: dict[str, set[tuple[str, str]]] = {}
    for namespace, metadata, checkpoint in connection.execute(
        "SELECT checkpoint_ns, metadata, checkpoint FROM checkpoints WHERE thread_id = ?", (thread_id,)
    ):
        # As packed: rebuilding the values would need their classes.
        unpacked = ormsgpack.unpackb(checkpoint, ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS)
        in_values = 0
        for channel, value in unpacked["channel_values"].items():
            size = len(ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS))
            measured.channel_bytes[channel] = measured.channel_bytes.get(channel, 0) + size
            in_values += size
        for channel, version in unpacked["channel_versions"].items():
            versions.setdefault(channel, set()).add((namespace, str(version)))
        measured.checkpoints += 1
        measured.checkpoint_bytes += len(checkpoint) + len(metadata or b"") - in_values
    measured.versions = {channel: len(found) for channel, found in versions.items()}
    measured.writes, measured.write_bytes = connection.execute(
        "SELECT count(*), coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = ?", (thread_id,)
    ).fetchone()
    return measured
