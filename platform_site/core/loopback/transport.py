"""The SDK inside a graph: `langgraph_sdk.get_client()` without a URL reaches this server without a network.

The SDK hands each request to an ASGI transport. The one of httpx collects a whole answer before it returns, so it
cannot stream; ours streams. The application runs on a loop and a thread of its own, in a fresh context: the caller's
loop may be blocked, may end with an `asyncio.run`, and its context variables are those of a run.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from functools import cache
from importlib import import_module
from typing import Any

import httpx

from platform_site.core.loopback.acting import current_actor
from platform_site.core.loops import BackgroundLoop

__all__ = ["ACTOR", "Application", "LoopbackTransport", "serve_loopback"]

Message = dict[str, Any]
Application = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

# The key of the ASGI scope under which the application finds the `Actor`. No server of the network sets it.
ACTOR = "switchyard.actor"
# The most bytes of an answer that wait for a slow reader, as in a socket's buffer.
BUFFER_BYTES = 256 * 1024
# The SDK sends a key of LangSmith that it finds in the environment. It means nothing here, and runs must not see it.
_DROPPED_HEADERS = frozenset({b"x-api-key", b"transfer-encoding"})

_make_application: Callable[[], Application] | None = None


def serve_loopback(make_application: Callable[[], Application]) -> None:
    """Let clients that `get_client()` makes without a URL reach this application, those made before included.

    `make_application` is called by the first request, on the loop that serves it. Call this before graphs are loaded.
    """
    global _make_application
    from langgraph_sdk._shared import utilities

    # These names are the SDK's own; `tests/core/test_loopback.py` holds its version to them.
    sdk: Any = import_module("langgraph_sdk._async.client")
    _make_application = make_application
    _application.cache_clear()
    # Else each client tries to import the server that the SDK was written for.
    os.environ["__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT"] = "true"
    sdk.get_asgi_transport = lambda: LoopbackTransport
    for transport in utilities._registered_transports:
        # The clients hold these objects: only their class can be changed.
        transport.__class__ = LoopbackTransport
    utilities._registered_transports.clear()
    # The SDK would keep every transport for ever, and nodes make a client in every run.
    sdk._registered_transports = _Nothing()


class _Nothing(list[httpx.ASGITransport]):
    """A list that keeps nothing."""

    def append(self, item: httpx.ASGITransport) -> None:
        pass


@cache
def _loop() -> BackgroundLoop:
    loop = BackgroundLoop("loopback")
    loop.start()
    return loop


@cache
def _application() -> Application:
    assert _make_application is not None
    return _make_application()


class LoopbackTransport(httpx.ASGITransport):
    """Hands requests to this process's application, from any event loop. Answers are streamed."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer once its head is there. Raise `httpx.ReadTimeout` as a network transport would."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = b"".join([chunk async for chunk in request.stream])
        seconds = request.extensions.get("timeout", {}).get("read")
        exchange = _Exchange(_scope(request), body, seconds, request)
        try:
            head = await exchange.begin()
        except BaseException:
            exchange.disconnect()
            raise
        return httpx.Response(head["status"], headers=head["headers"], stream=_Body(exchange))


def _scope(request: httpx.Request) -> dict[str, Any]:
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name, value) for name, value in headers if name not in _DROPPED_HEADERS],
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 0),
        ACTOR: current_actor(),
    }


class _Exchange:
    """One request and its answer between two loops: the caller's and the application's."""

    def __init__(self, scope: dict[str, Any], body: bytes, seconds: float | None, request: httpx.Request) -> None:
        """`seconds` is the longest wait for the next part of the answer, None for no limit."""
        self._scope = scope
        self._seconds = seconds
        self._request = request
        self._callers = asyncio.get_running_loop()
        self._servers = _loop().loop
        # On the caller's loop: what the application has sent, then how it ended.
        self._sent: asyncio.Queue[Message | BaseException | None] = asyncio.Queue()
        self._is_left = False
        # On the application's loop:
        self._incoming: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._gone = asyncio.Event()
        self._has_room = asyncio.Event()
        self._waiting = 0

    # --- on the caller's loop ----------------------------------------------------------------------

    async def begin(self) -> Message:
        """Start the application and return the head of its answer."""
        # Not in the caller's context: LangGraph's variables would make of what is served a part of the caller's run.
        self._servers.call_soon_threadsafe(self._start, context=Context())
        head = await self._next()
        if head is None:
            raise httpx.RemoteProtocolError("The server ended the request without an answer", request=self._request)
        return head

    async def body(self) -> AsyncIterator[bytes]:
        while (message := await self._next()) is not None:
            if chunk := message.get("body"):
                self._to_server(self._took, len(chunk))
                yield chunk
            if not message.get("more_body"):
                return

    async def _next(self) -> Message | None:
        try:
            async with asyncio.timeout(self._seconds):
                sent = await self._sent.get()
        except TimeoutError:
            raise httpx.ReadTimeout("The server sent nothing in time", request=self._request) from None
        if isinstance(sent, BaseException):
            raise httpx.ReadError(f"The answer broke off: {sent!r}", request=self._request) from sent
        return sent

    def disconnect(self) -> None:
        """Tell the application, once, that nobody listens any more."""
        if not self._is_left:
            self._is_left = True
            self._to_server(self._leave)

    def _to_server(self, function: Callable[..., object], *args: Any) -> None:
        self._servers.call_soon_threadsafe(function, *args, context=Context())

    # --- on the application's loop -----------------------------------------------------------------

    def _start(self) -> None:
        task = self._servers.create_task(self._serve())
        _serving.add(task)
        task.add_done_callback(_serving.discard)

    async def _serve(self) -> None:
        failure: BaseException | None = None
        try:
            await _application()(self._scope, self._receive, self._send)
        except Exception as error:
            # The application has logged it.
            failure = error
        finally:
            # A closed loop refuses: the caller is gone.
            with suppress(RuntimeError):
                self._callers.call_soon_threadsafe(self._sent.put_nowait, failure)

    async def _receive(self) -> Message:
        if self._incoming is not None:
            message, self._incoming = self._incoming, None
            return message
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            return
        try:
            self._callers.call_soon_threadsafe(self._sent.put_nowait, message)
        except RuntimeError:
            # The caller's loop was closed, as by the end of `asyncio.run`.
            self._leave()
            return
        self._waiting += len(message.get("body") or b"")
        while self._waiting > BUFFER_BYTES and not self._gone.is_set():
            self._has_room.clear()
            await self._has_room.wait()

    def _leave(self) -> None:
        self._gone.set()
        self._has_room.set()

    def _took(self, size: int) -> None:
        self._waiting -= size
        self._has_room.set()


# References to running tasks: the loop itself holds tasks weakly.
_serving: set[asyncio.Task[None]] = set()


class _Body(httpx.AsyncByteStream):
    """The body of an answer as it comes."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._exchange.body()

    async def aclose(self) -> None:
        self._exchange.disconnect()

    def __del__(self) -> None:
        # An answer that was dropped without being closed holds up nobody.
        self._exchange.disconnect()
