"""Copying, pruning and measuring threads in the tables of LangGraph's PostgreSQL saver: each in one transaction."""

from collections.abc import Collection, Iterable, Sequence

from langgraph.checkpoint.postgres.base import PRUNE_DELETE_THREADS_SQL
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from platform_site.core.checkpoints.chains import (
    STRATEGIES,
    Place,
    Row,
    Stored,
    known_rows,
    latest_and_needed,
    needed_by,
    row_of,
)
from platform_site.core.checkpoints.interface import PRUNED_TOGETHER, adopted
from platform_site.core.checkpoints.storage import Storage

_COPIED = {
    "checkpoint_blobs": "checkpoint_ns, channel, version, type, blob",
    "checkpoint_writes": "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob, run_id",
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
}
THREAD_TABLES = ("checkpoint_writes", "checkpoint_writes_replaced", "checkpoint_blobs", "checkpoints")
WRITE_COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob, run_id"
WRITE_KEY = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"
DELETE_THREADS = (*PRUNE_DELETE_THREADS_SQL, "DELETE FROM checkpoint_writes_replaced WHERE thread_id = ANY(%s)")
# One state of the thread for all statements, while a run writes to it.
_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


async def copy_thread(connection: AsyncConnection[DictRow], source: str, target: str) -> None:
    """Copy all rows of a thread to one that has none; not what its runs replaced, which only deleting them asks for."""
    async with connection.transaction():
        await connection.execute(_ONE_SNAPSHOT)
        for table, columns in _COPIED.items():
            await connection.execute(
                f"INSERT INTO {table} (thread_id, {columns}) SELECT %s, {columns} FROM {table} WHERE thread_id = %s",
                (target, source),
            )


async def prune(connection: AsyncConnection[DictRow], thread_ids: Sequence[str], strategy: str) -> None:
    """`delete` everything of the threads, or `keep_latest`: see `latest_and_needed`."""
    if strategy not in STRATEGIES:
        raise ValueError(f"Unknown prune strategy: {strategy!r}")
    if strategy == "delete":
        async with connection.transaction():
            for statement in DELETE_THREADS:
                await connection.execute(statement, (list(thread_ids),))
        return
    for thread_id in thread_ids:
        await keep_latest(connection, thread_id)


async def keep_latest(
    connection: AsyncConnection[DictRow],
    thread_id: str,
    known: Collection[Place] | None = None,
    *,
    is_busy: bool = False,
) -> None:
    """Delete what `latest_and_needed` does not keep of the checkpoints that are `known`; what came since stays."""
    async with connection.transaction():
        rows = known_rows(await thread_rows(connection, thread_id), known)
        kept = latest_and_needed(rows, await stored_in(connection, thread_id, rows), is_busy=is_busy)
        kept_ids, gone_ids = _by_namespace(kept), _by_namespace(rows.keys() - kept)
        for namespace, gone in gone_ids.items():
            await connection.execute(
                "UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = %s AND checkpoint_ns = %s"
                " AND checkpoint_id = ANY(%s) AND parent_checkpoint_id = ANY(%s)",
                (thread_id, namespace, kept_ids.get(namespace, []), gone),
            )
    # Nothing that is kept names them any more: they may go in any portions.
    for namespace, gone in gone_ids.items():
        for start in range(0, len(gone), PRUNED_TOGETHER):
            async with connection.transaction():
                await delete_checkpoints(connection, thread_id, namespace, gone[start : start + PRUNED_TOGETHER])


async def delete_run(connection: AsyncConnection[DictRow], thread_id: str, run_id: str) -> None:
    """Delete the run's checkpoints with their writes, and its writes on others: what they replaced is there again.

    What the delta channels of later checkpoints are rebuilt from stays.
    """
    async with connection.transaction():
        rows = await thread_rows(connection, thread_id)
        found = await connection.execute(
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = %s AND metadata ->> 'run_id' = %s",
            (thread_id, run_id),
        )
        own = {(row["checkpoint_ns"], row["checkpoint_id"]) for row in await found.fetchall()}
        survivors = [row for place, row in rows.items() if place not in own]
        needed = needed_by(survivors, rows, await stored_in(connection, thread_id, rows))
        doomed = {place: rows[place].parent_id for place in (own & rows.keys()) - needed}
        for row in rows.values():
            if row.place not in doomed and (row.namespace, row.parent_id) in doomed:
                await connection.execute(
                    "UPDATE checkpoints SET parent_checkpoint_id = %s"
                    " WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s",
                    (adopted(doomed, row.namespace, row.parent_id), thread_id, *row.place),
                )
        for namespace, checkpoint_ids in _by_namespace(doomed).items():
            await delete_checkpoints(connection, thread_id, namespace, checkpoint_ids)
        await _take_back_writes(connection, thread_id, run_id, needed, set().union(*(row.deltas for row in survivors)))


async def _take_back_writes(
    connection: AsyncConnection[DictRow],
    thread_id: str,
    run_id: str,
    needed: Collection[Place],
    deltas: Collection[str],
) -> None:
    """Delete the run's writes; in the place of each, what it replaced last. Writes that others need stay."""
    run = (thread_id, run_id)
    await connection.execute("DELETE FROM checkpoint_writes_replaced WHERE thread_id = %s AND run_id = %s", run)
    places = list(needed)
    taken = await connection.execute(
        "DELETE FROM checkpoint_writes WHERE thread_id = %s AND run_id = %s AND NOT (channel = ANY(%s)"
        " AND (checkpoint_ns, checkpoint_id) IN (SELECT * FROM unnest(%s::text[], %s::text[])))"
        f" RETURNING {WRITE_KEY}",
        (*run, list(deltas), [place[0] for place in places], [place[1] for place in places]),
    )
    for row in await taken.fetchall():
        await connection.execute(
            f"WITH last AS (DELETE FROM checkpoint_writes_replaced WHERE sequence = ("
            f"SELECT max(sequence) FROM checkpoint_writes_replaced WHERE ({WRITE_KEY}) = (%s, %s, %s, %s, %s))"
            f" RETURNING {WRITE_COLUMNS})"
            f" INSERT INTO checkpoint_writes ({WRITE_COLUMNS}) SELECT {WRITE_COLUMNS} FROM last",
            tuple(row.values()),
        )


def _by_namespace(places: Iterable[Place]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for namespace, checkpoint_id in places:
        found.setdefault(namespace, []).append(checkpoint_id)
    return found


async def delete_checkpoints(
    connection: AsyncConnection[DictRow], thread_id: str, namespace: str, checkpoint_ids: Sequence[str]
) -> None:
    """Delete checkpoints of one namespace with their writes, and the values that only they used."""
    for table in ("checkpoint_writes", "checkpoint_writes_replaced", "checkpoints"):
        await connection.execute(
            f"DELETE FROM {table} WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = ANY(%s)",
            (thread_id, namespace, list(checkpoint_ids)),
        )
    await connection.execute(
        "DELETE FROM checkpoint_blobs WHERE thread_id = %s AND checkpoint_ns = %s AND (channel, version) NOT IN"
        " (SELECT v.key, v.value FROM checkpoints c"
        "  CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') v"
        "  WHERE c.thread_id = %s AND c.checkpoint_ns = %s)",
        (thread_id, namespace, thread_id, namespace),
    )


async def thread_rows(connection: AsyncConnection[DictRow], thread_id: str) -> dict[Place, Row]:
    """The thread's checkpoints by place, without their values."""
    found = await connection.execute(
        "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id,"
        " jsonb_build_object('counters_since_delta_snapshot', metadata -> 'counters_since_delta_snapshot',"
        " 'parents', metadata -> 'parents', 'run_id', metadata -> 'run_id') AS metadata"
        " FROM checkpoints WHERE thread_id = %s",
        (thread_id,),
    )
    rows = (row_of(*row.values()) for row in await found.fetchall())
    return {row.place: row for row in rows}


async def stored_in(connection: AsyncConnection[DictRow], thread_id: str, rows: dict[Place, Row]) -> Stored:
    """Tells which of the thread's delta channels a checkpoint holds values of."""
    channels = sorted(set().union(*(row.deltas for row in rows.values())))
    stored: dict[Place, list[str]] = {}
    if channels:
        # Simple values stand in the checkpoint itself, others as blobs.
        found = await connection.execute(
            "SELECT c.checkpoint_ns, c.checkpoint_id, v.key FROM checkpoints c"
            " CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') v"
            " WHERE c.thread_id = %s AND v.key = ANY(%s) AND (c.checkpoint -> 'channel_values' ? v.key OR EXISTS ("
            "  SELECT 1 FROM checkpoint_blobs b WHERE b.thread_id = c.thread_id AND b.checkpoint_ns = c.checkpoint_ns"
            "  AND b.channel = v.key AND b.version = v.value AND b.type <> 'empty'))",
            (thread_id, channels),
        )
        for row in await found.fetchall():
            stored.setdefault((row["checkpoint_ns"], row["checkpoint_id"]), []).append(row["key"])
    return lambda namespace, checkpoint_id: stored.get((namespace, checkpoint_id), [])


async def storage(connection: AsyncConnection[DictRow], thread_id: str) -> Storage:
    """What the thread takes up; checkpoints share the values that did not change between them."""
    async with connection.transaction():
        await connection.execute(_ONE_SNAPSHOT)
        totals = await connection.execute(
            "SELECT (SELECT count(*) FROM checkpoints WHERE thread_id = %(id)s) AS checkpoints,"
            " (SELECT coalesce(sum(octet_length(checkpoint::text) + octet_length(metadata::text)), 0)"
            "  FROM checkpoints WHERE thread_id = %(id)s) AS checkpoint_bytes,"
            " (SELECT count(*) FROM checkpoint_writes WHERE thread_id = %(id)s) AS writes,"
            " (SELECT coalesce(sum(octet_length(blob)), 0) FROM checkpoint_writes WHERE thread_id = %(id)s)"
            "  AS write_bytes",
            {"id": thread_id},
        )
        total = await totals.fetchone()
        assert total is not None
        inline = await connection.execute(
            "SELECT v.key AS channel, count(DISTINCT (c.checkpoint_ns, v.value)) AS versions,"
            " coalesce(sum(octet_length((c.checkpoint -> 'channel_values' -> v.key)::text)), 0) AS bytes"
            " FROM checkpoints c CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') v"
            " WHERE c.thread_id = %s GROUP BY v.key",
            (thread_id,),
        )
        channels = await inline.fetchall()
        blobs = await connection.execute(
            "SELECT channel, coalesce(sum(octet_length(blob)), 0) AS bytes FROM checkpoint_blobs"
            " WHERE thread_id = %s GROUP BY channel",
            (thread_id,),
        )
        blob_bytes = {row["channel"]: int(row["bytes"]) for row in await blobs.fetchall()}
    return Storage(
        checkpoints=total["checkpoints"],
        checkpoint_bytes=int(total["checkpoint_bytes"]) - sum(int(row["bytes"]) for row in channels),
        versions={row["channel"]: row["versions"] for row in channels},
        channel_bytes={row["channel"]: int(row["bytes"]) + blob_bytes.get(row["channel"], 0) for row in channels},
        writes=total["writes"],
        write_bytes=int(total["write_bytes"]),
    )
