"""Reads of assistants."""

import re
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from assistants.models import Assistant
from assistants.schemas import COLUMNS, AssistantCount, AssistantSearch, VersionSearch
from platform_site.access.principal import Principal
from platform_site.core.database.access import IS_POSTGRES
from platform_site.core.errors import NotFound
from platform_site.core.graphs.registry import UnknownGraph, registry
from platform_site.core.http.paging import Page
from platform_site.core.run_config import langgraph_config
from platform_site.core.wire import encode, timestamp

_TIMES = ("created_at", "updated_at")


def assistants_visible(principal: Principal) -> "QuerySet[Assistant]":
    """Every assistant of the caller's workspace, and the system's that it does not shadow: one row for an id."""
    shadows = Assistant.objects.filter(workspace_id=principal.workspace_id, assistant_id=OuterRef("assistant_id"))
    own = Q(workspace_id=principal.workspace_id, is_deleted=False)
    return Assistant.objects.filter(own | Q(~Exists(shadows), workspace_id=None))


def assistants_listed(principal: Principal) -> "QuerySet[Assistant]":
    """Return the assistants that lists show: all but default ones, changed or not, whose graph has left the file."""
    defaults = Assistant.objects.filter(assistant_id=OuterRef("assistant_id"), workspace=None)
    return assistants_visible(principal).filter(Q(graph_id__in=registry().ids) | ~Exists(defaults))


def require_graph(graph_id: str) -> None:
    """Raise `NotFound` for a graph that is not configured."""
    ids = registry().ids
    if graph_id not in ids:
        raise NotFound(str(UnknownGraph(graph_id, ids)))


def assistant_column(principal: Principal, column: str) -> Subquery:
    """A column of the assistant that a row's `assistant_id` means to the caller, to annotate that row with.

    Null where the assistant is deleted.
    """
    return Subquery(assistants_visible(principal).filter(assistant_id=OuterRef("assistant_id")).values(column)[:1])


def assistant_wire(assistant: Assistant) -> dict[str, Any]:
    """The assistant as it goes over the wire."""
    return {
        "assistant_id": assistant.assistant_id,
        "graph_id": assistant.graph_id,
        "config": assistant.config,
        "context": assistant.context,
        "metadata": assistant.metadata,
        "name": assistant.name,
        "created_at": timestamp(assistant.created_at),
        "updated_at": timestamp(assistant.updated_at),
        "version": assistant.version,
        "description": assistant.description,
    }


def assistant_find(principal: Principal, assistant_id: UUID) -> Assistant | None:
    """The assistant, None if there is none that the caller may see."""
    return assistants_visible(principal).filter(assistant_id=assistant_id).first()


def assistant_require(principal: Principal, assistant_id: UUID) -> Assistant:
    """The assistant. Raises `NotFound`."""
    if (assistant := assistant_find(principal, assistant_id)) is None:
        raise NotFound
    return assistant


def assistant_config(principal: Principal, assistant: Assistant) -> dict[str, Any]:
    """Return the configuration with which the assistant's graph is looked at."""
    identity = {"graph_id": assistant.graph_id, "assistant_id": str(assistant.assistant_id)}
    return langgraph_config([assistant.config], principal.configurable | identity)


def assistant_get(principal: Principal, assistant_id: UUID) -> bytes:
    """The assistant as JSON. Raises `NotFound`."""
    return encode(assistant_wire(assistant_require(principal, assistant_id)))


def _matching(principal: Principal, query: AssistantCount) -> "QuerySet[Assistant]":
    found = assistants_listed(principal)
    if query.metadata:
        found = found.filter(metadata__covers=query.metadata)
    if query.graph_id:
        require_graph(query.graph_id)
        found = found.filter(graph_id=query.graph_id)
    if query.name:
        found = found.filter(_named(query.name))
    return found


def _named(text: str) -> Q:
    """Names that hold the text, whatever its case."""
    if IS_POSTGRES or text.isascii():
        return Q(name__icontains=text)
    # LIKE of SQLite knows the case of ASCII letters only; its REGEXP is Python's.
    return Q(name__iregex=re.escape(text))


def assistant_search(principal: Principal, query: AssistantSearch) -> Page:
    """Return the page of assistants that match, newest first unless asked otherwise.

    Raises `NotFound` for an unknown graph.
    """
    sign = "" if query.sort_order == "asc" else "-"
    columns = query.select or COLUMNS
    found = _matching(principal, query).order_by(sign + query.sort_by, sign + "assistant_id").values(*columns)
    rows = found[query.offset : query.offset + query.limit + 1]
    return Page.of(query.offset, query.limit, (encode(_on_wire(row)) for row in rows))


def _on_wire(row: dict[str, Any]) -> dict[str, Any]:
    for column in _TIMES:
        if column in row:
            row[column] = timestamp(row[column])
    return row


def assistant_count(principal: Principal, query: AssistantCount) -> bytes:
    """Return how many assistants match, as JSON. Raises `NotFound` for an unknown graph."""
    return orjson.dumps(_matching(principal, query).count())


def version_list(principal: Principal, assistant_id: UUID, query: VersionSearch) -> bytes:
    """The versions of an assistant as JSON, newest first. Raises `NotFound`."""
    assistant = assistants_visible(principal).filter(assistant_id=assistant_id).only("pk").first()
    if assistant is None:
        raise NotFound(f"Assistant {assistant_id} not found")
    versions = assistant.versions.all()
    if query.metadata:
        versions = versions.filter(metadata__covers=query.metadata)
    return encode(
        [
            {
                "assistant_id": assistant_id,
                "version": version.version,
                "graph_id": version.graph_id,
                "config": version.config,
                "context": version.context,
                "metadata": version.metadata,
                "created_at": timestamp(version.created_at),
                "name": version.name,
                "description": version.description,
            }
            for version in versions.order_by("-version")[query.offset : query.offset + query.limit]
        ]
    )
