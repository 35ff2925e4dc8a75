"""The REST API of the store."""

from typing import Any

from django.http import HttpResponse
from ninja import Router

from platform_site.core.errors import Unprocessable
from platform_site.core.http.handler import ApiRequest, empty_response, json_response
from platform_site.core.http.openapi import declared, query
from platform_site.core.wire import encode
from store import schemas, selectors, services

router = Router(tags=["Store"])


def _documented(*parameters: Any) -> Any:
    """What the documentation says beyond the bodies: a wrong label is answered as bare text."""
    extra = declared(*parameters, errors=(422, 503))
    extra["responses"][422]["content"]["text/plain"] = {"schema": {"type": "string"}}
    return extra


_STORE = _documented()
_GET = _documented(
    query("key", "string", "The item's key."),
    query("namespace", {"type": "array", "items": {"type": "string"}}, "Its labels, joined by dots."),
    query("refresh_ttl", "boolean", "Whether its time to live begins anew; as `langgraph.json` says without it."),
)
_NO_KEY = {"error": "Key is required"}
_NO_KEY_SCHEMA = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_GET["responses"][400] = {"description": "No key", "content": {"application/json": {"schema": _NO_KEY_SCHEMA}}}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@router.put("/store/items", response={204: None}, openapi_extra=_STORE)
async def put_item(request: ApiRequest, body: schemas.ItemPut) -> HttpResponse:
    """Store an item, in the place of one with the same namespace and key."""
    await services.item_put(request.principal, body)
    return empty_response()


@router.get("/store/items", response=schemas.Item | None, openapi_extra=_GET)
async def get_item(request: ApiRequest) -> HttpResponse:
    """One item; `null` if there is none."""
    key = request.GET.get("key")
    if key is None:
        return json_response(encode(_NO_KEY), 400)
    refresh = request.GET.get("refresh_ttl")
    if refresh is not None and refresh.lower() not in _FLAGS:
        raise Unprocessable(f'{refresh!r} is not of type "boolean"')
    item = await selectors.item_get(
        request.principal,
        request.GET.get("namespace", "").split("."),
        key,
        refresh_ttl=None if refresh is None else _FLAGS[refresh.lower()],
    )
    return json_response(encode(item))


@router.delete("/store/items", response={204: None}, openapi_extra=_STORE)
async def delete_item(request: ApiRequest, body: schemas.ItemDelete) -> HttpResponse:
    """Delete an item; also answered so if there is none."""
    await services.item_delete(request.principal, body)
    return empty_response()


@router.post("/store/items/search", response=schemas.ItemsFound, openapi_extra=_STORE)
async def search_items(request: ApiRequest, body: schemas.ItemSearch) -> HttpResponse:
    """Items below a namespace that meet a filter; with a query and an index, those that mean the same first."""
    return json_response(b'{"items":%b}' % await selectors.items_found(request.principal, body))


@router.post("/store/namespaces", response=schemas.NamespacesFound, openapi_extra=_STORE)
async def list_namespaces(request: ApiRequest, body: schemas.NamespaceSearch) -> HttpResponse:
    """Namespaces that hold items, sorted."""
    return json_response(encode({"namespaces": await selectors.namespaces_list(request.principal, body)}))
