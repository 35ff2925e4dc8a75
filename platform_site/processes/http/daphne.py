"""Daphne with the limits of `limits.py`, as far as Twisted lets them be kept.

Twisted reads a whole body before the application is called: what the application refuses unread, Daphne has read. So
its size is judged here by method and path, and nothing above the limit is kept.
"""

import asyncio
import re
import time
from io import BytesIO
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from django.conf import settings
from twisted.internet import reactor
from twisted.web.http import HTTPChannel

from platform_site.core.config import config
from platform_site.core.http.bodies import most_bytes, too_large
from platform_site.processes.http.limits import (
    BODY,
    HEADER,
    NOTHING,
    Edge,
    Limits,
    Pace,
    Refusal,
    Unread,
    unacknowledged,
)

_METHOD = re.compile(rb"[A-Za-z]{1,20}")


class LimitedRequest(WebRequest):
    """A request whose body is refused when it is larger than its path allows."""

    # Twisted would decode forms that nobody asks it for.
    _parsePOSTFormSubmission = False

    def gotLength(self, length: int | None) -> None:
        """Choose where the body is kept, or refuse it. The length of a chunked body is not known yet."""
        self._limit = self.channel.most_bytes()
        self._taken = 0
        if self._limit <= settings.MAX_PAGE_BODY_BYTES:
            self.content = BytesIO()
        else:
            super().gotLength(length)
        if length is not None and length > self._limit:
            self.channel.refuse_body(self._limit)

    def handleContentChunk(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken <= self._limit:
            super().handleContentChunk(data)
        else:
            self.channel.refuse_body(self._limit)

    def process(self) -> None:
        if _METHOD.fullmatch(self.method) is None:
            self.channel.refuse(self.channel.edge.refusals.malformed)
            return
        channel = self.channel
        super().process()
        if self.transport is None:
            channel.hand_over()


class LimitedChannel(HTTPChannel):
    """One connection. The server calls `check` once a second."""

    requestFactory = LimitedRequest

    def __init__(self, edge: Edge, open_channels: "set[LimitedChannel]") -> None:
        super().__init__()
        self.edge = edge
        self.maxHeaders = edge.limits.header_fields
        self.totalHeadersSize = self.MAX_LENGTH = edge.limits.header_bytes
        self._open_channels = open_channels
        self._pace = Pace(edge.limits)
        self._unread = Unread(edge.limits)
        self._is_deaf = False
        # Whether the client has read enough of what was written for more to be written.
        self._is_drained = asyncio.Event()
        self._is_drained.set()

    # --- the connection -----------------------------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self._host = str(getattr(self.transport.getPeer(), "host", ""))
        if (refusal := self.edge.connections.enter(self._host)) is not None:
            self.refuse(refusal)
        else:
            self._open_channels.add(self)

    def connectionLost(self, reason: Any) -> None:
        self._is_drained.set()
        self._forget()
        super().connectionLost(reason)

    def _forget(self) -> None:
        if self in self._open_channels:
            self._open_channels.remove(self)
            self.edge.connections.leave(self._host)

    def hand_over(self) -> None:
        """Let the protocol that took over the transport tell of the connection's end: this one will not hear of it."""
        protocol = self.transport.protocol
        lost = protocol.connectionLost

        def forget_too(reason: Any) -> None:
            self._forget()
            lost(reason)

        protocol.connectionLost = forget_too
        self._pace.begin(NOTHING)

    def dataReceived(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._pace.received += len(data)
        if self._pace.part is NOTHING and not self._handlingRequest:
            self._pace.begin(HEADER)
        super().dataReceived(data)

    def check(self, now: float) -> None:
        """End the connection if its client sends too slowly, or has read nothing for too long."""
        if not self._is_drained.is_set() and self._unread.late(now, self._waiting_bytes()):
            self.edge.refusals.count(self.edge.refusals.unread)
            self.transport.abortConnection()
            return
        if self._is_deaf or not self._pace.late(now, is_paused=False):
            return
        if self._pace.part is BODY:
            self.refuse(self.edge.refusals.body_time)
        elif self.requests or self._buffer:
            self.refuse(self.edge.refusals.header_time)
        else:
            self.loseConnection()

    # --- answers ------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._is_drained.clear()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._is_drained.set()
        self._unread.forget()
        super().resumeProducing()

    async def drained(self) -> None:
        """Wait until the client has read what was written, up to a rest of some kilobytes, or the connection ends."""
        await self._is_drained.wait()

    def _waiting_bytes(self) -> int:
        # Twisted does not tell otherwise. It sends from one buffer while it fills another.
        transport = self.transport
        kept = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return int(kept) + unacknowledged(transport.fileno())

    # --- the parser's steps -------------------------------------------------------------------------

    def lineReceived(self, line: bytes) -> None:
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.refuse(self.edge.refusals.header_size)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(self.edge.refusals.header_size)

    def headerReceived(self, line: bytes) -> bool:
        if self._receivedHeaderCount >= self.maxHeaders:
            self.refuse(self.edge.refusals.header_size)
            return False
        return bool(super().headerReceived(line))

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Transfer-Encoding" and data.lower() != b"chunked":
            self.refuse(self.edge.refusals.transfer_encoding)
            self.length = None
            return False
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def allHeadersReceived(self) -> None:
        self._pace.begin(BODY)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self._pace.begin(NOTHING)
        # A body that was refused has been thrown away: there is nothing to call the application with.
        if not self._is_deaf:
            super().allContentReceived()

    def _send100Continue(self) -> None:
        if not self._is_deaf:
            super()._send100Continue()

    def most_bytes(self) -> int:
        """Return how large the body of the current request may be."""
        path = self._path.partition(b"?")[0].decode("latin-1")
        return most_bytes(self._command.decode("latin-1"), path.removeprefix(config().http.mount_prefix))

    # --- refusals -----------------------------------------------------------------------------------

    def refuse_body(self, limit: int) -> None:
        """Refuse a body that is larger than its limit."""
        error = too_large(limit)
        self.refuse(Refusal("body_size", error.status, error.detail))

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the server's own words and end the connection."""
        if self._is_deaf:
            return
        self.edge.refusals.count(refusal)
        self._is_deaf = True
        self._pace.begin(NOTHING)
        # In the middle of an answer there is no place for another one.
        if not any(getattr(request, "_response_started", False) for request in self.requests):
            self.transport.write(refusal.answer)
        self.loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(self.edge.refusals.malformed)


class LimitedFactory(HTTPFactory):
    """Makes limited connections."""

    def __init__(self, server: Any, edge: Edge, open_channels: set[LimitedChannel]) -> None:
        super().__init__(server)
        self.timeOut = edge.limits.keep_alive_seconds
        self._edge = edge
        self._open_channels = open_channels

    def protocol(self) -> LimitedChannel:
        return LimitedChannel(self._edge, self._open_channels)

    def buildProtocol(self, addr: Any) -> LimitedChannel:
        made: LimitedChannel = super().buildProtocol(addr)
        made.requestFactory = LimitedRequest
        return made


class LimitedServer(Server):
    """Daphne's server on limited connections."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._edge = Edge(Limits.from_settings())
        self._open_channels: set[LimitedChannel] = set()
        super().__init__(*args, **options)

    @property
    def http_factory(self) -> HTTPFactory:
        """The factory that listens. Daphne makes one of its own in `run`; ours takes its place."""
        return self._http_factory

    @http_factory.setter
    def http_factory(self, made: HTTPFactory) -> None:
        self._http_factory = LimitedFactory(self, self._edge, self._open_channels)

    def run(self) -> None:
        reactor.callLater(1, self._sweep)
        super().run()

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Write a part of an answer, and return when there is room for the next one.

        Daphne itself returns at once. Twisted would keep everything that a client does not read.
        """
        await super().handle_reply(protocol, message)
        # None after the end of the answer.
        channel = getattr(protocol, "channel", None)
        if isinstance(channel, LimitedChannel):
            await channel.drained()

    def _sweep(self) -> None:
        now = time.monotonic()
        for channel in list(self._open_channels):
            channel.check(now)
        self._edge.refusals.tell(now)
        reactor.callLater(1, self._sweep)
