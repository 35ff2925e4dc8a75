"""Limits that a server keeps before it asks who calls, with bytes on a socket."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.live import LiveServer
from tests.serving.conftest import manage, wait_log
from tests.serving.raw import Connection, connected, exchange, resident_bytes, wait_until

# Small, so that a test waits for seconds at most.
SMALL = {
    "AUTH": "keys",
    "LOG_FORMAT": "json",
    "HEADER_TIMEOUT_SECONDS": "2",
    "BODY_TIMEOUT_SECONDS": "2",
    "BODY_BYTES_PER_SECOND": "1000",
    "KEEP_ALIVE_SECONDS": "6",
    "MAX_CONNECTIONS": "40",
    "MAX_CONNECTIONS_PER_ADDRESS": "30",
    "MAX_PAGE_BODY_BYTES": "100000",
    "MAX_BODY_BYTES": "300000",
    "STREAM_HEARTBEAT_SECONDS": "0.5",
}
HOST = b"Host: agents.example\r\n"


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that asks for keys, with small limits."""
    arguments = ("--server", request.param)
    started = LiveServer(None, tmp_path_factory.mktemp(request.param), SMALL, arguments)
    started.launch()
    try:
        wait_log(started, "Switchyard is ready")
        yield started
    finally:
        started.stop()


def get(path: bytes = b"/ok", *fields: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def post(path: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def chunked(body: bytes, *, trailers: bytes = b"") -> bytes:
    return b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)


# --- the header -------------------------------------------------------------------------------------


def test_a_header_just_below_its_limits_is_read(server: LiveServer) -> None:
    assert exchange(server, get(b"/ok", b"X-Long: " + b"a" * 60_000)).status == 200
    assert exchange(server, get(b"/ok", *[b"X-%d: 1" % number for number in range(99)])).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/ok", b"X-Long: " + b"a" * 70_000),
        get(b"/ok", b"X-" + b"a" * 70_000 + b": 1"),
        get(b"/ok", *[b"X-%d: 1" % number for number in range(100)]),
        get(b"/ok", *[b"X: %s" % (b"a" * 1000)] * 80),
        get(b"/ok", *[b"X:"] * 100_000),
        get(b"/ok?" + b"a" * 70_000),
    ],
    ids=["long value", "long name", "many fields", "many long fields", "a hundred thousand fields", "long path"],
)
def test_a_header_above_its_limits_is_refused(server: LiveServer, request_: bytes) -> None:
    answer = exchange(server, request_)
    assert answer.status == 431, answer.body
    assert "65536 bytes and 100 fields" in answer.body.decode()
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("start", [b"GET /ok HTTP/1.1\r\nX: ", b"GET /ok HTTP/1.1\r\nX", b"GET /"], ids=repr)
def test_an_endless_header_is_refused_and_not_kept(server: LiveServer, start: bytes) -> None:
    before = resident_bytes(server)
    with connected(server) as connection:
        connection.send(start)
        for _ in range(64):
            connection.send(b"a" * 1_000_000)
        assert connection.answer().status in (0, 431)
        assert connection.is_closed()
    assert resident_bytes(server) - before < 30_000_000


def test_a_request_after_a_refused_one_is_not_read(server: LiveServer) -> None:
    with connected(server) as connection:
        connection.send(get(b"/ok", b"X: " + b"a" * 70_000) + get(b"/info"))
        assert connection.answer().status == 431
        assert connection.is_closed()


@pytest.mark.parametrize("sent", [b"GET /ok HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n", b"G"], ids=repr)
def test_a_header_that_does_not_come_to_its_end_is_given_up(server: LiveServer, sent: bytes) -> None:
    with connected(server) as connection:
        connection.send(sent)
        answer = connection.answer()
        # Daphne takes an empty line for nothing at all.
        assert answer.status == 408 or sent == b"\r\n"
        assert answer.status == 0 or "within 2 s" in answer.body.decode()
        assert connection.is_closed()


def test_a_header_that_trickles_is_given_up(server: LiveServer) -> None:
    with connected(server, timeout=0.2) as connection:
        connection.send(b"GET /ok HTTP/1.1\r\nHost: a\r\nX: ")
        for _ in range(100):
            connection.send(b"a")
            try:
                assert connection.answer().status == 408
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it was never given up")


def test_a_silent_connection_is_closed_without_a_word(server: LiveServer) -> None:
    with connected(server) as connection:
        assert connection.answer().status == 0


def test_an_idle_connection_is_closed_after_its_time_and_not_before_an_answer(server: LiveServer) -> None:
    with connected(server) as connection:
        for _ in range(2):
            connection.send(get())
            assert connection.answer().status == 200
        # An empty line between requests is no request, and keeps nothing open.
        connection.send(b"\r\n")
        assert connection.is_closed()


# --- bodies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [b"Content-Length: 50000", b"Transfer-Encoding: chunked"], ids=repr)
def test_a_body_that_stands_still_is_given_up(server: LiveServer, head: bytes) -> None:
    with connected(server) as connection:
        connection.send(post(b"/dashboard/sign-in", head, body=b"10\r\n0123"))
        answer = connection.answer()
        assert answer.status == 408
        assert "1000 bytes a second" in answer.body.decode()
        assert connection.is_closed()


def test_a_body_that_trickles_is_given_up_however_much_came_at_first(server: LiveServer) -> None:
    with connected(server, timeout=0.2) as connection:
        connection.send(post(b"/dashboard/sign-in", b"Content-Length: 60000", body=b"a" * 50_000))
        for _ in range(100):
            connection.send(b"a")
            try:
                assert connection.answer().status == 408
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it was never given up")


PAGES = [b"/dashboard/sign-in", b"/dashboard/", b"/admin/login/", b"/admin/"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_refuse_a_body_above_their_limit_before_it_is_sent(server: LiveServer, path: bytes) -> None:
    for length in (100_001, 10**9, 10**18):
        answer = exchange(server, post(path, b"Content-Length: %d" % length))
        assert answer.status == 413, length
        assert "larger than 100000 bytes" in answer.body.decode()
    assert exchange(server, post(path, b"Content-Length: %d" % 10**40)).status in (400, 413)


@pytest.mark.parametrize("path", PAGES)
def test_pages_refuse_a_chunked_body_above_their_limit(server: LiveServer, path: bytes) -> None:
    with connected(server) as connection:
        connection.send(post(path, b"Transfer-Encoding: chunked"))
        for _ in range(400):
            connection.send(b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n")
        assert connection.answer().status == 413
        assert connection.is_closed()


def test_pages_take_a_body_up_to_their_limit(server: LiveServer) -> None:
    for request_ in (
        post(b"/dashboard/sign-in", b"Content-Length: 100000", body=b"a" * 100_000),
        post(b"/dashboard/sign-in", b"Transfer-Encoding: chunked", body=chunked(b"a" * 100_000)),
    ):
        # Refused for want of a token, so Django has read it.
        assert exchange(server, request_).status == 403


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("path", [b"/static/css/base.css", b"/ok", b"/info", b"/metrics", b"/docs", b"/openapi.json"])
def test_what_is_public_takes_no_body(server: LiveServer, method: bytes, path: bytes) -> None:
    head = method + b" " + path + b" HTTP/1.1\r\n" + HOST
    for rest in (b"Content-Length: 1\r\n\r\na", b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"a")):
        answer = exchange(server, head + rest)
        assert answer.status == 413
    assert exchange(server, head + b"Content-Length: 0\r\n\r\n").status in (200, 405)


def test_a_body_that_nobody_wanted_is_not_read_for_ever(server: LiveServer) -> None:
    with connected(server) as connection:
        connection.send(post(b"/threads", b"Content-Length: 300000000"))
        # Without a key: answered unread, if the body had been allowed.
        assert connection.answer().status in (401, 413)
        for _ in range(300):
            connection.send(b"a" * 100_000)
        assert connection.is_closed()


def test_half_bodies_are_not_kept(server: LiveServer) -> None:
    before = resident_bytes(server)
    connections = [Connection(server) for _ in range(20)]
    for connection in connections:
        connection.send(get(b"/ok", b"Content-Length: 24900000") + b"a" * 3_000_000)
    assert {connection.answer().status for connection in connections} <= {0, 413}
    assert resident_bytes(server) - before < 30_000_000
    for connection in connections:
        connection.close()


# --- connections ------------------------------------------------------------------------------------


def held(server: LiveServer, *places: str) -> list[Connection]:
    """Connections from these places, all of them answered. Those of earlier tests may not be given back yet."""
    found: list[Connection] = []

    def are_answered() -> bool:
        for connection in found:
            connection.close()
        found[:] = [Connection(server, source=place) for place in places]
        for connection in found:
            connection.send(get())
        return {connection.answer().status for connection in found} == {200}

    wait_until(are_answered)
    return found


def closed(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


def assert_refused(server: LiveServer, place: str, reason: str) -> None:
    with connected(server, source=place) as one_more:
        answer = one_more.answer()
        assert answer.status == 503
        assert reason in answer.body.decode()
        assert one_more.is_closed()


def test_connections_of_one_address_are_counted_and_given_back(server: LiveServer) -> None:
    for _ in range(2):
        # Nothing is counted twice, nor forgotten: there is room for as many again.
        connections = held(server, *["127.0.0.1"] * 30)
        assert_refused(server, "127.0.0.1", "30 connections are open from one address")
        # Those that were there go on, and others come in.
        connections[0].send(get())
        assert connections[0].answer().status == 200
        closed(held(server, "127.0.0.2"))
        closed(connections)


def test_connections_are_counted_in_all(server: LiveServer) -> None:
    connections = held(server, *["127.0.0.1"] * 25, *["127.0.0.2"] * 15)
    for place in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        assert_refused(server, place, "40 connections")
    closed(connections)


def test_streams_may_last_and_be_silent(server: LiveServer, key: str) -> None:
    headers = {"X-Api-Key": key}
    thread = httpx.post(f"{server.url}/threads", json={}, headers=headers, timeout=30).json()["thread_id"]
    with httpx.stream("GET", f"{server.url}/threads/{thread}/stream", headers=headers, timeout=30) as stream:
        beats = 0
        for line in stream.iter_lines():
            beats += line.startswith(":")
            # Each is half a second: together they are longer than any of the limits above.
            if beats == 14:
                break
    assert beats == 14


def test_a_client_that_asks_before_it_sends_its_body_is_answered(server: LiveServer, key: str) -> None:
    head = post(b"/threads", b"X-Api-Key: " + key.encode(), b"Content-Length: 2", b"Expect: 100-continue")
    with connected(server) as connection:
        connection.send(head)
        assert connection.answer().status == 100
        connection.send(b"{}")
        assert connection.answer().status == 200
    too_much = head.replace(b"Length: 2", b"Length: 300001")
    assert exchange(server, too_much).status == 413


def test_pipelined_requests_are_answered_in_their_order(server: LiveServer) -> None:
    with connected(server) as connection:
        connection.send((get() + get(b"/nope") + post(b"/ok", b"Content-Length: 0")) * 3)
        assert [connection.answer().status for _ in range(9)] == [200, 401, 405] * 3


# --- encodings and trailers -------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"identity", b"chunked, chunked", b"x", b""], ids=repr)
def test_only_chunked_is_understood(server: LiveServer, coding: bytes) -> None:
    answer = exchange(server, post(b"/dashboard/sign-in", b"Transfer-Encoding: " + coding, body=chunked(b"a")))
    assert answer.status in ((501,) if coding == b"gzip, chunked" else (400, 501)), answer
    assert answer.headers["connection"] == "close"


def test_chunked_twice_is_refused(server: LiveServer) -> None:
    twice = [b"Transfer-Encoding: chunked"] * 2
    assert exchange(server, post(b"/dashboard/sign-in", *twice, body=chunked(b"a"))).status in (400, 501)


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"identity", b"x"])
def test_an_encoded_body_is_not_taken(server: LiveServer, coding: bytes) -> None:
    encoding = b"Content-Encoding: " + coding
    for request_ in (
        post(b"/dashboard/sign-in", encoding, b"Content-Length: 1", body=b"a"),
        post(b"/dashboard/sign-in", encoding, b"Transfer-Encoding: chunked", body=chunked(b"a")),
    ):
        answer = exchange(server, request_)
        assert answer.status == 415
        assert answer.headers["accept-encoding"] == "identity"
    # Nothing is encoded where there is nothing.
    assert exchange(server, get(b"/ok", encoding)).status == 200


def test_fields_behind_a_body_do_not_become_a_header(server: LiveServer, key: str) -> None:
    trailers = b"X-Api-Key: " + key.encode() + b"\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\n"
    sent = chunked(b"{}", trailers=trailers)
    assert exchange(server, post(b"/threads/search", b"Transfer-Encoding: chunked", body=sent)).status == 401
    # In pieces, as a client sends who reads the answer between them.
    with connected(server) as connection:
        connection.send(post(b"/threads/search", b"X-Api-Key: " + key.encode(), b"Transfer-Encoding: chunked"))
        connection.send(b"2\r\n{}\r\n0\r\n")
        connection.send(trailers)
        connection.send(b"\r\n" + get())
        answer = connection.answer()
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers
        assert connection.answer().status == 200


def test_endless_fields_behind_a_body_are_refused(server: LiveServer, key: str) -> None:
    before = resident_bytes(server)
    for piece in (b"X: a\r\n" * 10_000, b"a" * 60_000):
        with connected(server) as connection:
            connection.send(
                post(b"/threads/search", b"X-Api-Key: " + key.encode(), b"Transfer-Encoding: chunked")
                + b"2\r\n{}\r\n0\r\n"
            )
            for _ in range(200):
                connection.send(piece)
            assert connection.answer().status in (0, 400, 431)
            assert connection.is_closed()
    assert resident_bytes(server) - before < 30_000_000


@pytest.fixture(scope="module")
def key(server: LiveServer) -> str:
    """A key of the server."""
    made = manage("create_api_key", "raw", DATA_DIR=str(server.data_dir))
    return next(word for word in made.stdout.split() if word.startswith("sy"))


# --- the log ----------------------------------------------------------------------------------------

MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\xff\xfe / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
    b"GET / HTTP/1.1\r\nX\x00Y: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
WEBSOCKET = get(
    b"/threads/x/stream",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


def test_malformed_requests_and_upgrades_do_not_fill_the_log(server: LiveServer) -> None:
    before = len(server.log)
    for _ in range(3):
        for sent in MALFORMED:
            answer = exchange(server, sent)
            # Daphne waits for the end of a line.
            assert answer.status in (0, 400, 404, 408, 505), sent
        for upgrade in (WEBSOCKET, get(b"/ok", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c")):
            assert exchange(server, upgrade).status < 500
    lines = [line for line in server.log[before:].splitlines() if re.search(r'"level":"(warning|error)"', line)]
    # One line a minute says what was refused.
    assert len(lines) <= 2, lines
    assert "pip install" not in server.log
    assert "Traceback" not in server.log


def test_refusals_are_counted(server: LiveServer) -> None:
    exchange(server, get(b"/ok", b"X: " + b"a" * 70_000))
    metrics = httpx.get(f"{server.url}/metrics", timeout=30).text
    assert 'switchyard_http_refused_total{reason="header_size"}' in metrics
