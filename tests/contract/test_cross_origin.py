"""The open API on the loopback address cannot be used by a web page on another origin.

In open mode a request needs no credentials, so a browser must not be able to make one for a page of somebody else.
"""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

EVIL = "https://evil.example"
HEADERS = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://127.0.0.1.evil.example:2024"},
    {"Origin": "http://evil.example#localhost"},
    {"Host": "evil.example"},
    {"Host": "evil.example:2024"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost.evil.example:2024"},
    {"Sec-Fetch-Site": "cross-site"},
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-Host": "evil.example"},
    {"Forwarded": "for=203.0.113.9"},
]
# What a page would try: read, make a thread, run a graph, stream, and a form post without a preflight.
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/info", None),
    ("POST", "/threads", {}),
    ("POST", "/assistants/search", {}),
    ("POST", "/runs/wait", {"assistant_id": "counter", "input": {}}),
    ("POST", "/runs/stream", {"assistant_id": "counter", "input": {}}),
    ("GET", "/nope", None),
]

pytestmark = pytest.mark.usefixtures("not_the_reference")


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: "; ".join(f"{k}: {v}" for k, v in headers.items()))
@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_request_from_elsewhere_is_refused(
    http: httpx.Client, headers: dict[str, str], method: str, path: str, body: Any
) -> None:
    answer = http.request(method, path, headers=headers, json=body)
    assert answer.status_code == 403
    assert isinstance(answer.json()["detail"], str)
    assert "access-control-allow-origin" not in answer.headers


def test_refused_request_changes_nothing(http: httpx.Client) -> None:
    body = {"metadata": {"from": "evil"}}
    http.post("/threads", json=body, headers={"Origin": EVIL})
    assert http.post("/threads/count", json=body).json() == 0


def test_form_post_of_another_page_is_refused(http: httpx.Client) -> None:
    """Forms need no preflight, and the content type of a body is not looked at."""
    headers = {
        "Origin": EVIL,
        "Content-Type": "text/plain",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
    }
    assert http.post("/threads", content="{}", headers=headers).status_code == 403


def test_preflight_from_elsewhere_is_refused(http: httpx.Client) -> None:
    headers = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
    answer = http.options("/threads", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:8080"])
def test_page_on_this_machine_may_call(http: httpx.Client, origin: str) -> None:
    answer = http.post("/threads/count", json={}, headers={"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in (origin, "*")


def test_page_on_this_machine_may_read_what_the_client_needs(http: httpx.Client) -> None:
    answer = http.post("/threads/count", json={}, headers={"Origin": "http://localhost:3000"})
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"x-pagination-total", "x-pagination-next", "content-location"} <= exposed


def test_preflight_of_a_page_on_this_machine_is_answered(http: httpx.Client) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    answer = http.options("/threads", headers=headers)
    assert (answer.status_code, answer.text) == (200, "OK")
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-api-key" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_loopback_names_are_served(http: httpx.Client, host: str) -> None:
    port = urlsplit(str(http.base_url)).port
    assert http.get("/ok", headers={"Host": f"{host}:{port}"}).status_code == 200


def test_program_without_any_such_header_is_served(http: httpx.Client) -> None:
    assert http.post("/threads/count", json={}).status_code == 200
