"""Writes of crons, and the runs that they make. Everything here runs in a database thread.

Locks are taken assistant first, then thread, then cron: whoever deletes one of the first two deletes its crons next.
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from assistants.selectors import assistants_visible
from assistants.services import hold_assistant
from crons.models import Cron, CronTick
from crons.schedule import Schedule, ScheduleError, parse
from crons.schemas import CronCreate, CronCreateStateless, CronPatch, moment_of
from crons.selectors import cron_wire, crons_visible
from platform_site.access.principal import Principal, Role
from platform_site.access.services import actor_of, audit
from platform_site.core.background.tasks import background
from platform_site.core.errors import BadRequest, Conflict, NotFound, Unprocessable
from platform_site.core.graphs.registry import default_assistant_id, registry
from platform_site.core.ids import parse_uuid, uuid7
from platform_site.core.quotas import Quota, require_free_disk, require_kept_size
from platform_site.core.run_config import require_valid
from platform_site.core.wire import encode
from runs.configuration import BOTH_GIVEN, check_run
from runs.schemas import RunCreate, RunCreateStateless, RunOptions
from runs.services import CreatedRun, run_create
from threads.models import Thread

# The background task that fires crons.
TASK = "crons"
THREAD_STAYS = "`on_run_completed` is for crons without a thread: the thread of this one stays"
# What decides when a cron is due.
_TIMING = {"schedule", "timezone", "end_time"}


def _count_crons(workspace_id: int, limit: int) -> int:
    return Cron.objects.filter(workspace_id=workspace_id).order_by()[:limit].count()


_crons = Quota(_count_crons)


def cron_create(principal: Principal, thread_id: UUID | None, body: CronCreate) -> bytes:
    """Make a cron, on a thread if one is given, and give it as JSON; its first run comes at its next due time.

    Raises `Unprocessable` and `BadRequest` for a schedule that is none and for what a run cannot be asked for,
    `NotFound` for the assistant or the thread, `Conflict` if the workspace has as many crons as it may have, and
    `InsufficientStorage` if the disk is nearly full.
    """
    require_free_disk()
    if thread_id is not None and body.on_run_completed is not None:
        raise Unprocessable(THREAD_STAYS)
    schedule = _schedule(body.schedule, body.timezone if "timezone" in body.model_fields_set else None)
    payload = body.model_dump(exclude_unset=True)
    _check(payload, has_thread=thread_id is not None)
    assistant_id, now, cron_id = _assistant_id(body.assistant_id), timezone.now(), uuid7()
    cron = Cron(
        cron_id=cron_id,
        workspace_id=principal.workspace_id,
        assistant_id=assistant_id,
        thread_id=thread_id,
        user_id=principal.identity,
        owner=_owner(principal),
        schedule=body.schedule,
        timezone=payload.get("timezone"),
        payload=_with_cron_id({**payload, "assistant_id": str(assistant_id)}, cron_id),
        metadata=body.metadata,
        on_run_completed=body.on_run_completed if isinstance(body, CronCreateStateless) else None,
        misfire_policy=body.misfire_policy,
        overlap_policy=body.overlap_policy,
        enabled=body.enabled,
        created_at=now,
        updated_at=now,
    )
    _set_end(cron, body.end_time)
    cron.next_run_date = next_due(schedule, cron.ends_at, now)
    if not _crons.take(principal.workspace_id, settings.MAX_CRONS):
        raise Conflict(f"The workspace has {settings.MAX_CRONS} crons, as many as it may have (MAX_CRONS)")
    with transaction.atomic():
        _require_targets(principal, body.assistant_id, assistant_id, thread_id)
        cron.save(force_insert=True)
        _audit(principal, "created", cron, schedule=cron.schedule)
        _wake()
        return _shown(cron)


def cron_patch(principal: Principal, cron_id: UUID, body: CronPatch) -> bytes:
    """Change what was sent and give the cron as JSON. Metadata is merged, everything else replaced.

    A cron whose timing changes, or that is enabled again, is next due after now: nothing of before is caught up.
    Raises `NotFound`, `TooLarge` for metadata that have grown too large, and `Unprocessable` and `BadRequest` as
    `cron_create` does.
    """
    given, changes = body.model_fields_set, body.model_dump(exclude_unset=True)
    if not given:
        raise BadRequest("Request body cannot be empty")
    with transaction.atomic():
        cron = crons_visible(principal).select_for_update().filter(cron_id=cron_id).first()
        if cron is None:
            raise NotFound(f"Cron '{cron_id}' not found")
        if "on_run_completed" in given and cron.thread_id is not None:
            raise Unprocessable(THREAD_STAYS)
        cron.payload = _with_cron_id({**cron.payload, **changes}, cron_id)
        if given & RunOptions.model_fields.keys():
            # Not otherwise: what has been forbidden since must not keep anybody from pausing the cron.
            _check(cron.payload, has_thread=cron.thread_id is not None)
        is_woken = body.enabled and not cron.enabled and "enabled" in given
        for name in given & {"schedule", "timezone", "on_run_completed", "enabled", "misfire_policy", "overlap_policy"}:
            setattr(cron, name, changes[name])
        if "end_time" in given:
            _set_end(cron, body.end_time)
        cron.metadata = {**cron.metadata, **changes.get("metadata", {})}
        if "metadata" in given:
            require_kept_size("The metadata of the cron", cron.metadata)
        cron.updated_at = timezone.now()
        if given & _TIMING or is_woken:
            cron.next_run_date = next_due(_schedule(cron.schedule, cron.timezone), cron.ends_at, cron.updated_at)
        cron.save()
        _audit(principal, "updated", cron, fields=sorted(given))
        _wake()
        return _shown(cron)


def cron_pause(principal: Principal, cron_id: UUID) -> None:
    """Let a cron make no more runs until it is resumed. Raises `NotFound`."""
    cron_patch(principal, cron_id, CronPatch(enabled=False))


def cron_resume(principal: Principal, cron_id: UUID) -> None:
    """Let a paused cron go on at its next due time; those that passed meanwhile are forgotten. Raises `NotFound`."""
    cron_patch(principal, cron_id, CronPatch(enabled=True))


def cron_delete(principal: Principal, cron_id: UUID) -> None:
    """Delete a cron with its history; runs that it has made stay. Raises `NotFound`."""
    with transaction.atomic():
        cron = crons_visible(principal).select_for_update().filter(cron_id=cron_id).first()
        if cron is None:
            raise NotFound
        _audit(principal, "deleted", cron, schedule=cron.schedule)
        cron.delete()


def cron_run_now(principal: Principal, cron_id: UUID) -> CreatedRun:
    """Make a run of a cron now, whatever its schedule says; its due times stay. The history shows who asked for it.

    Raises `NotFound`, and what `run_create` raises.
    """
    cron = crons_visible(principal).filter(cron_id=cron_id).first()
    if cron is None:
        raise NotFound(f"Cron '{cron_id}' not found")
    with transaction.atomic():
        lock_targets(cron.workspace_id, cron.assistant_id, cron.thread_id)
        made, now = run_make(cron), timezone.now()
        CronTick.objects.create(
            cron_id=cron_id,
            due_at=now,
            outcome=CronTick.Outcome.FIRED,
            reason=f"Run by hand, by {actor_of(principal) or 'somebody without a name'}.",
            run_id=made.run_id,
            thread_id=made.thread_id,
            fired_at=now,
        )
        _audit(principal, "run", cron, run_id=str(made.run_id))
    return made


def run_make(cron: Cron) -> CreatedRun:
    """A run as the cron asks for it, in the name of who made the cron. Raises what `run_create` raises."""
    body = _run_body(cron.payload, has_thread=cron.thread_id is not None)
    body.metadata = {**body.metadata, "cron_id": str(cron.cron_id)}
    if isinstance(body, RunCreateStateless) and cron.on_run_completed == "keep":
        body.on_completion = "keep"
    return run_create(owner_of(cron), cron.thread_id, body, uuid4().hex, cron_id=cron.cron_id)


def owner_of(cron: Cron) -> Principal:
    """Who made the cron, as they were then."""
    owner = cron.owner
    return Principal(
        workspace_id=cron.workspace_id,
        role=Role(owner.get("role", Role.MEMBER)),
        identity=cron.user_id,
        display_name=owner.get("display_name", ""),
        permissions=tuple(owner.get("permissions", ())),
        user=owner.get("user"),
    )


def next_due(schedule: Schedule, ends_at: datetime | None, after: datetime) -> datetime | None:
    """The first due time after a moment, None if the end comes before it."""
    due = schedule.next_after(after)
    return None if due is None or (ends_at is not None and due > ends_at) else due


def lock_targets(workspace_id: int, assistant_id: UUID, thread_id: UUID | None) -> None:
    """Keep others from deleting the assistant and the thread until the transaction ends, if they are there."""
    hold_assistant(workspace_id, assistant_id)
    if thread_id is not None:
        Thread.objects.select_for_update().filter(pk=thread_id).values_list("pk").first()


def _require_targets(principal: Principal, named: str, assistant_id: UUID, thread_id: UUID | None) -> None:
    lock_targets(principal.workspace_id, assistant_id, thread_id)
    if not assistants_visible(principal).filter(assistant_id=assistant_id).exists():
        raise NotFound(f"Assistant '{named}' not found")
    if thread_id is None:
        return
    if not Thread.objects.filter(pk=thread_id, workspace_id=principal.workspace_id).exists():
        raise NotFound(f"Thread with ID '{thread_id}' not found. Create it, or create a cron without a thread.")


def _assistant_id(text: str) -> UUID:
    found = parse_uuid(text)
    if found is None and text in registry().ids:
        found = default_assistant_id(text)
    if found is None:
        raise NotFound(f"Assistant '{text}' not found")
    return found


def _schedule(expression: str, zone: str | None) -> Schedule:
    try:
        return parse(expression, zone)
    except ScheduleError as error:
        raise Unprocessable(str(error)) from None


def _owner(principal: Principal) -> dict[str, Any]:
    return {
        "role": principal.role.value,
        "display_name": principal.display_name,
        "permissions": list(principal.permissions),
        "user": dict(principal.user) if principal.user is not None else None,
    }


def _set_end(cron: Cron, text: str | None) -> None:
    cron.end_time, cron.ends_at = text, moment_of(text) if text is not None else None


def _with_cron_id(payload: dict[str, Any], cron_id: UUID) -> dict[str, Any]:
    config = payload.get("config", {})
    configurable = {**(config.get("configurable") or {}), "cron_id": str(cron_id)}
    return {**payload, "config": {**config, "configurable": configurable}}


def _run_body(payload: dict[str, Any], *, has_thread: bool) -> RunCreate:
    """What a payload asks of a run, without the cron's own mark.

    Raises `Unprocessable` for a stored payload that is beyond what the server allows now.
    """
    asked = {name: payload[name] for name in RunOptions.model_fields if name in payload}
    config = asked.get("config", {})
    configurable = {name: value for name, value in (config.get("configurable") or {}).items() if name != "cron_id"}
    asked["config"] = {**config, "configurable": configurable}
    require_valid(asked["config"], "The config of the cron")
    schema = RunCreate if has_thread else RunCreateStateless
    return schema(assistant_id=payload["assistant_id"], **asked)


def _check(payload: dict[str, Any], *, has_thread: bool) -> None:
    """Refuse now what every run would be refused for."""
    body = _run_body(payload, has_thread=has_thread)
    check_run(body, has_thread=has_thread)
    if body.config.configurable and body.context:
        raise BadRequest(BOTH_GIVEN)


def _shown(cron: Cron) -> bytes:
    """The cron as JSON. Raises `RecursionError` for what is too deep to be shown in a list: it is not to be stored."""
    return encode([cron_wire(cron)])[1:-1]


def _audit(principal: Principal, action: str, cron: Cron, **details: Any) -> None:
    audit(principal.workspace_id, actor_of(principal), f"cron.{action}", str(cron.cron_id), **details)


def _wake() -> None:
    transaction.on_commit(lambda: background().wake(TASK), robust=True)
