"""What a connection knows of a client that reads slowly: more than whether there is room for the next bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from platform_site.processes.http.limits import Edge, Limits, unacknowledged
from platform_site.processes.http.uvicorn import LimitedProtocol

UNREAD_SECONDS = 300
# More than the system takes of one answer.
ANSWER_BYTES = 40_000_000
READ_BYTES = 300_000


@asynccontextmanager
async def unread_answer() -> AsyncIterator[tuple[LimitedProtocol, socket.socket]]:
    """A connection whose answer waits, and its client, which has read nothing."""
    was_written = asyncio.Event()

    async def answer_much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * ANSWER_BYTES})
        was_written.set()

    config = uvicorn.Config(answer_much, http="httptools", ws="none", lifespan="off", log_config=None)
    config.load()
    state, edge = ServerState(), Edge(Limits(unread_seconds=UNREAD_SECONDS))
    server = await asyncio.get_running_loop().create_server(
        lambda: LimitedProtocol(config, state, {}, edge=edge), "127.0.0.1", 0
    )
    async with server:
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await was_written.wait()
            (connection,) = state.connections
            assert isinstance(connection, LimitedProtocol)
            assert connection.flow.write_paused
            yield connection, client


async def test_a_client_that_reads_less_than_the_system_holds_for_it_keeps_its_connection() -> None:
    async with unread_answer() as (connection, client):
        for step in range(10):
            connection.check(step * UNREAD_SECONDS * 0.6)
            assert not connection.transport.is_closing()
            client.recv(READ_BYTES, socket.MSG_WAITALL)
            # The server writes what there is room for.
            await asyncio.sleep(0)


async def test_a_client_that_reads_nothing_loses_its_connection() -> None:
    async with unread_answer() as (connection, _client):
        connection.check(0)
        connection.check(UNREAD_SECONDS - 1)
        assert not connection.transport.is_closing()
        connection.check(UNREAD_SECONDS)
        assert connection.transport.is_closing()


def test_bytes_that_the_client_has_read_are_not_held_for_it() -> None:
    server, client = socket.socketpair()
    with server, client:
        server.sendall(b"x" * 1000)
        assert unacknowledged(server.fileno()) >= 1000
        client.recv(1000)
        assert unacknowledged(server.fileno()) == 0


def test_a_socket_that_is_closed_holds_nothing() -> None:
    server, client = socket.socketpair()
    server.close()
    client.close()
    assert unacknowledged(server.fileno()) == 0


def test_what_is_no_socket_holds_nothing(tmp_path: Any) -> None:
    with (tmp_path / "file").open("w") as file:
        assert unacknowledged(file.fileno()) == 0
