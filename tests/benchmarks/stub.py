"""A server that answers constant bytes, for the price of the client itself: `python -m tests.benchmarks.stub`.

It prints its port and serves until its standard input ends.
"""

import asyncio
import sys
from typing import cast

import uvloop

_JSON = (
    b'{"thread_id":"019aa5c4-0000-7000-8000-000000000000","created_at":"2026-01-01T00:00:00.000000+00:00",'
    b'"updated_at":"2026-01-01T00:00:00.000000+00:00","state_updated_at":"2026-01-01T00:00:00.000000+00:00",'
    b'"metadata":{"user":"user-1","tier":"gold"},"status":"idle","config":{},"values":null}'
)
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_JSON), _JSON)
_EVENT = b'event: messages\r\ndata: [{"content":"token "},{"filler":"%s"}]\r\n\r\n' % (b"x" * 1100)
EVENTS, _JOINED = 2000, 8
_PART = _EVENT * _JOINED
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + (
    b"%x\r\n%s\r\n" % (len(_PART), _PART) * (EVENTS // _JOINED) + b"0\r\n\r\n"
)


class Stub(asyncio.Protocol):
    """The client sends each request in one piece and one at a time, so a piece is a request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(_STREAM if data.startswith(b"GET /stream") else _ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
