"""Services that make runs; those that end them are in `runs.cancel`. Everything here runs in a database thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.database.access import IS_POSTGRES, json_param, moment, moment_param, uuid_param
from platform_site.core.errors import Conflict, NotFound, TooManyRequests, Unprocessable
from platform_site.core.graphs.registry import default_assistant_id, registry
from platform_site.core.ids import parse_uuid, uuid7
from platform_site.core.quotas import Quota, require_free_disk
from platform_site.core.wire import encode, keep, timestamp
from runs.cancel import runs_end
from runs.configuration import NO_HEADERS, Configured, RunPlan, check_run, plan_run
from runs.engine import engine as run_engine
from runs.engine.claim import NewRun
from runs.engine.queue import IS_HELD, add_run
from runs.models import IN_FLIGHT, CancelAction, Run, RunStatus
from runs.schemas import RunCreate, RunCreateStateless
from threads.messages import with_kept_messages
from threads.services import make_room_for, require_thread_quota, title_of
from threads.time_to_live import default_time_to_live, ttl_if_none, ttl_params

NOT_FOUND = "Thread or assistant not found."
THREAD_IN_USE = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
TOO_MANY_PENDING = (
    "The workspace has {} runs that wait for their turn, as many as it may have (MAX_PENDING_RUNS). Try again later."
)
# Whether no run of the thread `t` is in flight or holds it.
_IS_IDLE = (
    "NOT EXISTS (SELECT 1 FROM runs_run r WHERE r.thread_id = t.thread_id "
    "AND (r.status IN ('pending', 'running') OR r.lease_owner IS NOT NULL))"
)


def _count_pending(workspace_id: int, limit: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT 1 FROM runs_run WHERE workspace_id = %s AND status = 'pending' LIMIT %s) r",
            [workspace_id, limit],
        )
        return int(cursor.fetchone()[0])


_pending = Quota(_count_pending)


@dataclass(frozen=True)
class CreatedRun:
    """A run that was accepted: its ids and its JSON."""

    run_id: UUID
    thread_id: UUID
    body: bytes


@dataclass
class _ThreadRow:
    metadata: dict[str, Any]
    config: dict[str, Any]
    run_config: dict[str, Any] | None
    is_idle: bool
    # Whether somebody changes its state by hand.
    is_edited: bool
    has_title: bool
    # Messages that wait for a run.
    messages: list[dict[str, Any]]


def run_create(
    principal: Principal,
    thread_id: UUID | None,
    body: RunCreate,
    request_id: str,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    cron_id: UUID | None = None,
    taken: int = 0,
    run_id: UUID | None = None,
) -> CreatedRun:
    """Accept a run, on a thread of its own where `thread_id` is None; once this returns, the run will end.

    The run sees `headers` of the request, and `cron_id` if a cron makes it. `taken` slots of the engine are promised
    to others. `run_id` is for those who listen already, and must be new. Raises `NotFound` for the
    thread or the assistant, `Conflict` for a thread that is in use, `Unprocessable` and `BadRequest` for what cannot
    be asked, `BrokenGraph` for a graph that could not be loaded, `TooManyRequests` if too many runs wait already, and
    `InsufficientStorage` if the disk is nearly full.
    """
    check_run(body, has_thread=thread_id is not None)
    require_free_disk()
    run_id = run_id or uuid7()
    try:
        return _accept(principal, thread_id, body, request_id, headers, cron_id, taken, run_id)
    except IntegrityError:
        if thread_id is None:
            raise
        # Somebody made the thread, or claimed a run of it, at the same moment: now that is to be seen.
        return _accept(principal, thread_id, body, request_id, headers, cron_id, taken, run_id)


def _accept(
    principal: Principal,
    thread_id: UUID | None,
    body: RunCreate,
    request_id: str,
    headers: Mapping[str, str],
    cron_id: UUID | None,
    taken: int,
    run_id: UUID,
) -> CreatedRun:
    assistant_id = _assistant_id(body.assistant_id)
    now = timezone.now()
    due = now + timedelta(seconds=body.after_seconds) if body.after_seconds else now
    # A savepoint, where there is a transaction already, is for `run_create`, which may try again where others write
    # at the same moment.
    with transaction.atomic(savepoint=IS_POSTGRES), connection.cursor() as cursor:
        assistant = _assistant(cursor, principal, assistant_id)
        registry().require_not_broken(assistant.graph_id)
        if thread_id is None:
            own_thread, thread = uuid7(), None
        else:
            own_thread, thread = thread_id, _thread(principal, thread_id, body)
        # A run that is made while the state is changed by hand waits until that is done.
        is_edited = thread is not None and thread.is_edited
        is_free = thread is None or thread.is_idle
        if not is_free:
            is_free = _make_way(own_thread, body.multitask_strategy, now)
            if body.multitask_strategy != "enqueue":
                # With the messages that a run which made way has left waiting again.
                thread = _thread(principal, own_thread, body)
        body, kept = _take_messages(thread, body)
        plan = _plan(
            principal, body, assistant, run_id, own_thread, thread, request_id, headers, cron_id, thread_id is None
        )
        if kept:
            plan.kwargs["kept_messages"] = kept
        engine = run_engine.engine()
        # Claimed in the statement that makes it, where nothing stands in its way.
        may_begin = is_free and not is_edited and due <= now
        worker = engine.worker if may_begin and engine.has_room(taken) else None
        if worker is None and not _pending.take(principal.workspace_id, settings.MAX_PENDING_RUNS):
            raise TooManyRequests(TOO_MANY_PENDING.format(settings.MAX_PENDING_RUNS), headers={"Retry-After": "5"})
        # After what may refuse the run: to undo a write costs those who share the transaction.
        _save_thread(cursor, principal, own_thread, thread, plan, assistant, body, now)
        ids = run_id, principal.workspace_id, own_thread, assistant_id
        claim = add_run(cursor, NewRun(*ids, plan.kwargs, plan.metadata, body.multitask_strategy, due), now, worker)
        if claim is not None:
            transaction.on_commit(partial(engine.accept, claim), robust=True)
        elif is_free or due > now:
            transaction.on_commit(lambda: engine.wake(run_id), robust=True)
        # Inside: what is nested too deep to be shown is not to be stored.
        return CreatedRun(run_id, own_thread, _wire(run_id, own_thread, assistant_id, plan, body, now, due))


def runs_create(
    principal: Principal,
    bodies: Sequence[RunCreateStateless],
    request_id: str,
    headers: Mapping[str, str] = NO_HEADERS,
) -> list[CreatedRun]:
    """Accept stateless runs, all or none. Raises as `run_create` does."""
    with transaction.atomic():
        return [
            run_create(principal, None, body, request_id, headers, taken=taken) for taken, body in enumerate(bodies)
        ]


def _make_way(thread_id: UUID, strategy: str, now: datetime) -> bool:
    """Do with the runs that use the thread what `strategy` says; whether it is free now. Raises `Conflict`."""
    runs = Run.objects.filter(thread_id=thread_id)
    if strategy != "enqueue":
        in_flight = list(runs.select_for_update(no_key=True).filter(status__in=IN_FLIGHT).order_by("sequence"))
        if in_flight and strategy == "reject":
            raise Conflict(THREAD_IN_USE)
        runs_end(in_flight, CancelAction.ROLLBACK if strategy == "rollback" else CancelAction.INTERRUPT)
    # A run that is delayed keeps nobody waiting.
    due = Q(status=RunStatus.PENDING, scheduled_at__lte=now)
    return not runs.filter(due | IS_HELD).exists()


def _assistant_id(text: str) -> UUID:
    assistant_id = parse_uuid(text)
    if assistant_id is not None:
        return assistant_id
    if text in registry().ids:
        return default_assistant_id(text)
    raise Unprocessable(
        f"Invalid assistant: '{text}'. Must be either:\n- A valid assistant UUID, or\n"
        f"- One of the registered graphs: {', '.join(registry().ids)}"
    )


def _assistant(cursor: CursorWrapper, principal: Principal, assistant_id: UUID) -> Configured:
    cursor.execute(
        # The workspace's own row comes first, for it may shadow the system's.
        "SELECT is_deleted, graph_id, config, context, metadata FROM assistants_assistant "
        "WHERE assistant_id = %s AND (workspace_id = %s OR workspace_id IS NULL) "
        "ORDER BY workspace_id IS NULL LIMIT 1",
        [uuid_param(assistant_id), principal.workspace_id],
    )
    row = cursor.fetchone()
    if row is None or row[0]:
        raise NotFound(NOT_FOUND)
    graph_id, config, context, metadata = row[1:]
    return Configured(assistant_id, graph_id, orjson.loads(config), orjson.loads(context), orjson.loads(metadata))


def _thread(principal: Principal, thread_id: UUID, body: RunCreate) -> _ThreadRow | None:
    """The thread, locked; None if it is to be created. Raises `NotFound`."""
    lock = " FOR UPDATE OF t" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.workspace_id, t.metadata, t.config, t.title <> '', t.messages, t.status <> 'busy', "
            f"{_IS_IDLE}, t.edited_until, t.run_config FROM threads_thread t WHERE t.thread_id = %s{lock}",
            [uuid_param(thread_id)],
        )
        row = cursor.fetchone()
    # Without a workspace it is deleted, and there only until everything of it is removed.
    is_gone = row is None or row[0] is None
    if is_gone and body.if_not_exists == "create":
        return None
    if is_gone or row[0] != principal.workspace_id:
        raise NotFound(NOT_FOUND)
    is_idle = bool(row[6])
    if is_idle != bool(row[5]):
        # The statement waited for the lock: of the runs it saw what was there before, of the thread what is there now.
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {_IS_IDLE} FROM threads_thread t WHERE t.thread_id = %s", [uuid_param(thread_id)])
            is_idle = bool(cursor.fetchone()[0])
    return _ThreadRow(
        orjson.loads(row[1]),
        orjson.loads(row[2]),
        is_idle=is_idle,
        is_edited=row[7] is not None and moment(row[7]) > timezone.now(),
        has_title=bool(row[3]),
        messages=orjson.loads(row[4]) if row[4] else [],
        run_config=orjson.loads(row[8]) if row[8] else None,
    )


def _take_messages(thread: _ThreadRow | None, body: RunCreate) -> tuple[RunCreate, int]:
    """Move the messages that wait on the thread into the input, in front of the run's own; how many they are.

    They wait on while a run resumes, or replays a checkpoint, or has an input that is no object.
    """
    if thread is None or not thread.messages:
        return body, 0
    replays = body.input is None and (body.checkpoint is not None or body.checkpoint_id is not None)
    if replays or (body.command is not None and body.command.model_dump(exclude_none=True)):
        return body, 0
    taken = with_kept_messages(body.input, thread.messages)
    if taken is None:
        return body, 0
    count, thread.messages = len(thread.messages), []
    return body.model_copy(update={"input": taken}), count


def _plan(
    principal: Principal,
    body: RunCreate,
    assistant: Configured,
    run_id: UUID,
    thread_id: UUID,
    thread: _ThreadRow | None,
    request_id: str,
    headers: Mapping[str, str],
    cron_id: UUID | None,
    is_stateless: bool,
) -> RunPlan:
    metadata = {} if is_stateless else {
        **(thread.metadata if thread else {}),
        "graph_id": assistant.graph_id,
        "assistant_id": str(assistant.assistant_id),
    }  # fmt: skip
    return plan_run(
        principal,
        body,
        assistant,
        run_id=run_id,
        thread_id=thread_id,
        thread_metadata=metadata,
        last_config=(thread and thread.run_config) or {},
        request_id=request_id,
        headers=headers,
        cron_id=cron_id,
        temporary=is_stateless and body.on_completion != "keep",
    )


def _save_thread(
    cursor: CursorWrapper,
    principal: Principal,
    thread_id: UUID,
    thread: _ThreadRow | None,
    plan: RunPlan,
    assistant: Configured,
    body: RunCreate,
    now: datetime,
) -> None:
    """Make the thread, or mark it busy; it remembers the graph and the configuration of its last run."""
    metadata = {
        **(thread.metadata if thread else {}),
        "graph_id": assistant.graph_id,
        "assistant_id": str(assistant.assistant_id),
    }
    if thread is None:
        if not plan.kwargs["temporary"]:
            require_thread_quota(principal.workspace_id)
        if body.if_not_exists == "create":
            # The client's own id: what is left of a deleted thread that had it goes first.
            make_room_for(thread_id)
        cursor.execute(
            "INSERT INTO threads_thread (thread_id, workspace_id, title, status, metadata, config, run_config, "
            "ephemeral, ttl_minutes, ttl_strategy, expires_at, created_at, updated_at, state_updated_at) "
            "VALUES (%s, %s, %s, 'busy', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                uuid_param(thread_id),
                principal.workspace_id,
                title_of(body.input),
                json_param(metadata),
                json_param(plan.thread_config),
                json_param(plan.run_config),
                plan.kwargs["temporary"],
                *ttl_params(default_time_to_live(), now),
                *[moment_param(now)] * 3,
            ],
        )
        return
    config = {**thread.config, **plan.thread_config}
    title = "" if thread.has_title else title_of(body.input)
    give_time, time = ttl_if_none(default_time_to_live(), now)
    cursor.execute(
        "UPDATE threads_thread SET status = 'busy', metadata = %s, config = %s, run_config = %s, updated_at = %s, "
        f"messages = %s, title = CASE WHEN title = '' THEN %s ELSE title END{give_time} WHERE thread_id = %s",
        [
            json_param(metadata),
            json_param(config),
            json_param(plan.run_config),
            moment_param(now),
            json_param(thread.messages) if thread.messages else None,
            title,
            *time,
            uuid_param(thread_id),
        ],
    )


def _wire(
    run_id: UUID, thread_id: UUID, assistant_id: UUID, plan: RunPlan, body: RunCreate, now: datetime, due: datetime
) -> bytes:
    # It waits for the commit of its group.
    shown = encode(
        {
            "run_id": run_id,
            "thread_id": thread_id,
            "assistant_id": assistant_id,
            "metadata": plan.metadata,
            "status": "pending",
            "kwargs": plan.kwargs,
            "multitask_strategy": body.multitask_strategy,
            "created_at": timestamp(due),
            "updated_at": timestamp(now),
            "langsmith_session_name": None,
        }
    )
    return keep(shown)
