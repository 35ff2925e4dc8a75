"""Reads of runs, through the principal."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.database.access import stamp, uuid_param
from platform_site.core.errors import BadRequest, NotFound, Unprocessable
from platform_site.core.graphs.output import Output, questions_of
from platform_site.core.http.paging import Answer
from runs.models import CancelAction, Run
from threads.models import LARGE_COLUMNS_OF_THREAD, Thread, ThreadStatus
from threads.selectors import thread_not_found

# Columns of any size of a thread that the outcome of a run does not show.
_NOT_IN_OUTCOMES = sorted({*LARGE_COLUMNS_OF_THREAD} - {"thread__values", "thread__interrupts"})
COLUMNS = (
    "run_id",
    "thread_id",
    "assistant_id",
    "metadata",
    "status",
    "kwargs",
    "multitask_strategy",
    "created_at",
    "updated_at",
)
_IDS = {"run_id", "thread_id", "assistant_id"}
_JSON = {"metadata", "kwargs"}
SELECTABLE = (*COLUMNS, "langsmith_session_name")


_VISIBLE = "workspace_id = %s AND (cancel_action IS NULL OR cancel_action <> 'rollback')"


def runs_visible(principal: Principal) -> "QuerySet[Run]":
    """Every run of the caller's workspace but those that are rolled back or deleted: they are only still ending."""
    hidden = Q(cancel_action=CancelAction.ROLLBACK)
    on_thread = Thread.objects.filter(pk=OuterRef("thread_id"), workspace_id=principal.workspace_id)
    return Run.objects.exclude(hidden).filter(Exists(on_thread), workspace_id=principal.workspace_id)


def runs_at_breakpoints() -> "QuerySet[Run]":
    """Return the runs that a breakpoint stopped and whose thread no run has taken on since.

    The query is for the conditions of others, which name the workspace.
    """
    newer = Run.objects.filter(
        thread_id=OuterRef("thread_id"), sequence__gt=OuterRef("sequence"), started_at__isnull=False
    )
    stopped = Run.objects.filter(stopped_before__isnull=False, thread__status=ThreadStatus.INTERRUPTED)
    return stopped.filter(~Exists(newer))


def _wire(row: tuple[Any, ...], columns: tuple[str, ...]) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if value is None:
            wire[column] = None
        elif column in _IDS:
            wire[column] = str(value if isinstance(value, UUID) else UUID(value))
        elif column in _JSON:
            wire[column] = orjson.Fragment(value)
        elif column.endswith("_at"):
            wire[column] = stamp(value)
        else:
            wire[column] = value
    return wire


def run_get(principal: Principal, thread_id: UUID, run_id: UUID) -> bytes:
    """The run as JSON. Raises `NotFound`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(COLUMNS)} FROM runs_run r WHERE run_id = %s AND thread_id = %s AND {_VISIBLE} "
            "AND EXISTS (SELECT 1 FROM threads_thread t WHERE t.thread_id = r.thread_id AND t.workspace_id = %s)",
            [uuid_param(run_id), uuid_param(thread_id), principal.workspace_id, principal.workspace_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound("Not Found")
    return orjson.dumps({**_wire(row, COLUMNS), "langsmith_session_name": None})


def run_list(
    principal: Principal, thread_id: UUID, *, limit: int, offset: int, status: str | None, select: list[str]
) -> bytes:
    """The thread's runs as JSON, newest first. Raises `NotFound` for the thread, `Unprocessable` for a column."""
    if unknown := [name for name in select if name not in SELECTABLE]:
        raise Unprocessable(f"Invalid select columns: {unknown}")
    columns = tuple(name for name in select if name in COLUMNS) if select else COLUMNS
    conditions, params = f"thread_id = %s AND {_VISIBLE}", [uuid_param(thread_id), principal.workspace_id]
    if status is not None:
        conditions += " AND status = %s"
        params.append(status)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM threads_thread WHERE thread_id = %s AND workspace_id = %s",
            [uuid_param(thread_id), principal.workspace_id],
        )
        if cursor.fetchone() is None:
            raise thread_not_found(thread_id)
        cursor.execute(
            f"SELECT {', '.join((*columns, 'sequence'))} FROM runs_run WHERE {conditions} "
            "ORDER BY sequence DESC LIMIT %s OFFSET %s",
            [*params, limit, offset],
        )
        extra = {"langsmith_session_name": None} if not select or "langsmith_session_name" in select else {}
        answer = Answer()
        answer.fill(orjson.dumps({**_wire(row[:-1], columns), **extra}) for row in cursor)
    return answer.body


def page_number(text: str | None, default: int) -> int:
    """A `limit` or `offset` of a query string. Raises `BadRequest` in the words of the contract."""
    if text is None:
        return default
    try:
        return min(max(int(text), 0), 2**31)
    except ValueError as error:
        raise BadRequest(str(error)) from None


# The log of a run that ended less than this ago may not be closed yet.
JUST_ENDED = timedelta(seconds=5)


@dataclass(frozen=True)
class RunOutcome:
    """How far a run is, for those who wait for it."""

    is_finished: bool
    # So short a time ago that its log may still be about to be closed.
    has_just_ended: bool
    thread_id: UUID
    body: bytes
    resumable: bool


def run_outcome(principal: Principal, thread_id: UUID, run_id: UUID) -> RunOutcome | None:
    """Where the run stands; `body` is what `join` answers once it has ended. None if there is no such run.

    A finished run is answered with the thread's current values and its open interrupts, a failed one with its error.
    """
    run = (
        runs_visible(principal)
        .filter(run_id=run_id, thread_id=thread_id)
        .select_related("thread")
        .defer("metadata", "error_traceback", *_NOT_IN_OUTCOMES)
        .first()
    )
    if run is None:
        return None
    return RunOutcome(
        is_finished=run.finished_at is not None,
        has_just_ended=run.finished_at is not None and timezone.now() - run.finished_at < JUST_ENDED,
        thread_id=run.thread_id,
        body=_outcome_body(run),
        resumable=bool(run.kwargs.get("resumable")),
    )


def outcomes_of_ended(run_ids: list[str]) -> dict[str, bytes | None]:
    """Those of these runs that have ended, each with what `join` answers; None for one that is gone."""
    found = {
        str(run.run_id): run
        for run in Run.objects.filter(run_id__in=run_ids)
        .select_related("thread")
        .defer("metadata", "error_traceback", *_NOT_IN_OUTCOMES)
    }
    ended: dict[str, bytes | None] = {run_id: None for run_id in run_ids if run_id not in found}
    for run_id, run in found.items():
        if run.finished_at is not None and run.lease_owner is None:
            ended[run_id] = _outcome_body(run)
    return ended


def _outcome_body(run: Run) -> bytes:
    thread = run.thread
    if run.status in ("error", "timeout"):
        return orjson.dumps({"__error__": {"error": run.error_class, "message": run.error_message}})
    values = thread.values if thread.values is not None else {}
    return Output(thread.output_keys).answer(values, questions_of(thread.interrupts))
