"""Fingerprints of the checkpoints in a `CheckpointFile`: functions on a connection."""

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from platform_site.core.checkpoints.fingerprints import Fingerprint

# The first bytes of a checkpoint hold the moment in which it was made.
_CHECKPOINTS = """
SELECT checkpoint_id, rowid, parent_checkpoint_id, type, metadata, length(checkpoint), substr(checkpoint, 1, 256)
FROM checkpoints
"""
# An error, an interrupt and a resume value (their `idx` is negative) are replaced in place. Any other write stays as it
# is until it is deleted with its run, so a large one is known by its row, its run and its length.
_WRITES = """
SELECT checkpoint_id, rowid, task_id, idx, task_path, run_id, channel, type, length(value),
    CASE WHEN idx < 0 OR length(value) <= 1024 THEN value END
FROM writes WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id IN
"""


def fingerprints(
    connection: sqlite3.Connection,
    thread_id: str,
    *,
    only: Sequence[str] | None = None,
    before: str | None = None,
    limit: int = -1,
) -> list[Fingerprint]:
    """Return the fingerprints of the thread's root checkpoints, newest first: `only` these, those `before` one."""
    conditions, params = "thread_id = ? AND checkpoint_ns = ''", [thread_id]
    if only is not None:
        conditions, params = f"{conditions} AND checkpoint_id IN {_marks(only)}", [*params, *only]
    if before is not None:
        conditions, params = f"{conditions} AND checkpoint_id < ?", [*params, before]
    found = connection.execute(
        f"{_CHECKPOINTS} WHERE {conditions} ORDER BY checkpoint_id DESC LIMIT ?", [*params, limit]
    ).fetchall()
    facts: dict[str, list[Any]] = {checkpoint_id: rest for checkpoint_id, *rest in found}
    values: dict[str, list[bytes]] = {checkpoint_id: [] for checkpoint_id in facts}
    if facts:
        writes = connection.execute(f"{_WRITES} {_marks(facts)} ORDER BY rowid", [thread_id, *facts])
        for checkpoint_id, *rest, value in writes:
            facts[checkpoint_id] += rest
            if value is not None:
                values[checkpoint_id].append(value)
    return [Fingerprint(checkpoint_id, _digest(facts[checkpoint_id], values[checkpoint_id])) for checkpoint_id in facts]


def _digest(facts: list[Any], values: list[bytes]) -> bytes:
    # The length of each value is among the facts.
    digest = blake2b(repr(facts).encode(), digest_size=16)
    digest.update(b"".join(values))
    return digest.digest()


def _marks(values: Iterable[Any]) -> str:
    return "(" + ",".join("?" for _ in values) + ")"
