"""The API's own URL table: every operation, the OpenAPI document and the page that shows it."""

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import path

from platform_site.api import api
from platform_site.core.config import config
from platform_site.core.errors import MethodNotAllowed
from platform_site.core.http.handler import json_response
from platform_site.core.http.openapi import completed, page
from platform_site.core.http.routing import PUBLIC, group_of
from platform_site.core.wire import encode

__all__ = ["PUBLIC", "openapi_document", "urlpatterns"]

# Swagger UI sets inline styles; everything it loads is our own.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of every operation that this server answers."""
    document = dict(api.get_openapi_schema(path_prefix=""))
    document["paths"]["/openapi.json"] = {
        "get": page("openapi", "OpenAPI document", {"application/json": {"type": "object"}})
    }
    document["paths"]["/docs"] = {"get": page("docs", "Documentation to try out", {"text/html": {"type": "string"}})}
    http = config().http
    document["paths"] = {
        path: operations for path, operations in document["paths"].items() if group_of(path) not in http.disabled
    }
    if http.mount_prefix:
        document["servers"] = [{"url": http.mount_prefix}]
    return completed(document, PUBLIC)


@cache
def _openapi() -> bytes:
    return encode(openapi_document())


@cache
def _docs() -> str:
    settings = {"layout": "BaseLayout", "deepLinking": True, "url": config().http.mount_prefix + "/openapi.json"}
    return render_to_string("ninja/swagger.html", {"api": api, "swagger_settings": json.dumps(settings)})


def _only_get(request: HttpRequest) -> None:
    if request.method != "GET":
        raise MethodNotAllowed(headers={"Allow": "GET"})


async def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document of the whole API."""
    _only_get(request)
    return json_response(_openapi())


async def docs(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document as a page to read and to try out."""
    _only_get(request)
    return HttpResponse(_docs(), headers={"Content-Security-Policy": _DOCS_POLICY})


urlpatterns = [
    path("openapi.json", openapi),
    path("docs", docs),
    path("", api.urls),
]
