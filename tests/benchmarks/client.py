"""A cheap HTTP/1.1 client: one asyncio protocol a connection, parsed in C, nothing between it and the socket.

It shares the machine with the server it measures, so its own cost matters; `own_cost.py` measures it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, cast
from urllib.parse import urlsplit

import httptools


class BadAnswer(Exception):
    """The server answered something else than the benchmark asked for."""


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: str, headers: Sequence[tuple[str, str]] = ()) -> "Address":
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url} is not of the form http://host:port")
        return cls(parts.hostname, parts.port or 80, tuple(headers))

    def request(self, method: str, path: str, body: Any = None, headers: Sequence[tuple[str, str]] = ()) -> bytes:
        """A request as it goes over the wire, to be sent once or many times."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *headers)]
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        if body is not None:
            lines += ["content-type: application/json", f"content-length: {len(content)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


@dataclass
class Answer:
    """A response. With a `mark` its occurrences are counted and the body is not kept."""

    mark: bytes | None = None
    status: int = 0
    count: int = 0
    marked_at: float | None = None
    marked: asyncio.Event = field(default_factory=asyncio.Event)
    _parts: list[bytes] = field(default_factory=list)
    _tail: bytes = b""

    def feed(self, data: bytes) -> None:
        if self.mark is None or self.status != 200:
            self._parts.append(data)
            return
        text = self._tail + data
        if found := text.count(self.mark):
            if not self.count:
                self.marked_at = perf_counter()
                self.marked.set()
            self.count += found
        # One byte short of the mark: a mark cut by two pieces is found once, and never twice.
        self._tail = text[-(len(self.mark) - 1) :]

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    def json(self) -> Any:
        return json.loads(self.body)

    def check(self) -> "Answer":
        """The answer itself if it is a success; a failed run is answered 200 with `__error__`."""
        if self.status not in (200, 204) or b'"__error__"' in self.body:
            raise BadAnswer(f"{self.status} {self.body[:300].decode(errors='replace').strip()}")
        return self


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time and opens itself anew when the server closed it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[Answer] | None = None

    async def open(self) -> "Connection":
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self.address.host, self.address.port)
        return self

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def set_option(self, level: int, option: int, value: int) -> None:
        """Set an option of the open connection's socket."""
        assert self._transport is not None
        self._transport.get_extra_info("socket").setsockopt(level, option, value)

    def stop_reading(self) -> None:
        """Leave what the server sends in the buffers of the kernel, as a client does that is busy otherwise."""
        if self._transport is not None:
            self._transport.pause_reading()

    def read_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    async def send(self, request: bytes, mark: bytes | None = None) -> Answer:
        if self._transport is None:
            await self.open()
        return await self.begin(request, mark)[1]

    def begin(self, request: bytes, mark: bytes | None = None) -> tuple[Answer, "asyncio.Future[Answer]"]:
        """Sends the request; gives the growing answer and the future of its end. The connection must be open."""
        if self._transport is None:
            raise ConnectionError("the connection is not open")
        if self._done is not None:
            raise RuntimeError("this connection still waits for an answer")
        answer = self._answer = Answer(mark)
        done = self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return answer, done

    # --- asyncio.Protocol -------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._finish(exc)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._finish(exc or ConnectionError("the server closed the connection before the answer was complete"))

    # --- httptools --------------------------------------------------------------------------------
    def on_headers_complete(self) -> None:
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.feed(data)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        self._finish(None)

    def _finish(self, exc: Exception | None) -> None:
        answer, done, self._answer, self._done = self._answer, self._done, None, None
        if done is None or answer is None or done.done():
            return
        if exc is None:
            done.set_result(answer)
        else:
            done.set_exception(exc)
            # Who still waits gets it. If nobody does, as after a visit that was given up, asyncio need not complain.
            done.exception()


@asynccontextmanager
async def connections(address: Address, count: int) -> AsyncIterator[list[Connection]]:
    """`count` open connections, closed at the end."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = await Connection(address).open()
            stack.callback(connection.close)
            opened.append(connection)
        yield opened


async def call(address: Address, method: str, path: str, body: Any = None) -> Any:
    """One request on a connection of its own; the decoded JSON of its answer."""
    async with connections(address, 1) as (connection,):
        return (await connection.send(address.request(method, path, body))).check().json()
