"""The lean ASGI handler of API requests, and the responses its views give.

Django's own handler opens a thread and a database connection for every request and crosses between threads four times;
this one does none of that, and answers twelve times as many requests. What it leaves out on purpose: Django's
middleware, `request_started` and `request_finished`, synchronous views. Database hygiene lives in
`core.database.access`, pages keep Django's handler.

The order of a request: its id, who may call at all (origin and host), who calls, the body, the route, the view.
"""

import asyncio
import contextlib
import io
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Mapping
from contextlib import aclosing
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from platform_site.core.errors import ApiError, BadRequest, MethodNotAllowed, NotFound
from platform_site.core.http.bodies import Disconnected, read_body
from platform_site.core.http.cors import OriginPolicy
from platform_site.core.http.request_headers import configurable_headers, logging_headers
from platform_site.core.http.routing import Match, Routes
from platform_site.core.telemetry import logs, metrics, tracing
from platform_site.core.validation import path_uuid
from platform_site.core.wire import encode

if TYPE_CHECKING:
    from platform_site.access.principal import Principal

__all__ = [
    "ApiHandler",
    "ApiRequest",
    "ByteStream",
    "empty_response",
    "error_response",
    "json_response",
    "path_uuid",
    "stream_response",
]

logger = logging.getLogger("switchyard.request")

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class ApiRequest(ASGIRequest):
    """What an API view gets. `principal` is set on every route that is not public."""

    principal: "Principal"
    request_id: str
    route: str

    @property
    def run_headers(self) -> dict[str, str]:
        """The headers that a run finds in its `configurable`, and those of its trace (`tracing.kept`)."""
        taken = configurable_headers().taken(self.scope["headers"])
        if (traces := tracing.tracing()) is not None:
            taken |= traces.carried(self.scope["headers"])
        return taken


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A complete response of encoded JSON."""
    return HttpResponse(body, content_type="application/json", status=status, headers=dict(headers or {}))


def empty_response(status: int = 204, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A response without a body."""
    response = HttpResponse(status=status, headers=dict(headers or {}))
    del response["Content-Type"]
    return response


def error_response(error: ApiError, *, is_admin: bool = False) -> HttpResponse:
    """Return what the API answers; an admin is told details that are not for everybody."""
    return json_response(encode({"detail": error.detail_for(is_admin=is_admin)}), error.status, error.headers)


class ByteStream(StreamingHttpResponse):
    """A streaming response whose generator the handler drives itself: Django's wrappers would not close it in time."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(chunks, **options)
        self.chunks = chunks


def stream_response(
    chunks: AsyncGenerator[bytes, None],
    content_type: str = "text/event-stream; charset=utf-8",
    headers: Mapping[str, str] | None = None,
) -> ByteStream:
    """Bytes sent as they come. The generator is cancelled or closed when the client goes away: its `finally` runs."""
    return ByteStream(
        chunks,
        content_type=content_type,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
    )


class ApiHandler(ASGIHandler):
    """Serves the API's URLconf.

    `authenticate` sets who calls or raises; `authorize` may refuse a route to a caller. Paths in `public` need neither.
    The paths of all operations begin with `prefix`; `without` names groups of operations that are switched off.
    """

    def __init__(
        self,
        urlconf: ModuleType,
        *,
        origins: OriginPolicy,
        authenticate: Callable[[ApiRequest], Awaitable["Principal"]],
        authorize: Callable[["Principal", str, str], None],
        public: frozenset[str] = frozenset(),
        prefix: str = "",
        without: Container[str] = (),
    ) -> None:
        # ASGIHandler's own constructor would load the middleware of the pages.
        self._routes = Routes(urlconf.urlpatterns, without=without)
        self._prefix = prefix
        self._origins = origins
        self._authenticate = authenticate
        self._authorize = authorize
        self._public = public
        self._line = logging.INFO if settings.LOG_REQUESTS else logging.DEBUG

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            request = ApiRequest(scope, io.BytesIO())
        except UnicodeDecodeError:
            await self._send_complete(error_response(ApiError("Bad Request", status=400)), send, head=False)
            return
        request.route = ""
        sent_id = request.META.get("HTTP_X_REQUEST_ID", "")
        request.request_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid4().hex
        logs.request_id.set(request.request_id)
        traces = tracing.tracing()
        trace = traces.request_begins(scope) if traces is not None and traces.requests else None
        head = request.method == "HEAD"
        if head:
            request.method = "GET"
        try:
            response = await self._respond(request, receive)
        except Disconnected:
            if trace is not None:
                trace.end(str(request.method), request.route, None)
            return
        response.headers["X-Request-Id"] = request.request_id
        if self._prefix:
            self._add_prefix(response)
        self._origins.add_headers(request, response)
        try:
            if isinstance(response, StreamingHttpResponse) and not head:
                await self._send_stream(request, response, receive, send)
            else:
                await self._send_complete(response, send, head)
        finally:
            for close in response._resource_closers:  # type: ignore[attr-defined]
                close()
            seconds = time.perf_counter() - started
            metrics.request_finished(request.method, request.route, response.status_code, seconds)
            self._log(request, response.status_code, seconds)
            if trace is not None:
                trace.end(str(request.method), request.route, response.status_code)

    def _log(self, request: ApiRequest, status: int, seconds: float) -> None:
        if not logger.isEnabledFor(self._line):
            return
        told = {"route": request.route, "status": status, "duration_ms": round(seconds * 1000, 1)}
        extra = {"method": request.method, "path": request.path, **told, **_logged_headers(request)}
        logger.log(self._line, "%s %s %d", request.method, request.path, status, extra=extra)

    async def _respond(self, request: ApiRequest, receive: Receive) -> HttpResponseBase:
        try:
            if (answer := self._origins.check(request)) is not None:
                return answer
            path = self._path(request)
            is_public = path in self._public
            if not is_public:
                request.principal = await self._authenticate(request)
            # Django's `request.body` has a limit of its own; bodies that are there already are left alone.
            request._body = await self._read_body(request, receive, is_public)
            match = self._match(path)
            if match is None:
                return self._without_slash(request, path)
            request.route = match.route
            if not is_public:
                self._authorize(request.principal, str(request.method), match.route)
            response: HttpResponseBase = await match.view(request, **match.arguments)
            if response.status_code == 405:
                allowed = {method.strip() for method in response.headers.get("Allow", "").split(",")}
                return error_response(MethodNotAllowed(headers={"Allow": ", ".join(sorted(allowed))}))
            return response
        except ApiError as error:
            return error_response(error)
        except Disconnected:
            raise
        except RecursionError:
            # Caught here and not by the API's error handlers, because they quote values, and a quote may be too deep.
            return error_response(BadRequest("Recursion limit reached"))
        except Exception:
            logger.exception("%s %s failed", request.method, request.path, extra=_logged_headers(request))
            return HttpResponse("Internal Server Error", content_type="text/plain; charset=utf-8", status=500)

    async def _read_body(self, request: ApiRequest, receive: Receive, is_public: bool) -> bytes:
        meta = request.META
        limit = 0 if is_public else settings.MAX_BODY_BYTES
        length, encoding = meta.get("CONTENT_LENGTH", ""), meta.get("HTTP_CONTENT_ENCODING", "")
        return await read_body(receive, limit, length=length, encoding=encoding)

    def _path(self, request: ApiRequest) -> str:
        """The path without the prefix; empty for what lies outside. Health checks need not know the prefix."""
        path: str = request.path
        if not self._prefix or path == "/ok":
            return path
        return (path.removeprefix(self._prefix) or "/") if f"{path}/".startswith(f"{self._prefix}/") else ""

    def _match(self, path: str) -> Match | None:
        match = self._routes.match(path) if path else None
        if match is None and self._prefix and path.startswith(f"{self._prefix}/"):
            # Twice: from clients that put a path we sent, with the prefix, behind a base URL that has it too.
            match = self._routes.match(path.removeprefix(self._prefix))
        return match

    def _without_slash(self, request: ApiRequest, path: str) -> HttpResponse:
        if not path.endswith("/") or self._match(path[:-1]) is None:
            raise NotFound
        query = request.META["QUERY_STRING"]
        return empty_response(307, {"Location": path[:-1] + ("?" + query if query else "")})

    def _add_prefix(self, response: HttpResponseBase) -> None:
        for name in ("Location", "Content-Location"):
            if response.headers.get(name, "").startswith("/"):
                response.headers[name] = self._prefix + response.headers[name]

    async def _send_complete(self, response: HttpResponseBase, send: Send, head: bool) -> None:
        body = b""
        if isinstance(response, StreamingHttpResponse):
            # HEAD of a stream: its headers only, and nothing starts.
            await _chunks(response).aclose()
        else:
            assert isinstance(response, HttpResponse)
            body = response.content
            if response.status_code not in (204, 304):
                response.headers["Content-Length"] = str(len(body))
        await send({"type": "http.response.start", "status": response.status_code, "headers": _headers(response)})
        await send({"type": "http.response.body", "body": b"" if head else body})

    async def _send_stream(
        self, request: ApiRequest, response: StreamingHttpResponse, receive: Receive, send: Send
    ) -> None:
        sender = asyncio.ensure_future(_send_chunks(response, send))
        watcher = asyncio.ensure_future(_disconnect(receive))
        is_events = response.headers["Content-Type"].startswith("text/event-stream")
        try:
            with metrics.STREAMS_OPEN.labels("events" if is_events else "wait").track_inprogress():
                await asyncio.wait((sender, watcher), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sender, watcher):
                if not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exception):
                        await task
        if not sender.cancelled() and (error := sender.exception()) is not None:
            # The status is out already: the server ends the connection, so that nobody takes this for the end.
            logger.error(
                "%s %s failed while streaming",
                request.method,
                request.path,
                exc_info=error,
                extra=_logged_headers(request),
            )
            raise error


def _logged_headers(request: ApiRequest) -> dict[str, Any]:
    taken = logging_headers().taken(request.scope["headers"])
    return {"headers": taken} if taken else {}


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _chunks(response: StreamingHttpResponse) -> AsyncGenerator[bytes, None]:
    if isinstance(response, ByteStream):
        return response.chunks
    return cast("AsyncGenerator[bytes, None]", aiter(response))


async def _send_chunks(response: StreamingHttpResponse, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status_code, "headers": _headers(response)})
    async with aclosing(_chunks(response)) as chunks:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    for cookie in response.cookies.values():
        headers.append((b"Set-Cookie", cookie.output(header="").strip().encode("ascii")))
    return headers
