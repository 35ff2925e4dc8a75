"""One request: whatever a receiver answers, little of it is read and none of it does harm."""

import gzip
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from platform_site.webhooks import transport
from platform_site.webhooks.addresses import Resolver, Rules
from platform_site.webhooks.endpoint_rules import Target
from platform_site.webhooks.retries import Answer
from platform_site.webhooks.transport import BODY_BYTES, Sender
from tests.webhooks.receiving import Behaviour, Receiver, answers, raw, receiving

LOOPBACK = Rules(allow_loopback=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


async def ask(receiver: Receiver, behaviour: Behaviour, body: bytes = b"{}", seconds: float = 10) -> Answer:
    receiver.then = behaviour
    target = Target("http", "127.0.0.1", receiver.port, "/hook")
    return await Sender(Resolver()).post(target, LOOPBACK, {"content-length": str(len(body))}, body, seconds)


async def test_answer_is_kept(receiver):
    answer = await ask(receiver, answers(201, b"thanks", X_Trace="abc"))
    assert (answer.status, answer.body, answer.error) == (201, "thanks", "")
    assert answer.header("x-trace") == "abc"


async def test_receiver_that_never_answers(receiver):
    answer = await ask(receiver, receiver.hangs, seconds=0.2)
    assert (answer.status, answer.error) == (None, "No answer within 0.2 s.")


async def test_body_that_never_ends_is_cut_off(receiver, monkeypatch):
    monkeypatch.setattr(transport, "BODY_SECONDS", 0.2)
    answer = await ask(receiver, receiver.streams_forever)
    assert (answer.status, answer.error) == (200, "")
    assert 0 < len(answer.body) <= BODY_BYTES


async def test_large_body_is_cut_off(receiver):
    answer = await ask(receiver, answers(200, b"x" * 5_000_000))
    assert (answer.status, len(answer.body)) == (200, BODY_BYTES)


async def test_headers_that_never_end_are_no_answer(receiver):
    def flood(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not receiver.released.is_set():
            request.wfile.write(b"X-Flood: " + b"x" * 1000 + b"\r\n")

    answer = await ask(receiver, flood)
    assert answer.status is None
    assert answer.error


async def test_interim_answers_that_never_end_are_no_answer(receiver):
    def continues(request: BaseHTTPRequestHandler) -> None:
        while not receiver.released.wait(0.001):
            request.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    answer = await ask(receiver, continues, seconds=0.3)
    assert (answer.status, answer.error) == (None, "No answer within 0.3 s.")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n", b"HTTP/1.1 200", b"nonsense\r\n\r\n", b"\x00" * 100,
        b"HTTP/1.1 two OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 99999 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nBad\x00Header: 1\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_http_is_no_answer(receiver, data):
    answer = await ask(receiver, raw(data))
    assert answer.status is None
    assert answer.error.endswith(("HTTP", ".")) or ":" in answer.error


@pytest.mark.parametrize("length", [b"5", b"1000000000000"])
async def test_answer_whose_body_ends_before_its_length_is_an_answer(receiver, length):
    """The receiver has said what it thinks of the webhook before it broke off."""
    answer = await ask(receiver, raw(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nok"))
    assert (answer.status, answer.body, answer.error) == (200, "ok", "")


async def test_broken_chunks_are_an_answer(receiver):
    answer = await ask(receiver, raw(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"))
    assert answer.status == 202


async def test_compressed_body_is_not_unpacked(receiver):
    bomb = gzip.compress(b"\x00" * 50_000_000)
    answer = await ask(receiver, answers(200, bomb, Content_Encoding="gzip"))
    assert answer.status == 200
    assert len(answer.body) <= BODY_BYTES


async def test_redirect_is_not_followed(receiver):
    with receiving() as other:
        answer = await ask(receiver, answers(307, Location=other.url))
        assert answer.status == 307
        assert other.connections == 0


async def test_answer_before_the_body_is_read_is_an_answer(receiver, monkeypatch):
    monkeypatch.setattr(receiver, "_take", lambda request: answers(413)(request))
    answer = await ask(receiver, answers(413), body=b"x" * 200_000)
    assert answer.status == 413 or answer.error


async def test_nobody_listens(receiver):
    target = Target("http", "127.0.0.1", 1, "/")
    answer = await Sender(Resolver()).post(target, LOOPBACK, {}, b"{}", 5)
    assert answer.status is None
    assert answer.error.startswith("No connection: ")


async def test_certificate_that_nobody_has_signed_is_refused(receiver):
    target = Target("https", "127.0.0.1", receiver.port, "/")
    answer = await Sender(Resolver()).post(target, LOOPBACK, {}, b"{}", 5)
    assert answer.status is None
    assert receiver.received == []


def test_certificates_are_checked():
    context = transport._tls()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


async def test_nul_and_broken_utf8_are_replaced(receiver):
    answer = await ask(receiver, answers(500, b"a\x00b\xffc"))
    assert answer.body == "a\ufffdb\ufffdc"


async def test_only_some_headers_are_kept_and_not_at_any_length(receiver):
    many = {f"X_{number}": "v" * 2000 for number in range(40)}
    answer = await ask(receiver, answers(200, b"ok", **many))
    assert len(answer.headers) <= 50
    assert max(len(value) for _, value in answer.headers) == 1000
