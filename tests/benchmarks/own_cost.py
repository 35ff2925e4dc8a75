"""What the client itself costs: the same loads against a server that answers constant bytes at once."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from .client import Address
from .measures import Metrics, read_streams, repeat
from .servers import ROOT, Server
from .stub import EVENTS


@contextlib.asynccontextmanager
async def stub_server() -> AsyncIterator[Server]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.stub", cwd=ROOT, stdin=pipe, stdout=pipe
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = int(await process.stdout.readline())
        yield Server("stub", Address("127.0.0.1", port), process.pid)
    finally:
        process.stdin.close()
        await process.wait()


async def measure(seconds: float, streams: int) -> Metrics:
    """Requests a second and microseconds of this program's CPU for each, and events read a second."""
    async with stub_server() as server:
        request = server.address.request("GET", "/threads/019aa5c4-0000-7000-8000-000000000000")
        one = await repeat(server, 1, seconds, lambda client, number: request)
        many = await repeat(server, 32, seconds, lambda client, number: request)
        stream = server.address.request("GET", "/stream")
        read = await read_streams(server, stream, b"event: messages", streams, EVENTS)
        return {
            "one_ms": one.median_ms,
            "rate": many.rate,
            "microseconds": many.client_busy * 1e6 / many.rate,
            "events": read.rate,
        }
