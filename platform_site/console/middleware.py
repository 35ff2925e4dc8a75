"""What every page request has around it; API requests go through `core.http.handler` and never meet this."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Token
from uuid import uuid4

from asgiref.sync import iscoroutinefunction
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from platform_site.core.database.outages import outage
from platform_site.core.telemetry import logs

logger = logging.getLogger("switchyard.request")

Respond = Callable[[HttpRequest], HttpResponseBase]
# Whatever a page looks for stands in its query. SQLite takes no pattern longer than 50,000 bytes, and escaping a text
# may double it.
LONGEST_QUERY = 16_384
RespondLater = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def page_request(get_response: Respond | RespondLater) -> Respond | RespondLater:
    """Give the request an id: in the log lines, on error pages, and as `X-Request-ID`."""
    if iscoroutinefunction(get_response):

        async def respond_later(request: HttpRequest) -> HttpResponseBase:
            token = _begin(request)
            try:
                refusal = _refusal(request)
                return _mark(request, refusal or _asynchronous(await get_response(request)))
            finally:
                logs.request_id.reset(token)

        return respond_later

    def respond(request: HttpRequest) -> HttpResponseBase:
        token = _begin(request)
        try:
            response = _refusal(request) or get_response(request)
            assert isinstance(response, HttpResponseBase)
            # WhiteNoise is synchronous, and all before it with it: also on an asynchronous server.
            return _mark(request, _asynchronous(response) if isinstance(request, ASGIRequest) else response)
        finally:
            logs.request_id.reset(token)

    return respond


class DatabaseOutages(MiddlewareMixin):
    """Answers 503 with a sentence for a page while the database is away, busy or full."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if (sentence := outage(error)) is None:
            return None
        logger.warning("%s %s could not be answered: %s", request.method, request.path, error)
        # Imported by the first such page: no other request needs the pages here.
        from platform_site.console.pages import busy

        return busy(request, sentence)


def _asynchronous(response: HttpResponseBase) -> HttpResponseBase:
    """A static file as a stream that this stack can send: Django warns of every file that is read synchronously."""
    if isinstance(response, FileResponse) and not response.is_async:
        parts = list(response.streaming_content)  # type: ignore[arg-type]

        async def later() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        response.streaming_content = later()
    return response


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    """Return the answer to an address that is too long, or None."""
    if len(request.META.get("QUERY_STRING", "")) <= LONGEST_QUERY:
        return None
    sentence = f"What you look for is too long: an address has at most {LONGEST_QUERY} characters after the `?`."
    return render(request, "errors/error.html", {"title": "Too long", "sentence": sentence}, status=414)


def _begin(request: HttpRequest) -> Token[str]:
    request.request_id = uuid4().hex  # type: ignore[attr-defined]
    return logs.request_id.set(request.request_id)  # type: ignore[attr-defined]


def _mark(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    response.headers["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
    return response
