"""A receiver of webhooks: it answers every request with 204 and counts by path."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Sink:
    """What has arrived, by path, and waiting for it."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.url = ""
        self._news = asyncio.Condition()

    async def arrived(self, path: str, timeout: float) -> None:
        """Wait until a webhook has come to `path`. Raise TimeoutError if none does in time."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: self.received[path] > 0), timeout)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                await reader.readexactly(int(fields.get("content-length", 0)))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
                async with self._news:
                    self.received[first.split(" ")[1]] += 1
                    self._news.notify_all()


@contextlib.asynccontextmanager
async def open_sink() -> AsyncIterator[Sink]:
    """Listen on a free loopback port."""
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    sink.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield sink
    finally:
        server.close()
