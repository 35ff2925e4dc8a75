"""A claim: a run that a process owns, under a lease whose name is unique for good. `queue.py` has the statements."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from platform_site.core.database.access import moment
from runs.models import Run

# How the name of a lease ends that ends its run.
END = "/end"


@dataclass
class Claim:
    """A run that this process owns, with all that its execution needs."""

    sequence: int
    run_id: UUID
    thread_id: UUID
    workspace_id: int
    assistant_id: UUID
    kwargs: dict[str, Any]
    attempt: int
    lease_owner: str
    scheduled_at: datetime
    started_at: datetime
    attempt_started_at: datetime
    baseline: dict[str, Any] | None = None
    cancel_action: str | None = None
    # Whether there was an attempt before, lost or drained.
    was_begun: bool = False

    @property
    def worker(self) -> str:
        return worker_of(self.lease_owner)

    @property
    def configurable(self) -> dict[str, Any]:
        return self.kwargs["config"]["configurable"]

    @property
    def graph_id(self) -> str:
        return str(self.configurable["graph_id"])

    @property
    def is_temporary(self) -> bool:
        """Whether the run and its thread are deleted when it ends; its checkpoints are kept in memory."""
        return bool(self.kwargs["temporary"])

    @property
    def is_recovery(self) -> bool:
        """Whether an earlier attempt was lost with its process."""
        return self.attempt > 1


def lease_name(worker: str, run_id: UUID, attempt: int) -> str:
    """Return a name for the lease of an attempt that no lease had or will have."""
    # The number alone is not unique: an attempt that does not count leaves its number to the next.
    return f"{worker}/{run_id.hex[-12:]}/{attempt}/{secrets.token_hex(4)}"


def worker_of(lease_owner: str) -> str:
    """Return the worker that a lease names."""
    return lease_owner.partition("/")[0]


def same_lease(one: str, other: str) -> bool:
    """Return whether two names are of one lease: an attempt that ends its run may have renamed it."""
    return one.removesuffix(END) == other.removesuffix(END)


class RunRow(NamedTuple):
    """What a claim needs of a run's row."""

    sequence: int
    run_id: UUID
    thread_id: UUID
    workspace_id: int
    assistant_id: UUID
    kwargs: dict[str, Any]
    attempt: int
    scheduled_at: datetime
    started_at: datetime | None
    baseline: dict[str, Any] | None = None
    cancel_action: str | None = None


COLUMNS = ", ".join(f"r.{column}" for column in RunRow._fields)


def row_of(run: Run) -> RunRow:
    """Return what a claim needs of a run that was read with all its columns."""
    return RunRow(*[getattr(run, column) for column in RunRow._fields])


def make_claim(row: RunRow, owner: str, attempt: int, attempt_started_at: datetime) -> Claim:
    """Return the claim of an attempt that `owner` is the lease of. The row is as it was before the attempt."""
    return Claim(
        **row._asdict()
        | {
            "attempt": attempt,
            "lease_owner": owner,
            "started_at": row.started_at or attempt_started_at,
            "attempt_started_at": attempt_started_at,
            "was_begun": row.started_at is not None,
        }
    )


def decoded(row: tuple[Any, ...]) -> RunRow:
    """Return the row that raw SQL has read by `COLUMNS`."""
    found = RunRow(*row)
    return found._replace(
        run_id=_uuid(found.run_id),
        thread_id=_uuid(found.thread_id),
        assistant_id=_uuid(found.assistant_id),
        kwargs=orjson.loads(row[5]),
        scheduled_at=moment(found.scheduled_at),
        started_at=moment(found.started_at) if found.started_at else None,
        baseline=orjson.loads(row[9]) if row[9] else None,
    )


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


@dataclass(frozen=True)
class NewRun:
    """What is stored of a run when it is made."""

    run_id: UUID
    workspace_id: int
    thread_id: UUID
    assistant_id: UUID
    kwargs: dict[str, Any]
    metadata: dict[str, Any]
    multitask_strategy: str
    due: datetime


class LeaseOf(NamedTuple):
    """A lease in a worker's name, and how its run was asked to end."""

    run_id: UUID
    owner: str
    cancel_action: str | None
