"""`AUTH=open` on every address of the machine: whoever connects from this machine is answered, nobody else."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from platform_site.processes.http.servers import FrontDoor
from tests.live import ROOT, LiveServer
from tests.serving.conftest import Launch, clean_environment, wait_log
from tests.serving.raw import exchange, wait_until

SURFACES = ["/ok", "/info", "/docs", "/openapi.json", "/dashboard/sign-in", "/admin/login/", "/static/css/base.css"]


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    arguments = ("--server", request.param)
    environment = {"HOST": "0.0.0.0", "AUTH": "open", "LOG_FORMAT": "text", "LOG_REQUESTS": "true"}
    started = LiveServer(None, tmp_path_factory.mktemp(request.param), environment, arguments)
    started.launch()
    try:
        wait_log(started, "Switchyard is ready")
        yield started
    finally:
        started.stop()


def addresses_of_this_machine() -> list[str]:
    """Those that are not loopback: a connection to one of them comes from it."""
    found = [entry for entries in psutil.net_if_addrs().values() for entry in entries]
    return [entry.address for entry in found if entry.family is socket.AF_INET and not entry.address.startswith("127.")]


def test_the_banner_says_who_is_answered(server: LiveServer) -> None:
    assert "nobody else is answered, set AUTH=keys for them" in server.log


@pytest.mark.parametrize("path", SURFACES)
def test_this_machine_is_answered_and_what_a_proxy_passes_on_is_not(server: LiveServer, path: str) -> None:
    assert httpx.get(server.url + path, timeout=60).status_code in (200, 302)
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert httpx.get(server.url + path, headers={name: "127.0.0.1"}, timeout=60).status_code == 403, name


@pytest.mark.skipif(not addresses_of_this_machine(), reason="this machine has no other address than loopback")
@pytest.mark.parametrize("path", SURFACES)
def test_a_host_header_does_not_make_a_stranger_local(server: LiveServer, path: str) -> None:
    for address in addresses_of_this_machine():
        url = f"http://{address}:{server.port}{path}"
        answer = httpx.get(url, headers={"Host": "127.0.0.1"}, timeout=60)
        assert answer.status_code == 403
        assert "set AUTH=keys" in answer.text


def test_a_path_cannot_forge_a_line_of_the_log(server: LiveServer) -> None:
    forged = b"%0A12:00:00%20error%20%20%20%20switchyard.serving%20%20FORGED%1b[31m%E2%80%A8"
    assert exchange(server, b"GET /x" + forged + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").status == 404
    line = wait_log(server, r".*FORGED.*")[0]
    assert "GET /x\\n12:00:00 error" in line
    assert "\x1b" not in server.log
    assert "\u2028" not in server.log


# --- other servers ----------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Any]:
    """Start uvicorn by its own command, with options."""
    started: list[LiveServer] = []

    def start(listens: Callable[[], bool], *options: str) -> None:
        server = LiveServer(None, tmp_path)
        words = ("-m", "uvicorn", "platform_site.asgi:application", "--lifespan", "off", *options)
        environment = clean_environment(DATA_DIR=str(server.data_dir), AUTH="open")
        with server.log_path.open("ab") as log:
            server.process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        started.append(server)
        wait_until(listens, timeout=60)

    yield start
    for server in started:
        server.stop()


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_rewritten_peer_is_not_believed(foreign: Any) -> None:
    port = LiveServer(None, Path()).port
    foreign(
        lambda: is_listening(port),
        "--host",
        "0.0.0.0",
        "--port",
        str(port),
        "--proxy-headers",
        "--forwarded-allow-ips",
        "*",
    )
    for path in SURFACES:
        for forwarded in ("127.0.0.1", "203.0.113.7"):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers={"X-Forwarded-For": forwarded}, timeout=60)
            assert answer.status_code == 403, path
    assert httpx.get(f"http://127.0.0.1:{port}/ok", timeout=60).status_code == 200


def test_a_socket_file_is_this_machine(foreign: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    foreign(lambda: Path(path).exists(), "--uds", path)
    with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://127.0.0.1", timeout=60) as http:
        for surface in SURFACES:
            assert http.get(surface).status_code in (200, 302)
            assert http.get(surface, headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403


def test_addresses_of_ipv4_in_ipv6_are_this_machine(launch: Launch) -> None:
    server = launch(None, HOST="::", AUTH="open")
    wait_log(server, "Switchyard is ready")
    for host in ("127.0.0.1", "[::1]"):
        assert httpx.get(f"http://{host}:{server.port}/ok", timeout=60).status_code == 200


# --- before the application is there ------------------------------------------------------------------


@pytest.mark.parametrize(("client", "status"), [(("203.0.113.7", 1), 403), (None, 403), (("127.0.0.1", 1), 200)])
async def test_strangers_are_not_answered_during_the_start(settings: Any, client: Any, status: int) -> None:
    settings.AUTH = "open"
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "path": "/ok", "query_string": b"", "headers": [], "client": client, "server": ("h", 1)}
    await FrontDoor()(scope, receive, send)
    assert sent[0]["status"] == status
