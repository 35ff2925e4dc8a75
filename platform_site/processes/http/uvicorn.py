"""uvicorn's HTTP/1.1 connection with the limits of `limits.py`, and without what it does to foreign bytes.

httptools knows no limit of a header; fields behind a chunked body would be appended to the header; and a malformed
request, or an upgrade that is not served, would write warnings.
"""

import asyncio
import logging
import sys
from typing import Any

import httptools
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from platform_site.processes.http.limits import (
    BODY,
    HEADER,
    LINGER_SECONDS,
    MAX_UNWANTED_BYTES,
    NOTHING,
    Edge,
    Pace,
    Refusal,
    Unread,
    unacknowledged,
)

logger = logging.getLogger("switchyard.serving")


class _Refused(Exception):
    """Raised in a parser's callback to stop the parser."""


class _Answers:
    """The transport as an answer sees it. Closing it lets the client read the answer first."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, protocol: "LimitedProtocol", transport: asyncio.Transport) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = protocol.close_after_answer


class _Cycle(RequestResponseCycle):
    """A request and its answer, which is made no faster than the client reads it."""

    # Whether the end of the connection is that of the answer.
    _ends_with_connection = False

    async def send(self, message: ASGISendEvent) -> None:
        """Write a part of the answer, and return when there is room for the next one.

        uvicorn waits before it writes the next part: that part would be made early, and be kept meanwhile.
        """
        if self.scope["http_version"] == "1.0":
            self._without_chunks(message)
        await super().send(message)
        if self.flow.write_paused and not self.response_complete and not self.disconnected:
            await self.flow.drain()

    def _without_chunks(self, message: ASGISendEvent) -> None:
        """Let an answer of unknown length end with its connection: HTTP/1.0 has no chunks (RFC 9112, 6.1).

        uvicorn sends what it believes to have a length as it is.
        """
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", [])}
            if b"content-length" not in names:
                self._ends_with_connection, self.keep_alive = True, False
                self.chunked_encoding, self.expected_content_length = False, sys.maxsize
        elif self._ends_with_connection and message["type"] == "http.response.body" and not message.get("more_body"):
            self.expected_content_length = len(message.get("body", b""))


class LimitedProtocol(HttpToolsProtocol):
    """One connection. The server calls `check` once a second."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._edge = edge
        self._limits = edge.limits
        self._pace = Pace(edge.limits)
        self._unread = Unread(edge.limits)
        # Whether a header is complete and its body is not.
        self._reads_body = False
        # Bytes since the parser last finished a header or a request, or gave a piece of a body.
        self._unparsed = 0
        # The request whose Transfer-Encoding was looked at.
        self._judged: object = None
        # Bytes of a body that came after its answer.
        self._unwanted = 0
        # Whatever else is sent is thrown away.
        self._is_deaf = False
        self._is_counted = False
        self._refusal: Refusal | None = None
        self._lingering: asyncio.TimerHandle | None = None

    # --- the connection -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answers = _Answers(self, transport)
        refusal = self._edge.connections.enter(self._host)
        if refusal is None:
            self._is_counted = True
            return
        self._edge.refusals.count(refusal)
        self._is_deaf = True
        transport.write(refusal.answer)
        # At once: who is too many gets no file and no time.
        transport.close()

    @property
    def _host(self) -> str:
        return self.client[0] if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._is_counted:
            self._edge.connections.leave(self._host)
        if self._lingering is not None:
            self._lingering.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        size = len(data)
        self._unparsed += size
        pace = self._pace
        pace.received += size
        # Of a body that came in part before: what the application has not read of it yet.
        unread = len(self.cycle.body) if self._reads_body else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or self._edge.refusals.malformed)
            return
        # A request that came whole has passed all parts, and left no trace here.
        if self._reads_body:
            if pace.part is BODY:
                self._judge_progress(size, unread)
            else:
                pace.begin(BODY)
        elif self._unparsed:
            if self._unparsed > self._limits.header_bytes:
                self._refuse(self._edge.refusals.header_size)
            elif pace.part is not HEADER:
                pace.begin(HEADER)
        elif pace.part is not NOTHING:
            pace.begin(NOTHING)

    def _judge_progress(self, size: int, unread: int) -> None:
        """Judge bytes after which a body is still incomplete."""
        if self.cycle.response_complete:
            self._unwanted += size
            if self._unwanted > MAX_UNWANTED_BYTES:
                self._linger()
        elif len(self.cycle.body) > unread:
            self._unparsed = 0
        elif self._unparsed > self._limits.header_bytes:
            # No body, but fields behind it or the extension of a chunk, which the parser would collect for ever.
            self._refuse(self._edge.refusals.header_size)

    def resume_writing(self) -> None:
        self._unread.forget()
        super().resume_writing()

    def check(self, now: float) -> None:
        """End the connection if its client sends too slowly, or has read nothing for too long."""
        # Closing waits for the client as well.
        if (self.flow.write_paused or self.transport.is_closing()) and self._unread.late(now, self._waiting_bytes()):
            self._edge.refusals.count(self._edge.refusals.unread)
            self.transport.abort()
            return
        if self._is_deaf or not self._pace.late(now, is_paused=self.flow.read_paused):
            return
        if self._reads_body:
            self._refuse(self._edge.refusals.body_time)
        elif self._unparsed:
            self._refuse(self._edge.refusals.header_time)
        else:
            # Browsers open connections that they may never need: that is no request, and gets no answer.
            self.transport.close()

    def _waiting_bytes(self) -> int:
        socket = self.transport.get_extra_info("socket")
        return self.transport.get_write_buffer_size() + unacknowledged(socket.fileno())

    # --- the parser's callbacks ---------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        # What came since the last request is at least as long as the header: mostly there is nothing to add up.
        if len(self.headers) > self._limits.header_fields or (
            self._unparsed > self._limits.header_bytes and self._header_size() > self._limits.header_bytes
        ):
            self._refusal = self._edge.refusals.header_size
            raise _Refused
        super().on_headers_complete()
        self._unparsed = self._unwanted = 0
        self._reads_body = True
        # The request has its list. Fields that follow a chunked body are no header fields, and go into this one.
        self.headers = []
        self.cycle.transport = self._answers  # type: ignore[assignment]
        # uvicorn makes the object, and has nothing to say which class it is of.
        self.cycle.__class__ = _Cycle

    def on_chunk_header(self) -> None:
        """Refuse a chunked body that is packed in another way as well. Only chunked bodies come here."""
        if self._judged is self.scope:
            return
        self._judged = self.scope
        encodings = [value for name, value in self.scope["headers"] if name == b"transfer-encoding"]
        if len(encodings) > 1 or encodings[0].strip().lower() != b"chunked":
            self._refusal = self._edge.refusals.transfer_encoding
            raise _Refused

    def _header_size(self) -> int:
        # With the separator and the end of each line, and the method and version of the first one.
        return len(self.url) + 16 + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        self._reads_body = False
        super().on_message_complete()

    def _ignore_upgrade(self) -> None:
        """Answer the request as if it had asked for no upgrade. What follows it may be another protocol."""
        logger.debug("a request to upgrade the connection is answered without")
        self._is_deaf = True
        self.cycle.keep_alive = False

    # --- the end ------------------------------------------------------------------------------------

    def _refuse(self, refusal: Refusal) -> None:
        self._edge.refusals.count(refusal)
        self._is_deaf = True
        cycle = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        if self._reads_body:
            has_place = is_answering and not cycle.response_started
            if is_answering:
                # To the application this is a client that went away.
                cycle.disconnected = True
                cycle.message_event.set()
        else:
            # The answer would stand in the middle of the one to an earlier request.
            has_place = not is_answering
        if has_place:
            self.transport.write(refusal.answer)
            self._linger()
        else:
            self.transport.close()

    def close_after_answer(self) -> None:
        """Close the connection. A client that is still sending its body is given the time to read the answer."""
        if self._reads_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        # Closed with unread bytes, the kernel would reset the connection, and the client might lose the answer.
        self._is_deaf = True
        self._unset_keepalive_if_required()
        if self.transport.is_closing() or self._lingering is not None:
            return
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._lingering = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
