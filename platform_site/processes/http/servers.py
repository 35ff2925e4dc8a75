"""The HTTP servers that `serve` can run, and the door that answers while the application is still being imported.

A first SIGTERM or SIGINT ends a server gracefully: it takes no new connections, `serving.drain()` ends the runs while
open answers go on, then it returns. A second one ends the process at once; the database survives that, it is made to.
"""

import asyncio
import errno
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, Protocol

import uvicorn
from django.conf import settings

from platform_site.core.http.peers import open_mode_refusal
from platform_site.processes import serving
from platform_site.processes.http.limits import Edge, Limits
from platform_site.processes.http.uvicorn import LimitedProtocol

logger = logging.getLogger("switchyard.serving")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# How long after the drain an answer may take to reach its reader before the connection is cut.
_LAST_WORDS_SECONDS = 2.0
# `make` passes a signal on that its process group was sent: two of them within this time are one wish.
_SAME_SIGNAL_SECONDS = 0.5
_STARTING = b'{"ok":true,"services":{},"graphs":"loading"}'


class PortInUse(Exception):
    """The address cannot be listened on; the message says why."""


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not yet listening. Port 0 takes any free one. Raises PortInUse."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise PortInUse(f"{host} is not an address of this machine: {error.strerror or error}") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = f"cannot listen on {host} port {port}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            reason += f". Take another port: PORT={port % 65535 + 1} make serve"
        raise PortInUse(reason) from None
    return listener


class FrontDoor:
    """The application, as soon as it is there. Until then `/ok` is answered, and every other request waits.

    Importing LangGraph and the user's graphs takes seconds; a load balancer or a script need not be refused meanwhile.
    """

    def __init__(self) -> None:
        self._application: Application | None = None
        self._opened: Future[Application] = Future()

    def open(self, application: Application) -> None:
        """Let everybody in. From any thread."""
        self._application = application
        self._opened.set_result(application)

    def fail(self, reason: BaseException) -> None:
        """There will be no application: whoever waits gets an error."""
        self._opened.set_exception(reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._application
        if application is None:
            if settings.AUTH == "open" and (reason := open_mode_refusal(scope)) is not None:
                return await _refuse(scope, send, reason)
            if scope["type"] == "http" and scope["path"] in ("/ok", "/") and not scope["query_string"]:
                return await _send_json(send, 200, _STARTING)
            # Shielded: the one who goes away must not take the others' future along.
            application = await asyncio.shield(asyncio.wrap_future(self._opened))
        await application(scope, receive, send)


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await _send_json(send, 403, json.dumps({"detail": reason}).encode())


async def _send_json(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Signals:
    """Handles SIGTERM and SIGINT: the first asks for the end, a later one ends the process without another word."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._asked_at: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self._end()
        elif now - self._asked_at > _SAME_SIGNAL_SECONDS:
            os._exit(1)


class HttpServer(Protocol):
    """A server on a bound socket."""

    def __init__(self, application: Application, listener: socket.socket) -> None: ...

    def run(self) -> None:
        """Serve until told to stop; returns after the drain."""

    def stop(self) -> None:
        """End `run`, as SIGTERM does. From any thread."""


class UvicornServer:
    """uvicorn on uvloop and httptools: what `serve` starts by default."""

    def __init__(self, application: Application, listener: socket.socket) -> None:
        edge = Edge(Limits.from_settings())
        config = uvicorn.Config(
            application,
            loop="uvloop",
            # Called like a class, with what every connection needs.
            http=partial(LimitedProtocol, edge=edge),  # type: ignore[arg-type]
            # No websocket is served yet, and lifespan is never relied on.
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # Who calls and from where is decided by `access`, from what was really sent.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=edge.limits.keep_alive_seconds,  # type: ignore[arg-type]
        )
        self._server = _Uvicorn(config, edge)
        self._listener = listener

    def run(self) -> None:
        self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, edge: Edge) -> None:
        super().__init__(config)
        self._edge = edge
        self._signals = Signals(self._end)

    async def on_tick(self, counter: int) -> bool:
        # Ten ticks are a second.
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, LimitedProtocol):
                    connection.check(now)
            self._edge.refusals.tell(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not remembered as captured: uvicorn would raise the signal again at the end, and the status would not be 0.
        self._signals(sig, frame)

    def _end(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drained = asyncio.create_task(self._drain())
        await super().shutdown(sockets)
        await drained

    async def _drain(self) -> None:
        await _run_in_own_thread(serving.drain)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_LAST_WORDS_SECONDS)
        for connection in list(self.server_state.connections):
            # To the application this is a client that went away: generators are closed, nothing is logged.
            connection.transport.abort()


async def _run_in_own_thread(work: Callable[[], None]) -> None:
    """Await `work` on a new thread: the loop's default executor may be full of whatever blocks."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except Exception:
            logger.exception("the drain failed; runs in work will be recovered at the next start")
        done.set_result(None)

    threading.Thread(target=run, name="drain", daemon=True).start()
    await asyncio.wrap_future(done)


class DaphneServer:
    """Daphne, for those who want it. Imported only here: it costs 24 MB."""

    def __init__(self, application: Application, listener: socket.socket) -> None:
        from daphne.endpoints import build_endpoint_description_strings

        from platform_site.processes.http.daphne import LimitedServer

        host, port = listener.getsockname()[:2]
        # Twisted opens its own sockets; ours has shown that the address is free.
        listener.close()
        self._server = LimitedServer(
            application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            signal_handlers=False,
            server_name="switchyard",
        )

    def run(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, Signals(self.stop))
        self._server.run()

    def stop(self) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(self._stop_listening)
        threading.Thread(target=self._drain_and_stop, name="drain", daemon=True).start()

    def _stop_listening(self) -> None:
        for listener in self._server.listeners:
            listener.addCallback(lambda port: port.stopListening())

    def _drain_and_stop(self) -> None:
        from twisted.internet import reactor

        with suppress(Exception):
            serving.drain()
        # Daphne cancels what is still being answered: the last events of the drain need a moment to leave.
        reactor.callFromThread(reactor.callLater, 0.5, self._server.stop)
