"""Clients and proxies that speak HTTP/1.0, which knows no chunks."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.live import LiveServer
from tests.serving.raw import Connection


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    directory: Path = tmp_path_factory.mktemp(request.param)
    started = LiveServer(None, directory, {}, ("--server", request.param)).start()
    try:
        yield started
    finally:
        started.stop()


def answered(server: LiveServer, request: str) -> tuple[str, bytes]:
    """Send a request and return the head in lower case, and all that follows until the server ends the connection."""
    connection = Connection(server)
    connection.send(request.encode())
    assert connection.is_closed()
    head, _, body = connection.received.partition(b"\r\n\r\n")
    return head.decode().lower(), body


def test_a_stream_ends_with_its_connection(server: LiveServer) -> None:
    thread_id = httpx.post(f"{server.url}/threads", json={}).json()["thread_id"]
    body = '{"assistant_id": "memory", "input": {"messages": [{"role": "user", "content": "hello"}]}}'
    head, events = answered(
        server,
        f"POST /threads/{thread_id}/runs/stream HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}",
    )
    assert "200 ok" in head.splitlines()[0]
    assert "chunked" not in head
    assert events.startswith(b"event: metadata\r\n")
    assert events.endswith(b"\r\n\r\n")


def test_an_answer_of_known_length_says_it(server: LiveServer) -> None:
    head, body = answered(server, "GET /info HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    assert f"content-length: {len(body)}" in head
