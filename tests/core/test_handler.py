"""The API's handler, driven as a server drives it: by ASGI messages."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.test import override_settings

from platform_site.access.principal import Principal
from platform_site.core.errors import Forbidden, Unauthorized
from platform_site.core.http.cors import OriginPolicy
from platform_site.core.http.handler import ApiHandler, ApiRequest
from tests.core import routes_for_handler
from tests.core.routes_for_handler import journal


async def authenticate(request: ApiRequest) -> Principal:
    if request.headers.get("X-Api-Key") == "wrong":
        raise Unauthorized
    return Principal(1)


def authorize(principal: Principal, method: str, route: str) -> None:
    if route == "/status/{status}" and method == "DELETE":
        raise Forbidden


def handler() -> ApiHandler:
    return ApiHandler(
        routes_for_handler,
        origins=OriginPolicy(is_open=False),
        authenticate=authenticate,
        authorize=authorize,
        public=frozenset({"/cookies"}),
    )


def scope(method: str, path: str, query: str = "", **headers: str) -> dict[str, Any]:
    sent = {"host": "127.0.0.1:2024", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 2024),
    }


def connect(app: Any, scope: dict[str, Any]) -> Any:
    """A client on one connection, that sends and receives ASGI messages."""
    return ApplicationCommunicator(app, scope)  # type: ignore[no-untyped-call]


Answer = tuple[int, dict[str, str], bytes]


async def ask(app: Any, method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> Answer:
    communicator = connect(app, scope(method, path, query, **headers))
    half = len(body) // 2
    await communicator.send_input({"type": "http.request", "body": body[:half], "more_body": True})
    await communicator.send_input({"type": "http.request", "body": body[half:], "more_body": False})
    start = await communicator.receive_output(timeout=5)
    parts = []
    while True:
        message = await communicator.receive_output(timeout=5)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    await communicator.wait(timeout=5)
    names = [name.decode().lower() for name, _ in start["headers"]]
    values = [value.decode("latin1") for _, value in start["headers"]]
    joined: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return start["status"], joined, b"".join(parts)


@pytest.fixture(autouse=True)
def _empty_journal() -> Iterator[None]:
    journal.clear()
    yield
    journal.clear()


@pytest.fixture
def stock() -> Iterator[ASGIHandler]:
    """Django's own handler on the same routes."""
    with override_settings(MIDDLEWARE=[], ROOT_URLCONF="tests.core.routes_for_handler"):
        yield ASGIHandler()


PARITY = [
    ("POST", "/echo/plain", "", b"hello", {}),
    ("POST", "/echo/é ü", "a=1&a=2&b=%C3%A9", "grüße".encode(), {"x_test": "yes", "content_length": "7"}),
    ("POST", "/echo/empty", "", b"", {}),
    ("POST", "/echo/large", "", b"x" * 200_000, {}),
    ("POST", "/echo/form", "", b"a=1", {"content_type": "application/x-www-form-urlencoded"}),
    ("GET", "/status/200", "", b"", {}),
    ("GET", "/status/204", "", b"", {}),
    ("GET", "/status/418", "", b"", {}),
    ("GET", "/cookies", "", b"", {}),
    ("GET", "/stream", "", b"", {}),
]
# What the API's handler adds, and Django leaves to its middleware.
OURS = {"x-request-id", "content-length"}


@pytest.mark.parametrize(("method", "path", "query", "body", "headers"), PARITY)
async def test_answers_as_djangos_handler_does(
    stock: ASGIHandler, method: str, path: str, query: str, body: bytes, headers: dict[str, str]
) -> None:
    ours = await ask(handler(), method, path, query, body, **headers)
    theirs = await ask(stock, method, path, query, body, **headers)
    assert (ours[0], ours[2]) == (theirs[0], theirs[2])
    ignored = OURS | ({"content-type"} if ours[0] == 204 else set())
    assert {name: value for name, value in ours[1].items() if name not in ignored} == {
        name: value for name, value in theirs[1].items() if name not in ignored
    }


async def test_a_complete_answer_is_two_messages_with_its_length() -> None:
    communicator = connect(handler(), scope("GET", "/status/200"))
    await communicator.send_input({"type": "http.request"})
    start = await communicator.receive_output()
    body = await communicator.receive_output()
    await communicator.wait()
    assert dict(start["headers"])[b"Content-Length"] == b"4"
    assert body == {"type": "http.response.body", "body": b"body"}


async def test_head_is_get_without_the_body() -> None:
    status, headers, body = await ask(handler(), "HEAD", "/status/200")
    assert (status, headers["content-length"], body) == (200, "4", b"")


async def test_head_of_a_stream_ends_at_once() -> None:
    status, headers, body = await ask(handler(), "HEAD", "/endless")
    assert (status, body) == (200, b"")
    assert headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_unknown_route() -> None:
    status, headers, body = await ask(handler(), "GET", "/nope")
    assert (status, headers["content-type"], body) == (404, "application/json", b'{"detail":"Not Found"}')


async def test_wrong_method_names_the_right_ones() -> None:
    status, headers, body = await ask(handler(), "PUT", "/echo/x", body=b"{}")
    assert (status, headers["allow"], body) == (405, "POST", b'{"detail":"Method Not Allowed"}')


async def test_options_that_is_no_preflight_is_a_wrong_method() -> None:
    assert (await ask(handler(), "OPTIONS", "/stream"))[0] == 405


async def test_trailing_slash_is_redirected_with_the_query() -> None:
    status, headers, _ = await ask(handler(), "GET", "/stream/", "a=1")
    assert (status, headers["location"]) == (307, "/stream?a=1")


@pytest.mark.parametrize("path", ["//evil.example/", "/nope/", "//", "///stream//x/"])
async def test_other_paths_with_a_slash_are_not_redirected(path: str) -> None:
    assert (await ask(handler(), "GET", path))[0] == 404


async def test_body_over_the_limit_is_refused_by_its_length(settings: Any) -> None:
    settings.MAX_BODY_BYTES = 10
    status, _, body = await ask(handler(), "POST", "/echo/x", body=b"", content_length="11")
    assert (status, body) == (413, b'{"detail":"Request body is larger than 10 bytes"}')


async def test_body_over_the_limit_is_refused_while_it_comes(settings: Any) -> None:
    settings.MAX_BODY_BYTES = 10
    status, headers, _ = await ask(handler(), "POST", "/echo/x", body=b"x" * 11)
    assert (status, headers["connection"]) == (413, "close")


async def test_body_of_the_limit_is_taken(settings: Any) -> None:
    settings.MAX_BODY_BYTES = 10
    assert (await ask(handler(), "POST", "/echo/x", body=b"x" * 10))[0] == 200


@pytest.mark.parametrize("path", ["/nope", "/stream", "/echo/x"])
async def test_authentication_comes_before_routing_and_methods(path: str) -> None:
    status, _, body = await ask(handler(), "PUT", path, body=b"{", x_api_key="wrong")
    assert (status, body) == (401, b'{"detail":"Unauthorized"}')


async def test_authentication_comes_before_the_body_is_read(settings: Any) -> None:
    settings.MAX_BODY_BYTES = 1
    assert (await ask(handler(), "POST", "/echo/x", body=b"xxx", x_api_key="wrong"))[0] == 401


async def test_public_path_needs_no_credentials() -> None:
    assert (await ask(handler(), "GET", "/cookies", x_api_key="wrong"))[0] == 200


async def test_route_refused_to_the_caller() -> None:
    assert (await ask(handler(), "DELETE", "/status/200"))[0] == 403


async def test_exception_is_logged_with_the_request_id_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    from platform_site.core.telemetry import logs

    ids = []

    def note(record: logging.LogRecord) -> bool:
        ids.append(logs.request_id.get())
        return True

    caplog.handler.addFilter(note)
    status, headers, body = await ask(handler(), "GET", "/error", x_request_id="my-id")
    assert (status, headers["content-type"]) == (500, "text/plain; charset=utf-8")
    assert body == b"Internal Server Error"
    assert "on purpose" in caplog.text
    assert "my-id" in ids


async def test_request_id_of_the_caller_is_kept() -> None:
    assert (await ask(handler(), "GET", "/stream", x_request_id="abc-1.2:3"))[1]["x-request-id"] == "abc-1.2:3"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a\r\nSet-Cookie: x", "é"])
async def test_request_id_that_is_none_is_replaced(sent: str) -> None:
    answered = (await ask(handler(), "GET", "/status/200", x_request_id=sent))[1]["x-request-id"]
    assert answered != sent
    assert len(answered) == 32


async def test_resources_of_a_response_are_closed() -> None:
    await ask(handler(), "GET", "/closers")
    assert journal == ["closed"]


async def test_stream_is_cancelled_when_the_client_goes_away_while_it_waits() -> None:
    communicator = connect(handler(), scope("GET", "/endless"))
    await communicator.send_input({"type": "http.request"})
    await communicator.receive_output()
    assert (await communicator.receive_output())["body"] == b"first"
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(timeout=5)
    assert journal == ["stream ended"]


async def test_stream_is_closed_when_the_client_goes_away_while_it_does_not_read() -> None:
    async def receive() -> dict[str, Any]:
        if not asked:
            asked.append(True)
            return {"type": "http.request"}
        await full.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            full.set()
            await asyncio.Event().wait()

    asked: list[bool] = []
    full = asyncio.Event()
    await asyncio.wait_for(handler()(scope("GET", "/flood"), receive, send), 5)
    assert journal == ["flood ended"]


@pytest.mark.parametrize(("asked", "level"), [(True, logging.INFO), (False, logging.DEBUG)])
async def test_a_request_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture, asked: bool, level: int) -> None:
    with caplog.at_level(logging.DEBUG, "switchyard.request"), override_settings(LOG_REQUESTS=asked):
        await ask(handler(), "GET", "/status/201")
    record = caplog.records[-1]
    told = {name: getattr(record, name) for name in ("method", "path", "route", "status")}
    assert record.levelno == level
    assert told == {"method": "GET", "path": "/status/201", "route": "/status/{status}", "status": 201}


async def test_stream_that_fails_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    communicator = connect(handler(), scope("GET", "/broken-stream"))
    await communicator.send_input({"type": "http.request"})
    await communicator.receive_output()
    assert (await communicator.receive_output())["body"] == b"first"
    with pytest.raises(RuntimeError, match="in the middle"):
        await communicator.wait(timeout=5)
    assert "failed while streaming" in caplog.text


async def test_client_that_goes_away_while_sending_gets_no_answer() -> None:
    communicator = connect(handler(), scope("POST", "/echo/x"))
    await communicator.send_input({"type": "http.request", "body": b"x", "more_body": True})
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(timeout=5)
    assert communicator.output_queue.empty()
