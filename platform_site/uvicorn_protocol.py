"""uvicorn's HTTP/1.1 connection with the limits of `http_limits`, and without what it does to foreign bytes.

httptools knows no limit of a header; fields behind a chunked body would be appended to the header; and a malformed
request, or an upgrade that is not served, would write warnings.
"""

import asyncio
import logging
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from platform_site.http_limits import BODY, HEADER, LINGER_SECONDS, MAX_UNWANTED_BYTES, NOTHING, Edge, Pace, Refusal

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
        # Bytes since the parser last finished a header, a piece of a body or a request.
        self._unparsed = 0
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
        self._pace.received += size
        if self._pace.part is NOTHING:
            self._pace.begin(HEADER)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
        except httptools.HttpParserError:
            self._refuse(self._refusal or self._edge.refusals.malformed)
        else:
            if self._unparsed > self._limits.header_bytes:
                self._refuse(self._edge.refusals.header_size)
            elif self._pace.part is BODY and self.cycle.response_complete:
                self._unwanted += size
                if self._unwanted > MAX_UNWANTED_BYTES:
                    self._linger()

    def check(self, now: float) -> None:
        """End the connection if it sends too slowly."""
        if self._is_deaf or not self._pace.late(now, is_paused=self.flow.read_paused):
            return
        if self._pace.part is BODY:
            self._refuse(self._edge.refusals.body_time)
        elif self._unparsed:
            self._refuse(self._edge.refusals.header_time)
        else:
            # Browsers open connections that they may never need: that is no request, and gets no answer.
            self.transport.close()

    # --- the parser's callbacks ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._pace.begin(HEADER)

    def on_headers_complete(self) -> None:
        self._judge_header()
        super().on_headers_complete()
        self._unparsed = self._unwanted = 0
        self._pace.begin(BODY)
        # The request has its list. Fields that follow a chunked body are no header fields, and go into this one.
        self.headers = []
        self.cycle.transport = self._answers  # type: ignore[assignment]

    def _judge_header(self) -> None:
        encodings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if encodings and (len(encodings) > 1 or encodings[0].strip().lower() != b"chunked"):
            self._refusal = self._edge.refusals.transfer_encoding
            raise _Refused
        # What came since the last request is at least as long as the header: mostly there is nothing to add up.
        if len(self.headers) > self._limits.header_fields or (
            self._unparsed > self._limits.header_bytes and self._header_size() > self._limits.header_bytes
        ):
            self._refusal = self._edge.refusals.header_size
            raise _Refused

    def _header_size(self) -> int:
        # With the separator and the end of each line, and the method and version of the first one.
        return len(self.url) + 16 + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        self._pace.begin(NOTHING)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self._is_deaf:
            super().on_response_complete()

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
        if self._pace.part is BODY:
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
        if self._pace.part is BODY:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        # Closed with unread bytes, the kernel would reset the connection, and the client might lose the answer.
        self._is_deaf = True
        self._unset_keepalive_if_required()
        if self.transport.is_closing() or self._lingering is not None:
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._lingering = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
