"""Fingerprints of the checkpoints in PostgreSQL, made of the versions of their rows.

A row that was changed, or deleted and made again, has another `xmin`, the transaction that wrote it (PostgreSQL manual,
5.6), so no value is read. Transaction numbers are given anew after a failover or a crash, at which the server starts.
"""

from typing import LiteralString

# For a statement on `checkpoints`. The length of a value stands before it: it is not unpacked.
FINGERPRINT: LiteralString = """
concat_ws('/', pg_postmaster_start_time(), checkpoints.ctid, checkpoints.xmin, parent_checkpoint_id, (
    SELECT string_agg(concat_ws('/', w.task_id, w.idx, w.ctid, w.xmin, octet_length(w.blob)), ' '
        ORDER BY w.task_id, w.idx)
    FROM checkpoint_writes w
    WHERE w.thread_id = checkpoints.thread_id AND w.checkpoint_ns = checkpoints.checkpoint_ns
        AND w.checkpoint_id = checkpoints.checkpoint_id
))
"""
# Of the root graph's checkpoints of a thread; more conditions may follow.
FINGERPRINTS: LiteralString = (
    f"SELECT checkpoint_id, {FINGERPRINT} FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
)
