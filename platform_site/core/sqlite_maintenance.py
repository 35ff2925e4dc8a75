"""Copying, pruning and measuring the threads of a `CheckpointFile`: functions on a connection."""

import sqlite3
from collections.abc import Collection, Sequence

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol

from platform_site.core.checkpoint_chains import STRATEGIES, Place, known_rows, latest_and_needed
from platform_site.core.checkpoint_rows import delete_threads, stored_in, thread_rows
from platform_site.core.checkpoint_storage import Storage

_COPIED = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type, metadata, checkpoint",
    "writes": "checkpoint_ns, checkpoint_id, task_id, idx, task_path, run_id, channel, type, value",
}


def copy_thread(connection: sqlite3.Connection, source: str, target: str) -> None:
    """Copy all rows of a thread to one that has none; not what its runs replaced, which only deleting them asks for."""
    for table, columns in _COPIED.items():
        connection.execute(
            f"INSERT INTO {table} (thread_id, {columns}) SELECT ?, {columns} FROM {table} WHERE thread_id = ?",
            (target, source),
        )


def prune(connection: sqlite3.Connection, serde: SerializerProtocol, thread_ids: Sequence[str], strategy: str) -> None:
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
    serde: SerializerProtocol,
    thread_id: str,
    known: Collection[Place] | None = None,
    *,
    is_busy: bool = False,
) -> None:
    """Delete what `latest_and_needed` does not keep of the checkpoints that are `known`; what came since stays."""
    rows = known_rows(thread_rows(connection, thread_id), known)
    kept = latest_and_needed(rows, stored_in(connection, serde, thread_id), is_busy=is_busy)
    gone = [(thread_id, *place) for place in rows if place not in kept]
    roots = [(thread_id, *place) for place in kept if (place[0], rows[place].parent_id) not in kept]
    where = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
    for table in ("writes", "replaced_writes", "checkpoints"):
        connection.executemany(f"DELETE FROM {table} {where}", gone)
    connection.executemany(f"UPDATE checkpoints SET parent_checkpoint_id = NULL {where}", roots)


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
