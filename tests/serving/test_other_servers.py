"""Daphne, `runserver`, restarts on changes, and any ASGI server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.live import ROOT, LiveServer, free_port
from tests.serving.conftest import Launch, ask, clean_environment, wait_log, wait_ok, write_graph


@contextmanager
def command(directory: Path, *words: str, **settings: str) -> Iterator[LiveServer]:
    """A server started by another command than `manage.py serve`."""
    server = LiveServer(None, directory, port=int(settings["PORT"]))
    with server.log_path.open("ab") as log:
        server.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=clean_environment(DATA_DIR=str(server.data_dir), **settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield server
    finally:
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()


def ask_until(server: LiveServer, answer: str) -> None:
    """Ask the graph until it answers this; connections may be refused while the server restarts."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if ask(server) == answer:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(server.log)


def change(config: Path, answer: str) -> None:
    graph = config.parent / "graph.py"
    write_graph(config.parent, answer=answer)
    # Reloaders look at modification times; two writes within their grain would be one.
    os.utime(graph, (time.time() + 5, time.time() + 5))


def test_serve_runs_on_daphne(launch: Launch, tmp_path: Path) -> None:
    server = launch(write_graph(tmp_path / "project"), "--server", "daphne")
    wait_ok(server)
    assert ask(server) == "one"
    assert server.terminate() == 0


def test_runserver_serves_the_same(tmp_path: Path) -> None:
    config = write_graph(tmp_path / "project")
    words = ("manage.py", "runserver", "--noreload", "--config", str(config))
    with command(tmp_path, *words, PORT=str(free_port())) as server:
        wait_ok(server)
        assert ask(server) == "one"
        assert httpx.get(server.url + "/static/css/base.css", timeout=30).status_code == 200
        assert "Sign in" in server.log


def test_runserver_takes_its_address_as_django_does(tmp_path: Path) -> None:
    port = free_port()
    with command(tmp_path, "manage.py", "runserver", "--noreload", str(port), PORT=str(port)) as server:
        wait_ok(server)


@pytest.mark.parametrize("words", [("runserver",), ("serve", "--reload")], ids=["runserver", "serve --reload"])
def test_a_changed_graph_is_served_after_a_restart(tmp_path: Path, words: tuple[str, ...]) -> None:
    config = write_graph(tmp_path / "project", answer="before")
    settings = {"PORT": str(free_port()), "LANGGRAPH_CONFIG": str(config)}
    with command(tmp_path, "manage.py", *words, **settings) as server:
        wait_ok(server)
        ask_until(server, "before")
        # The reloader knows the file once it has looked at all of them.
        time.sleep(2)
        change(config, "after")
        ask_until(server, "after")
        assert "Traceback" not in server.log


def test_any_asgi_server_may_serve_the_application(tmp_path: Path) -> None:
    config = write_graph(tmp_path / "project")
    port = str(free_port())
    words = ("-m", "uvicorn", "platform_site.asgi:application", "--port", port, "--lifespan", "off")
    with command(tmp_path, *words, PORT=port, LANGGRAPH_CONFIG=str(config)) as server:
        wait_ok(server)
        assert ask(server) == "one"


def test_a_reloading_server_holds_its_data_directory_once(tmp_path: Path) -> None:
    settings = {"PORT": str(free_port())}
    with command(tmp_path, "manage.py", "serve", "--reload", **settings) as server:
        wait_log(server, "Switchyard is ready")
        assert httpx.get(server.url + "/ok", timeout=30).status_code == 200
