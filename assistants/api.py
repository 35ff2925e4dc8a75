"""REST operations on assistants."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.http import HttpResponse
from ninja import Router

from assistants import schemas, selectors, services
from assistants.models import Assistant
from platform_site.core.database.access import in_db, read_db
from platform_site.core.errors import InvalidJSON, Unprocessable
from platform_site.core.graphs.registry import default_assistant_id, registry
from platform_site.core.http.handler import ApiRequest, empty_response, json_response, path_uuid
from platform_site.core.http.openapi import declared
from platform_site.core.http.paging import MOST_ROWS, Limit, Offset
from platform_site.core.loopback.acting import Actor, acting_for
from platform_site.core.loops import state_loop
from platform_site.core.wire import encode
from threads.refusals import refusals

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

router = Router(tags=["assistants"])
# The graph may not be importable.
_FROM_GRAPH = declared(errors=(503,))


@router.post("/assistants", response=schemas.Assistant, openapi_extra=declared(errors=(409,)))
async def assistant_create(request: ApiRequest, body: schemas.AssistantCreate) -> HttpResponse:
    """Create an assistant."""
    return json_response(await in_db(services.assistant_create, request.principal, body))


@router.get("/assistants", response=list[schemas.Assistant])
async def assistant_list(request: ApiRequest, limit: Limit = MOST_ROWS, offset: Offset = 0) -> HttpResponse:
    """List all assistants, newest first."""
    query = schemas.AssistantSearch(limit=limit, offset=offset)
    page = await read_db(selectors.assistant_search, request.principal, query)
    return json_response(page.body, headers=page.headers)


@router.post("/assistants/search", response=list[schemas.AssistantSelected])
async def assistant_search(request: ApiRequest, body: schemas.AssistantSearch) -> HttpResponse:
    """Search assistants."""
    page = await read_db(selectors.assistant_search, request.principal, body)
    return json_response(page.body, headers=page.headers)


@router.post("/assistants/count", response=int)
async def assistant_count(request: ApiRequest, body: schemas.AssistantCount) -> HttpResponse:
    """Count assistants."""
    return json_response(await read_db(selectors.assistant_count, request.principal, body))


@router.get("/assistants/{assistant_id}", response=schemas.Assistant)
async def assistant_get(request: ApiRequest, assistant_id: str) -> HttpResponse:
    """Get an assistant."""
    found = await read_db(selectors.assistant_get, request.principal, path_uuid(assistant_id, "assistant"))
    return json_response(found)


@router.patch("/assistants/{assistant_id}", response=schemas.Assistant)
async def assistant_patch(request: ApiRequest, assistant_id: str, body: schemas.AssistantPatch) -> HttpResponse:
    """Change an assistant: every call makes a new version."""
    assistant = path_uuid(assistant_id, "assistant")
    return json_response(await in_db(services.assistant_patch, request.principal, assistant, body))


@router.put("/assistants/{assistant_id}", response=schemas.Assistant)
async def assistant_put(request: ApiRequest, assistant_id: str, body: schemas.AssistantPatch) -> HttpResponse:
    """The same as PATCH: what is not sent stays."""
    return await assistant_patch(request, assistant_id, body)


@router.delete("/assistants/{assistant_id}", response={204: None})
async def assistant_delete(request: ApiRequest, assistant_id: str, delete_threads: bool = False) -> HttpResponse:
    """Delete an assistant."""
    assistant = path_uuid(assistant_id, "assistant")
    deleted = 1
    while delete_threads and deleted:
        deleted = await in_db(services.assistant_delete_threads, request.principal, assistant)
    while not await in_db(services.assistant_purge, request.principal, assistant):
        # Others write in between.
        pass
    await in_db(services.assistant_delete, request.principal, assistant, delete_threads_too=delete_threads)
    return empty_response()


@router.post("/assistants/{assistant_id}/versions", response=list[schemas.AssistantVersion])
async def version_list(request: ApiRequest, assistant_id: str, body: schemas.VersionSearch) -> HttpResponse:
    """List the versions of an assistant."""
    assistant = path_uuid(assistant_id, "assistant")
    return json_response(await read_db(selectors.version_list, request.principal, assistant, body))


@router.post("/assistants/{assistant_id}/latest", response=schemas.Assistant)
async def assistant_set_version(
    request: ApiRequest,
    assistant_id: str,
    version: int | None = None,
    body: schemas.VersionChange = schemas.VersionChange(),
) -> HttpResponse:
    """Choose the version in use, named in the body or in the query."""
    if not request.body and version is None:
        raise InvalidJSON
    assistant = path_uuid(assistant_id, "assistant")
    chosen = version if body.chosen is None else body.chosen
    return json_response(await in_db(services.assistant_set_version, request.principal, assistant, chosen))


@router.get("/assistants/{assistant_id}/graph", response=schemas.Graph, openapi_extra=_FROM_GRAPH)
async def assistant_graph(request: ApiRequest, assistant_id: str, xray: schemas.Xray = "false") -> HttpResponse:
    """Draw the graph of an assistant; a graph id stands for its default assistant."""
    depth = _xray(xray)
    if assistant_id in registry().ids:
        found = default_assistant_id(assistant_id)
    else:
        found = path_uuid(assistant_id, "assistant")
    assistant, config = await _assistant(request, found)
    return await _from_graph(request, assistant, registry().drawing(assistant.graph_id, config, depth))


@router.get("/assistants/{assistant_id}/schemas", response=schemas.GraphSchemas, openapi_extra=_FROM_GRAPH)
async def assistant_schemas(request: ApiRequest, assistant_id: str) -> HttpResponse:
    """Get the JSON schemas of an assistant's graph."""
    assistant, config = await _assistant(request, path_uuid(assistant_id, "assistant"))
    return await _from_graph(request, assistant, registry().schemas(assistant.graph_id, config))


@router.get(
    "/assistants/{assistant_id}/subgraphs",
    response=dict[str, schemas.SubgraphSchemas],
    openapi_extra=_FROM_GRAPH,
)
async def assistant_subgraphs(request: ApiRequest, assistant_id: str, recurse: bool = False) -> HttpResponse:
    """Get the subgraphs of an assistant's graph and their schemas."""
    assistant, config = await _assistant(request, path_uuid(assistant_id, "assistant"))
    return await _from_graph(request, assistant, registry().subgraphs(assistant.graph_id, config, None, recurse))


@router.get(
    "/assistants/{assistant_id}/subgraphs/{namespace}",
    response=dict[str, schemas.SubgraphSchemas],
    openapi_extra=_FROM_GRAPH,
)
async def assistant_subgraphs_in(
    request: ApiRequest, assistant_id: str, namespace: str, recurse: bool = False
) -> HttpResponse:
    """Get the subgraph of this namespace and its schemas."""
    assistant, config = await _assistant(request, path_uuid(assistant_id, "assistant"))
    return await _from_graph(request, assistant, registry().subgraphs(assistant.graph_id, config, namespace, recurse))


async def _assistant(request: ApiRequest, assistant_id: UUID) -> "tuple[Assistant, RunnableConfig]":
    """The assistant, and the configuration with which its graph is looked at."""
    assistant = await read_db(selectors.assistant_require, request.principal, assistant_id)
    return assistant, cast("RunnableConfig", selectors.assistant_config(request.principal, assistant))


async def _from_graph(request: ApiRequest, assistant: Assistant, reading: Coroutine[Any, Any, Any]) -> HttpResponse:
    doing = f"Graph '{assistant.graph_id}' cannot be described with the configuration of the assistant"
    with refusals(doing), acting_for(Actor(request.principal)):
        # Not on the loop that serves HTTP: a large graph takes its time.
        found = await state_loop().run(reading)
    return json_response(encode(found))


def _xray(text: str) -> bool | int:
    """Whether to draw subgraphs, or how many levels of them."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.isdecimal() and text.isascii() and int(text[:9]) > 0:
        return int(text[:9])
    raise Unprocessable("Invalid xray value")
