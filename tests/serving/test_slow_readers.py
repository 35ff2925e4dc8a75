"""Clients that open a stream and do not read it: what they cost the server, and that nobody waits for them."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live import LiveServer
from tests.serving.raw import resident_bytes, wait_until
from tests.serving.slow_readers import EVENT_BYTES, EVENTS

READERS = 10
LOG_BYTES = 16_000_000
# Asks for everything that is kept.
FIRST_KEPT = "-1"
# What a reader may hold: a batch of events, its frames and the bytes that wait for its socket, and some room.
READER_BYTES = 5_000_000
OTHER_BYTES = 60_000_000


def start(directory: Path, kind: str, **settings: str) -> LiveServer:
    """Start a server with the graph of `slow_readers`."""
    config = directory / "langgraph.json"
    graph = Path(__file__).with_name("slow_readers.py")
    config.write_text(json.dumps({"dependencies": ["."], "graphs": {"flood": f"{graph}:graph"}}))
    settings = {"EVENT_LOG_MAX_BYTES": str(LOG_BYTES), **settings}
    return LiveServer(config, directory, settings, ("--server", kind)).start()


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    started = start(tmp_path_factory.mktemp(request.param), request.param)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(params=["uvicorn", "daphne"])
def hasty_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveServer]:
    """A server that does not wait for long."""
    started = start(tmp_path, request.param, UNREAD_TIMEOUT_SECONDS="2")
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def begin(http: httpx.Client) -> str:
    """Create a run that begins when readers have had time to connect; return its path."""
    thread_id = http.post("/threads", json={}).json()["thread_id"]
    body = {
        "assistant_id": "flood",
        "input": {},
        "stream_mode": "custom",
        "stream_resumable": True,
        "after_seconds": 1,
    }
    return f"/threads/{thread_id}/runs/{http.post(f'/threads/{thread_id}/runs', json=body).json()['run_id']}"


def open_stream(server: LiveServer, path: str, *fields: str) -> socket.socket:
    """Ask for a run's events and read nothing; `fields` are more lines of the header."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    reader.settimeout(60)
    reader.connect(("127.0.0.1", server.port))
    lines = [f"GET {path}/stream HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]
    reader.sendall("\r\n".join(lines).encode())
    return reader


def all_that_is_left(reader: socket.socket) -> bytes:
    """Read until the server has closed the connection, in whichever way; return the last bytes."""
    tail = b""
    with suppress(ConnectionResetError):
        while data := reader.recv(1_000_000):
            tail = (tail + data)[-100:]
    return tail


def streams_open(http: httpx.Client) -> float:
    families = text_string_to_metric_families(http.get("/metrics").text)
    return sum(
        sample.value for family in families if family.name == "switchyard_streams_open" for sample in family.samples
    )


def test_what_readers_do_not_read_is_not_kept_for_them(server: LiveServer, http: httpx.Client) -> None:
    before = resident_bytes(server)
    path = begin(http)
    with ExitStack() as readers:
        for _ in range(READERS):
            readers.enter_context(open_stream(server, path))
        wait_until(lambda: streams_open(http) == READERS)
        assert http.get(f"{path}/join").json() == {"done": True}
        assert resident_bytes(server) - before < LOG_BYTES + READERS * READER_BYTES + OTHER_BYTES
    assert EVENTS * EVENT_BYTES * READERS > 5 * (LOG_BYTES + READERS * READER_BYTES + OTHER_BYTES)


def test_readers_that_come_late_are_not_given_the_whole_log_at_once(server: LiveServer, http: httpx.Client) -> None:
    path = begin(http)
    http.get(f"{path}/join").raise_for_status()
    before = resident_bytes(server)
    with ExitStack() as readers:
        late = [
            readers.enter_context(open_stream(server, path, f"Last-Event-ID: {FIRST_KEPT}")) for _ in range(READERS)
        ]
        # The header is sent before there is a body.
        wait_until(lambda: all(len(reader.recv(20_000, socket.MSG_PEEK)) == 20_000 for reader in late))
        assert resident_bytes(server) - before < READERS * READER_BYTES


def test_a_reader_that_reads_on_after_a_while_comes_to_the_end(server: LiveServer, http: httpx.Client) -> None:
    path = begin(http)
    with open_stream(server, path) as reader:
        http.get(f"{path}/join").raise_for_status()
        tail = b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            read = reader.recv(1_000_000)
            assert read, "the server ended the stream in the middle"
            tail = (tail + read)[-100:]


def test_a_reader_that_goes_away_while_the_server_waits_for_it_is_forgotten(
    server: LiveServer, http: httpx.Client
) -> None:
    path = begin(http)
    with open_stream(server, path):
        http.get(f"{path}/join").raise_for_status()
        # It has not read the end.
        assert streams_open(http) == 1
    wait_until(lambda: streams_open(http) == 0)


def test_a_reader_that_reads_nothing_for_too_long_loses_its_connection(hasty_server: LiveServer) -> None:
    with httpx.Client(base_url=hasty_server.url, timeout=60) as http:
        path = begin(http)
        with open_stream(hasty_server, path) as reader:
            assert http.get(f"{path}/join").json() == {"done": True}
            wait_until(lambda: streams_open(http) == 0)
            assert not all_that_is_left(reader).endswith(b"\r\n0\r\n\r\n")
        assert 'switchyard_http_refused_total{reason="unread"} 1.0' in http.get("/metrics").text
