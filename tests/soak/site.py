"""A server as its users see it: requests over connections that are kept, every answer checked."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any

import httpx

from tests.benchmarks.client import Answer, BadAnswer, Connection
from tests.benchmarks.servers import Server

# The server closes idle connections after KEEP_ALIVE_SECONDS (75); ours are closed well before.
IDLE_SECONDS = 30.0
# The receive buffer of a client that reads slowly: with the default one the kernel would read in its place.
SMALL_BUFFER = 32_768


class Site:
    """Connections to one server. An answer with another status than the expected one is a `BadAnswer`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address = server.address
        self._idle: list[tuple[float, Connection]] = []

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. It is kept for the next caller unless the block raises."""
        oldest = monotonic() - IDLE_SECONDS
        while self._idle and self._idle[0][0] < oldest:
            self._idle.pop(0)[1].close()
        connection = self._idle.pop()[1] if self._idle else Connection(self.address)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append((monotonic(), connection))

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: Sequence[int] = (200,),
        headers: Sequence[tuple[str, str]] = (),
    ) -> Any:
        """Return the decoded JSON of the answer, None if its body is empty."""
        answer = await self._send(self.address.request(method, path, body, headers))
        checked(answer, f"{method} {path}", expect)
        return answer.json() if answer.body.strip() else None

    async def page(self, path: str, cookie: str) -> bytes:
        """Return the HTML of a page of the dashboard."""
        answer = await self._send(self.address.request("GET", path, headers=[("cookie", cookie)]))
        return checked(answer, f"GET {path}", (200,)).body

    async def stream(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        mark: bytes,
        events: int,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Read an event stream to its end, which must bring exactly `events` events that begin with `mark`."""
        answer = await self._send(self.address.request(method, path, body, headers), mark)
        complete(answer, f"{method} {path}", events)

    async def slow_stream(self, path: str, body: Any, *, mark: bytes, events: int, pause: float) -> None:
        """Read an event stream in sips with pauses between them, over a connection with a small buffer."""
        connection = await Connection(self.address).open()
        try:
            connection.set_option(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            answer, end = connection.begin(self.address.request("POST", path, body), mark)
            while not end.done():
                connection.stop_reading()
                await asyncio.sleep(pause)
                connection.read_on()
                await asyncio.wait([end], timeout=0.02)
            await end
        finally:
            connection.close()
        complete(answer, f"POST {path}, read slowly", events)

    async def _send(self, request: bytes, mark: bytes | None = None) -> Answer:
        async with self.connection() as connection:
            return await connection.send(request, mark)

    async def sign_in(self) -> str:
        """Use the link that the server has printed; return the cookie of its session."""
        assert self.server.log is not None
        found = re.search(r"http\S+(/dashboard/sign-in/[\w-]+)", self.server.log.read_text(errors="replace"))
        if found is None:
            raise BadAnswer("the server printed no link to sign in")
        async with httpx.AsyncClient(base_url=f"http://{self.address.host}:{self.address.port}") as client:
            form = await client.get(found[1])
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
            if token is None:
                raise BadAnswer(f"{found[1]} has no form: {form.status_code}")
            answer = await client.post(found[1], data={"csrfmiddlewaretoken": token[1]})
            if answer.status_code != 302:
                raise BadAnswer(f"the link to sign in was answered with {answer.status_code}")
            return "; ".join(f"{name}={value}" for name, value in client.cookies.items())

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()


def checked(answer: Answer, what: str, expect: Sequence[int]) -> Answer:
    """Return the answer. Raise `BadAnswer` if its status is not expected or if it tells of a failed run."""
    if answer.status not in expect or (answer.status == 200 and b'"__error__"' in answer.body):
        text = answer.body[:300].decode(errors="replace").strip()
        raise BadAnswer(f"{what}: {answer.status} {text}")
    return answer


def complete(answer: Answer, what: str, events: int) -> None:
    checked(answer, what, (200,))
    if answer.count != events:
        raise BadAnswer(f"{what}: {answer.count} events instead of {events}")
