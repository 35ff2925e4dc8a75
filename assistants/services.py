"""Writes of assistants.

A workspace changes rows of its own only: before it changes a system assistant it gets a shadow of that.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from assistants.models import NAME_LENGTH, Assistant, AssistantVersion, Configuration
from assistants.schemas import AssistantCreate, AssistantPatch
from assistants.selectors import assistant_find, assistant_wire, require_graph
from platform_site.access.principal import Principal, Role
from platform_site.access.services import actor_of, audit
from platform_site.core.database.access import Portion
from platform_site.core.errors import BadRequest, Conflict, Forbidden, NotFound
from platform_site.core.graphs.registry import default_assistant_id
from platform_site.core.hooks import assistant_deleting, assistant_purging
from platform_site.core.quotas import require_free_disk, require_kept_size
from platform_site.core.wire import encode
from threads.models import Thread
from threads.services import BATCH, PORTION, delete_threads

BOTH_GIVEN = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in LangGraph "
    "0.6.0 and is the long term planned replacement for configurable."
)
NO_CONFIGS: Mapping[str, dict[str, Any]] = MappingProxyType({})
NO_DESCRIPTIONS: Mapping[str, str | None] = MappingProxyType({})
_VERSIONED = ("graph_id", "name", "description", "config", "context", "metadata")


def mirrored(config: dict[str, Any], context: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and context, whichever of `configurable` and `context` was given copied into the other.

    Raises `BadRequest` if both were.
    """
    configurable = config.get("configurable")
    if configurable and context:
        raise BadRequest(BOTH_GIVEN)
    if configurable:
        return config, configurable
    if context:
        return {**config, "configurable": context}, context
    return config, context


def _save_version(assistant: Assistant) -> None:
    AssistantVersion.objects.create(
        assistant=assistant, version=assistant.version, created_at=assistant.updated_at, **_versioned(assistant)
    )


def _versioned(row: Configuration) -> dict[str, Any]:
    return {field: getattr(row, field) for field in _VERSIONED}


def _system(assistant_id: UUID) -> "QuerySet[Assistant]":
    return Assistant.objects.filter(assistant_id=assistant_id, workspace=None)


def _audit(principal: Principal, action: str, assistant: Assistant, **details: Any) -> None:
    audit(
        principal.workspace_id,
        actor_of(principal),
        f"assistant.{action}",
        str(assistant.assistant_id),
        name=assistant.name,
        **details,
    )


def assistant_create(principal: Principal, body: AssistantCreate) -> bytes:
    """Make an assistant and its first version, and give it as JSON.

    Raises `NotFound` for an unknown graph, `BadRequest` if both `configurable` and `context` are given, and `Conflict`
    if an assistant of this id is seen in the workspace, unless `if_exists` is `do_nothing`. Raises `Forbidden` for
    somebody who is no admin and would put an assistant in the place of a system assistant that was deleted, and
    `InsufficientStorage` if the disk is nearly full.
    """
    require_free_disk()
    require_graph(body.graph_id)
    config, context = mirrored(body.config.given(), body.context)
    now = timezone.now()
    assistant = Assistant(
        assistant_id=body.assistant_id,
        workspace_id=principal.workspace_id,
        graph_id=body.graph_id,
        name=body.name,
        description=body.description,
        config=config,
        context=context,
        metadata=body.metadata,
        created_at=now,
        updated_at=now,
    )
    try:
        with transaction.atomic():
            if not _vacate(principal, assistant.assistant_id):
                return _taken(principal, body)
            assistant.save(force_insert=True)
            _save_version(assistant)
            _audit(principal, "created", assistant, graph_id=assistant.graph_id)
            return _shown(assistant)
    except IntegrityError:
        return _taken(principal, body)


def _vacate(principal: Principal, assistant_id: UUID) -> bool:
    """Return whether no system assistant of this id is seen here. A shadow that hides one makes way."""
    if not _system(assistant_id).exists():
        return True
    hidden = Assistant.objects.filter(assistant_id=assistant_id, workspace_id=principal.workspace_id, is_deleted=True)
    if not hidden.exists():
        return False
    if principal.role is not Role.ADMIN:
        raise Forbidden
    # Zero rows if somebody else was faster.
    return bool(hidden.delete()[0])


def _taken(principal: Principal, body: AssistantCreate) -> bytes:
    """Return the assistant that has the id already, as JSON. Raises `Conflict` if `if_exists` is `raise`."""
    stored = assistant_find(principal, body.assistant_id)
    if stored is None or body.if_exists == "raise":
        raise Conflict(f"Assistant {body.assistant_id} already exists")
    return encode(assistant_wire(stored))


def _shown(assistant: Assistant) -> bytes:
    """The assistant as JSON. Raises `RecursionError` for what no list could show: it is not to be stored."""
    return encode([assistant_wire(assistant)])[1:-1]


def _own(principal: Principal, assistant_id: UUID, missing: str) -> Assistant:
    """Return the workspace's own row, locked until the transaction ends. A system assistant gets its shadow first.

    Raises `NotFound`, and `Forbidden` for somebody who is no admin and would change a default assistant.
    """
    own, system = _locked(principal, assistant_id), _system(assistant_id).first()
    seen = own or system
    if seen is None or seen.is_deleted:
        raise NotFound(missing)
    if system is not None and principal.role is not Role.ADMIN:
        # The whole workspace uses it: changing it is more than using it.
        raise Forbidden
    if seen.workspace_id is None:
        seen = _shadow(principal, seen)
        if seen.is_deleted:
            # Somebody else has deleted it since the first look.
            raise NotFound(missing)
    return seen


def _locked(principal: Principal, assistant_id: UUID) -> Assistant | None:
    own = Assistant.objects.filter(assistant_id=assistant_id, workspace_id=principal.workspace_id)
    return own.select_for_update().first()


def _shadow(principal: Principal, system: Assistant) -> Assistant:
    """Make the workspace's shadow of a system assistant, with a copy of its versions, and lock it.

    Where two callers make one at once, the constraint keeps one of them: both get that, one after the other.
    """
    shadow = Assistant(
        assistant_id=system.assistant_id,
        workspace_id=principal.workspace_id,
        version=system.version,
        created_at=system.created_at,
        updated_at=system.updated_at,
        **_versioned(system),
    )
    while (own := _locked(principal, system.assistant_id)) is None:
        # More than once only if a process that starts removes the row in between.
        Assistant.objects.bulk_create([shadow], ignore_conflicts=True)
    if not own.is_deleted and not own.versions.exists():
        AssistantVersion.objects.bulk_create(
            AssistantVersion(
                assistant=own, version=row.version, created_at=row.created_at, note=row.note, **_versioned(row)
            )
            for row in system.versions.all()
        )
    return own


def assistant_patch(principal: Principal, assistant_id: UUID, body: AssistantPatch) -> bytes:
    """Change what was sent, as a new version, and give the assistant as JSON.

    Metadata is merged, everything else replaced. The new version's number is the highest ever plus one.
    Raises `NotFound` for an unknown assistant or graph, `BadRequest` if both `configurable` and `context` are given,
    `TooLarge` for metadata that have grown too large, and `InsufficientStorage` if the disk is nearly full.
    """
    require_free_disk()
    given = body.model_fields_set
    if "graph_id" in given:
        require_graph(body.graph_id)
    with transaction.atomic():
        assistant = _own(principal, assistant_id, f"Assistant {assistant_id} not found")
        for field in ("graph_id", "name", "description"):
            if field in given:
                setattr(assistant, field, getattr(body, field))
        if "metadata" in given:
            assistant.metadata = {**assistant.metadata, **body.metadata}
            require_kept_size("The metadata of the assistant", assistant.metadata)
        _configure(assistant, body)
        highest = assistant.versions.aggregate(highest=Max("version"))
        assistant.version = max(highest["highest"] or 0, assistant.version) + 1
        assistant.updated_at = timezone.now()
        assistant.save()
        _save_version(assistant)
        _audit(principal, "updated", assistant, version=assistant.version, fields=sorted(given))
        return _shown(assistant)


def _configure(assistant: Assistant, body: AssistantPatch) -> None:
    given = body.model_fields_set & {"config", "context"}
    config, context = mirrored(body.config.given(), body.context)
    if given == {"context"} and not context:
        assistant.config = {key: value for key, value in assistant.config.items() if key != "configurable"}
    elif given:
        assistant.config = config
    if "context" in given or context:
        assistant.context = context


def assistant_set_version(principal: Principal, assistant_id: UUID, version: int | None) -> bytes:
    """Make a version the one in use, with everything it holds, and give the assistant as JSON. Raises `NotFound`."""
    with transaction.atomic():
        assistant = _own(principal, assistant_id, f"Assistant {assistant_id} not found")
        stored = None
        # Larger numbers fit in no column, and no assistant has that many versions.
        if version is not None and 0 < version < 2**31:
            stored = assistant.versions.filter(version=version).first()
        if stored is None:
            raise NotFound(f"Version {version} not found for assistant {assistant_id}")
        for field in _VERSIONED:
            setattr(assistant, field, getattr(stored, field))
        assistant.version = stored.version
        assistant.updated_at = timezone.now()
        assistant.save()
        _audit(principal, "version_chosen", assistant, version=assistant.version)
        return _shown(assistant)


def assistant_delete(principal: Principal, assistant_id: UUID, *, delete_threads_too: bool = False) -> None:
    """Delete an assistant with its versions and crons. Raises `NotFound`.

    A system assistant is deleted for this workspace, until the server starts again.
    Runs and threads stay; `delete_threads_too` tells the audit log that the threads went before.
    """
    with transaction.atomic():
        hold_assistant(principal.workspace_id, assistant_id, exclusive=True)
        assistant = _own(principal, assistant_id, f"Assistant with ID {assistant_id} not found")
        _audit(principal, "deleted", assistant, delete_threads=delete_threads_too)
        assistant_deleting.send(principal.workspace_id, assistant_id)
        if _system(assistant_id).exists():
            _hide(assistant)
        else:
            assistant.delete()


def assistant_delete_threads(principal: Principal, assistant_id: UUID) -> int:
    """Delete a portion of the threads that were last used with the assistant; how many.

    The threads go first: after a crash in between the request can be repeated. Raises as `assistant_delete` does.
    """
    with transaction.atomic():
        _own(principal, assistant_id, f"Assistant with ID {assistant_id} not found")
    used = Thread.objects.filter(
        workspace_id=principal.workspace_id, metadata__covers={"assistant_id": str(assistant_id)}
    )
    return delete_threads(list(used.values_list("thread_id", flat=True)[:BATCH]), workspace_id=principal.workspace_id)


def assistant_purge(principal: Principal, assistant_id: UUID) -> bool:
    """Delete a portion of what would make the transaction of the delete long; return whether nothing is left of that.

    After a crash in between the request can be repeated. Raises as `assistant_delete` does.
    """
    portion = Portion(PORTION)
    with transaction.atomic():
        _own(principal, assistant_id, f"Assistant with ID {assistant_id} not found")
        assistant_purging.send(principal.workspace_id, assistant_id, portion)
    return not portion.is_used_up


def _hide(shadow: Assistant) -> None:
    """Let the shadow say that the workspace has deleted the system assistant; of what it held nothing is kept."""
    shadow.versions.all().delete()
    shadow.is_deleted, shadow.description = True, None
    shadow.config, shadow.context, shadow.metadata = {}, {}, {}
    shadow.save()


def hold_assistant(workspace_id: int, assistant_id: UUID, *, exclusive: bool = False) -> None:
    """Keep others from deleting the workspace's assistant until the transaction ends.

    With `exclusive`, which a delete asks for, others cannot hold the assistant either. PostgreSQL takes an advisory
    lock, because a system assistant may have no row in the workspace. SQLite has one writer and needs no lock.
    """
    if connection.vendor == "postgresql":
        lock = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {lock}(hashtextextended(%s, 0))", [f"assistant {workspace_id} {assistant_id}"])


def ensure_default_assistants(
    graph_ids: Iterable[str],
    configs: Mapping[str, dict[str, Any]] = NO_CONFIGS,
    descriptions: Mapping[str, str | None] = NO_DESCRIPTIONS,
) -> None:
    """Make the system assistant of every graph that has none, and show it again where a workspace has deleted it.

    Its config is what `configs` (LANGGRAPH_CONFIG) has for the graph, its description what `descriptions` has. What a
    workspace has changed stays. The moments at which they were made are in the order of the graphs.
    """
    wanted = {default_assistant_id(graph_id): graph_id for graph_id in graph_ids}
    with transaction.atomic():
        known = Assistant.objects.filter(assistant_id__in=wanted)
        known.filter(is_deleted=True).delete()
        present = {assistant.assistant_id: assistant for assistant in known.filter(workspace=None)}
        now = timezone.now()
        for place, (assistant_id, graph_id) in enumerate(wanted.items()):
            config, context = mirrored(configs.get(graph_id, {}), {})
            configured = {"config": config, "context": context, "description": descriptions.get(graph_id)}
            assistant = present.get(assistant_id)
            if assistant is None:
                _system_create(assistant_id, graph_id, configured, now + timedelta(microseconds=place))
            elif any(getattr(assistant, field) != value for field, value in configured.items()):
                _system_configure(assistant, configured)


def _system_create(assistant_id: UUID, graph_id: str, configured: dict[str, Any], now: datetime) -> None:
    assistant = Assistant.objects.create(
        assistant_id=assistant_id,
        graph_id=graph_id,
        name=graph_id,
        **configured,
        metadata={"created_by": "system"},
        created_at=now,
        updated_at=now,
    )
    _save_version(assistant)


def _system_configure(assistant: Assistant, configured: dict[str, Any]) -> None:
    """Give a system assistant another configuration, as its next version."""
    for field, value in configured.items():
        setattr(assistant, field, value)
    assistant.version, assistant.updated_at = assistant.version + 1, timezone.now()
    assistant.save()
    _save_version(assistant)


def name_default_assistants(names: Mapping[str, str]) -> None:
    """Give the system assistants of these graphs their names, in all their versions. Shadows keep theirs."""
    wanted = {default_assistant_id(graph_id): name[:NAME_LENGTH] for graph_id, name in names.items()}
    with transaction.atomic():
        for assistant in Assistant.objects.filter(assistant_id__in=wanted, workspace=None):
            name = wanted[assistant.assistant_id]
            if assistant.name != name:
                Assistant.objects.filter(pk=assistant.pk).update(name=name)
                assistant.versions.update(name=name)
