"""The ASGI application: who answers which connection, and the pages of the API."""

import re
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from platform_site.asgi import Application
from tests.api_client import ApiClient
from tests.api_client import api as api

HERE = {"client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 2024)}


def connect(app: Application, kind: str, **scope: Any) -> Any:
    return ApplicationCommunicator(app, {"type": kind, **HERE, **scope})  # type: ignore[no-untyped-call]


async def test_lifespan_makes_the_process_ready_once() -> None:
    calls: list[str] = []
    app = Application(start=lambda: calls.append("started"))
    for _ in range(2):
        lifespan = connect(app, "lifespan")
        await lifespan.send_input({"type": "lifespan.startup"})
        assert (await lifespan.receive_output())["type"] == "lifespan.startup.complete"
        await lifespan.send_input({"type": "lifespan.shutdown"})
        assert (await lifespan.receive_output())["type"] == "lifespan.shutdown.complete"
        await lifespan.wait()
    assert calls == ["started"]


async def test_failed_start_is_told_to_the_server() -> None:
    def start() -> None:
        raise RuntimeError("the disk is full")

    lifespan = connect(Application(start=start), "lifespan")
    await lifespan.send_input({"type": "lifespan.startup"})
    assert await lifespan.receive_output() == {"type": "lifespan.startup.failed", "message": "the disk is full"}


async def test_first_request_makes_the_process_ready_where_there_is_no_lifespan() -> None:
    calls: list[str] = []
    app = Application(start=lambda: calls.append("started"))
    for _ in range(2):
        request = connect(app, "http", method="GET", path="/docs", query_string=b"", headers=[(b"host", b"localhost")])
        await request.send_input({"type": "http.request"})
        assert (await request.receive_output())["status"] == 200
        await request.receive_output()
        await request.wait()
    assert calls == ["started"]


async def test_websockets_are_refused() -> None:
    websocket = connect(Application(start=lambda: None), "websocket", path="/threads/x/stream")
    await websocket.send_input({"type": "websocket.connect"})
    assert (await websocket.receive_output())["type"] == "websocket.close"
    await websocket.wait()


@pytest.mark.parametrize("path", ["/admin/login/", "/static/ninja/swagger-ui.css"])
async def test_pages_go_through_djangos_middleware(api: ApiClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.status_code in (200, 302)
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/administration", "/dashboards", "/statics/x", "/nope"])
async def test_everything_else_is_the_apis(api: ApiClient, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert "referrer-policy" not in answer.headers


async def test_docs_load_nothing_from_elsewhere(api: ApiClient) -> None:
    page = await api.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for path in loaded:
        assert path.startswith("/static/")
        assert (await api.get(path)).status_code == 200


async def test_openapi_names_every_operation_with_its_bodies(api: ApiClient) -> None:
    document = (await api.get("/openapi.json")).json()
    create = document["paths"]["/assistants"]["post"]
    body = create["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/AssistantCreate"}
    assert "200" in create["responses"]
    assert set(document["components"]["securitySchemes"]) == {"ApiKey", "Bearer"}
    for path in ("/threads", "/threads/{thread_id}/runs/stream", "/runs/wait", "/ok", "/info"):
        assert path in document["paths"]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_pages_of_the_api_are_only_read(api: ApiClient, path: str) -> None:
    answer = await api.post(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


STRANGERS = [("203.0.113.7", 50000), ("::ffff:203.0.113.7", 50000), ("172.17.0.1", 50000), None]
SURFACES = [
    "/", "/ok", "/info", "/metrics", "/docs", "/openapi.json", "/nope", "/assistants/search", "/dashboard/",
    "/dashboard/sign-in", "/admin/", "/admin/login/", "/static/css/base.css",
]  # fmt: skip


async def answered(app: Application, path: str, client: Any, *headers: tuple[bytes, bytes], method: str = "GET") -> int:
    sent = [(b"host", b"127.0.0.1:2024"), *headers]
    request = connect(
        app, "http", method=method, path=path, query_string=b"", headers=sent, client=client, scheme="http"
    )
    await request.send_input({"type": "http.request"})
    return int((await request.receive_output(timeout=10))["status"])


@pytest.mark.parametrize("path", SURFACES)
async def test_open_mode_answers_strangers_nowhere(api: ApiClient, path: str) -> None:
    app = Application(start=lambda: None)
    for client in STRANGERS:
        for method in ("GET", "POST"):
            assert await answered(app, path, client, method=method) == 403, client
    assert await answered(app, path, ("127.0.0.1", 1), (b"x-forwarded-for", b"127.0.0.1")) == 403
    assert await answered(app, path, ("127.0.0.1", 1)) != 403


async def test_open_mode_closes_websockets_of_strangers(api: ApiClient) -> None:
    for client in STRANGERS:
        websocket = connect(
            Application(start=lambda: None), "websocket", path="/threads/x/stream", headers=[], client=client
        )
        await websocket.send_input({"type": "websocket.connect"})
        assert (await websocket.receive_output())["type"] == "websocket.close"


async def test_with_keys_strangers_see_what_is_public(api: ApiClient, settings: Any) -> None:
    settings.AUTH = "keys"
    app = Application(start=lambda: None)
    for path in ("/ok", "/info", "/dashboard/sign-in", "/static/css/base.css"):
        assert await answered(app, path, ("203.0.113.7", 50000)) == 200, path
