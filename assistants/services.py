"""Writes of assistants."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from assistants.models import Assistant, AssistantVersion
from assistants.schemas import AssistantCreate, AssistantPatch
from assistants.selectors import assistant_find, assistant_wire, assistants_visible
from platform_site.access.principal import Principal, Role
from platform_site.access.services import actor_of, audit
from platform_site.core.errors import BadRequest, Conflict, Forbidden, NotFound
from platform_site.core.graphs import UnknownGraph, default_assistant_id, registry
from platform_site.core.wire import encode
from threads.models import Thread
from threads.services import delete_threads

BOTH_GIVEN = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in LangGraph "
    "0.6.0 and is the long term planned replacement for configurable."
)
_VERSIONED = ("graph_id", "name", "description", "config", "context", "metadata")


def require_graph(graph_id: str) -> None:
    """Raise `NotFound` for a graph that is not configured."""
    ids = registry().ids
    if graph_id not in ids:
        raise NotFound(str(UnknownGraph(graph_id, ids)))


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
        assistant=assistant,
        version=assistant.version,
        created_at=assistant.updated_at,
        **{field: getattr(assistant, field) for field in _VERSIONED},
    )


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
    if the id is taken, unless it is taken by an assistant the caller may see and `if_exists` is `do_nothing`.
    """
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
            assistant.save(force_insert=True)
            _save_version(assistant)
            _audit(principal, "created", assistant, graph_id=assistant.graph_id)
            return _shown(assistant)
    except IntegrityError:
        stored = assistant_find(principal, assistant.assistant_id)
        if stored is None or body.if_exists == "raise":
            raise Conflict(f"Assistant {assistant.assistant_id} already exists") from None
        return encode(assistant_wire(stored))


def _shown(assistant: Assistant) -> bytes:
    """The assistant as JSON. Raises `RecursionError` for what no list could show: it is not to be stored."""
    return encode([assistant_wire(assistant)])[1:-1]


def _locked(principal: Principal, assistant_id: UUID, missing: str) -> Assistant:
    """The assistant, locked until the transaction ends, if the caller may change it."""
    assistant = assistants_visible(principal).select_for_update().filter(assistant_id=assistant_id).first()
    if assistant is None:
        raise NotFound(missing)
    if assistant.workspace_id is None and principal.role is not Role.ADMIN:
        # Everybody sees it: changing it is more than using it.
        raise Forbidden
    return assistant


def assistant_patch(principal: Principal, assistant_id: UUID, body: AssistantPatch) -> bytes:
    """Change what was sent, as a new version, and give the assistant as JSON.

    Metadata is merged, everything else replaced. The new version's number is the highest ever plus one.
    Raises `NotFound` for an unknown assistant or graph, `BadRequest` if both `configurable` and `context` are given.
    """
    given = body.model_fields_set
    if "graph_id" in given:
        require_graph(body.graph_id)
    with transaction.atomic():
        assistant = _locked(principal, assistant_id, f"Assistant {assistant_id} not found")
        for field in ("graph_id", "name", "description"):
            if field in given:
                setattr(assistant, field, getattr(body, field))
        if "metadata" in given:
            assistant.metadata = {**assistant.metadata, **body.metadata}
        _configure(assistant, body)
        highest = AssistantVersion.objects.filter(assistant_id=assistant_id).aggregate(highest=Max("version"))
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
        assistant = _locked(principal, assistant_id, f"Assistant {assistant_id} not found")
        stored = None
        # Larger numbers fit in no column, and no assistant has that many versions.
        if version is not None and 0 < version < 2**31:
            stored = AssistantVersion.objects.filter(assistant_id=assistant_id, version=version).first()
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
    """Delete an assistant with its versions. Raises `NotFound`.

    Runs and threads stay, unless `delete_threads_too`: then the threads that were last used with it go as well.
    """
    with transaction.atomic():
        assistant = _locked(principal, assistant_id, f"Assistant with ID {assistant_id} not found")
        _audit(principal, "deleted", assistant, delete_threads=delete_threads_too)
        assistant.delete()
    if delete_threads_too:
        used = Thread.objects.filter(
            workspace_id=principal.workspace_id, metadata__covers={"assistant_id": str(assistant_id)}
        )
        delete_threads(list(used.values_list("thread_id", flat=True)), workspace_id=principal.workspace_id)


def ensure_default_assistants(graph_ids: Iterable[str]) -> None:
    """Make the default assistant of every graph that has none: the system's, seen in every workspace."""
    wanted = {default_assistant_id(graph_id): graph_id for graph_id in graph_ids}
    with transaction.atomic():
        present = set(Assistant.objects.filter(pk__in=wanted).values_list("pk", flat=True))
        now = timezone.now()
        for assistant_id, graph_id in wanted.items():
            if assistant_id in present:
                continue
            assistant = Assistant.objects.create(
                assistant_id=assistant_id,
                graph_id=graph_id,
                name=graph_id,
                metadata={"created_by": "system"},
                created_at=now,
                updated_at=now,
            )
            _save_version(assistant)
