"""Which pages may call, and what open mode takes at all."""

from typing import Any

import pytest

from platform_site.core.http.cors import OriginPolicy
from platform_site.core.http.handler import ApiHandler
from tests.core import routes_for_handler
from tests.core.test_handler import Answer, ask, authenticate, authorize

PREFLIGHT = {"access_control_request_method": "POST"}


def app(*, is_open: bool = True, **cors: Any) -> ApiHandler:
    return ApiHandler(
        routes_for_handler,
        origins=OriginPolicy(is_open=is_open, cors=cors or None, pages=frozenset({"/cookies"})),
        authenticate=authenticate,
        authorize=authorize,
    )


async def get(handler: ApiHandler, path: str = "/status/200", method: str = "GET", **headers: str) -> Answer:
    return await ask(handler, method, path, "", b"", **headers)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:5173", "http://LOCALHOST:1"],
)
async def test_open_mode_answers_loopback_pages(origin: str) -> None:
    status, headers, _ = await get(app(), origin=origin)
    assert (status, headers["access-control-allow-origin"]) == (200, origin)
    assert "x-pagination-total, x-pagination-next, content-location" in headers["access-control-expose-headers"]
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://evil.example/localhost",
        "http://evil@localhost:1",
        "null",
        "",
        "file://",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_open_mode_refuses_other_origins(origin: str, method: str) -> None:
    status, headers, _ = await get(app(), method=method, origin=origin, **PREFLIGHT)
    assert status == 403
    assert "access-control-allow-origin" not in headers


async def test_open_mode_takes_origins_of_the_config() -> None:
    handler = app(allow_origins=["https://app.example"], allow_origin_regex=r"https://.*\.team\.example")
    assert (await get(handler, origin="https://app.example"))[0] == 200
    assert (await get(handler, origin="https://a.team.example"))[0] == 200
    assert (await get(handler, origin="https://a.team.example.evil"))[0] == 403


async def test_open_mode_does_not_take_a_star() -> None:
    assert (await get(app(allow_origins=["*"]), origin="https://evil.example"))[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:2024", "", "localhost.evil.example", "10.0.0.1", "a,b"])
async def test_open_mode_refuses_hosts_that_are_not_loopback(host: str) -> None:
    assert (await get(app(), host=host))[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:2024", "127.0.0.1", "127.1.2.3:80", "[::1]:2024"])
async def test_open_mode_takes_loopback_hosts(host: str) -> None:
    assert (await get(app(), host=host))[0] == 200


@pytest.mark.parametrize("header", ["x_forwarded_for", "x_forwarded_host", "x_forwarded_proto", "forwarded"])
async def test_open_mode_refuses_forwarded_requests(header: str) -> None:
    assert (await get(app(), **{header: "10.0.0.1"}))[0] == 403
    assert (await get(app(is_open=False), **{header: "10.0.0.1"}))[0] == 200


async def test_open_mode_refuses_what_pages_of_other_sites_send_without_origin() -> None:
    form = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert (await get(app(), "/echo/x", "POST", **form))[0] == 403
    assert (await get(app(), sec_fetch_site="cross-site", sec_fetch_mode="no-cors"))[0] == 403
    assert (await get(app(), **form))[0] == 403
    assert (await get(app(), sec_fetch_site="none", sec_fetch_mode="navigate"))[0] == 200


async def test_open_mode_lets_links_of_other_sites_lead_to_pages() -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert (await get(app(), "/cookies", **link))[0] == 200
    assert (await get(app(), "/cookies", "POST", **link))[0] == 403


async def test_with_keys_every_origin_may_call() -> None:
    status, headers, _ = await get(app(is_open=False), host="api.example", origin="https://app.example")
    assert (status, headers["access-control-allow-origin"]) == (200, "*")


async def test_errors_can_be_read_across_origins() -> None:
    _, headers, _ = await get(app(is_open=False), "/nope", origin="https://app.example")
    assert headers["access-control-allow-origin"] == "*"


async def test_with_keys_the_config_narrows_the_origins() -> None:
    handler = app(is_open=False, allow_origins=["https://app.example"], allow_credentials=True)
    _, headers, _ = await get(handler, origin="https://app.example")
    assert headers["access-control-allow-origin"] == "https://app.example"
    assert headers["access-control-allow-credentials"] == "true"
    status, headers, _ = await get(handler, origin="https://other.example")
    assert status == 200
    assert "access-control-allow-origin" not in headers


async def test_preflight() -> None:
    status, headers, body = await get(
        app(is_open=False),
        "/nope",
        "OPTIONS",
        origin="https://app.example",
        access_control_request_headers="x-api-key,content-type",
        x_api_key="wrong",
        **PREFLIGHT,
    )
    assert (status, body) == (200, b"OK")
    assert headers["access-control-max-age"] == "600"
    assert headers["access-control-allow-headers"] == "x-api-key,content-type"
    assert "PATCH" in headers["access-control-allow-methods"]


async def test_no_origin_no_cors_headers() -> None:
    assert "access-control-allow-origin" not in (await get(app(is_open=False)))[1]


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_refused_origin_is_logged_once_with_what_lets_it_in(
    is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    handler = app(is_open=is_open, allow_origins=["https://a.example"])
    for _ in range(3):
        await get(handler, origin="https://b.example")
        await get(handler, method="OPTIONS", origin="https://b.example", **PREFLIGHT)
    await get(handler, origin="https://a.example")
    (told,) = [record.getMessage() for record in caplog.records if "are refused" in record.getMessage()]
    assert told.startswith("pages of the origin https://b.example are refused")
    assert '"http": {"cors": {"allow_origins": ["https://b.example"]}}' in told
    assert ("AUTH=keys" in told) is is_open


async def test_origins_that_are_made_up_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    handler = app()
    for index in range(300):
        await get(handler, origin=f"https://{index}.example/{'x' * 1000}")
    told = [record.getMessage() for record in caplog.records if "are refused" in record.getMessage()]
    assert 0 < len(told) <= 100
    assert max(map(len, told)) < 1000
