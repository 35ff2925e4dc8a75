"""Fingerprints of the checkpoints in PostgreSQL, made of the versions of their rows.

A row that was changed, or deleted and made again, has another `xmin`, the transaction that wrote it (PostgreSQL manual,
5.6), so no value is read. Transaction numbers are given anew after a failover or a crash, at which the server starts.
"""

from typing import LiteralString

# For a statement on `checkpoints`. The length of a value stands before it: it is not unpacked.
FINGERPRINT: LiteralString = """
concat_ws('/', extract(epoch FROM pg_postmaster_start_time()), checkpoints.ctid, checkpoints.xmin, (
    SELECT string_agg(concat_ws('/', w.task_id, w.idx, w.ctid, w.xmin, octet_length(w.blob)), ' '
        ORDER BY w.task_id, w.idx)
    FROM checkpoint_writes w
    WHERE w.thread_id = checkpoints.thread_id AND w.checkpoint_ns = checkpoints.checkpoint_ns
        AND w.checkpoint_id = checkpoints.checkpoint_id
))
"""


def fingerprints_query(
    thread_id: str, *, checkpoint_id: str | None, before: str | None, limit: int
) -> tuple[str, list[str | int]]:
    """Return the statement, with its parameters, that finds root checkpoints with their fingerprints, newest first."""
    conditions = "thread_id = %s AND checkpoint_ns = ''"
    params: list[str | int] = [thread_id]
    for condition, value in (("checkpoint_id = %s", checkpoint_id), ("checkpoint_id < %s", before)):
        if value is not None:
            conditions, params = f"{conditions} AND {condition}", [*params, value]
    return (
        f"SELECT checkpoint_id, {FINGERPRINT} FROM checkpoints WHERE {conditions} ORDER BY checkpoint_id DESC LIMIT %s",
        [*params, limit],
    )
