"""Servers started as an operator starts them."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.live import INHERITED, ROOT, LiveServer

Launch = Callable[..., LiveServer]


def clean_environment(**settings: str) -> dict[str, str]:
    """What a newcomer's shell holds, and these settings."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "PYTHONUNBUFFERED": "1", "LOG_FORMAT": "json", **settings}


def manage(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(**{"PORT": "0", **settings}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wait_ok(server: LiveServer, *, timeout: float = 60) -> httpx.Response:
    """The first answer of `/ok`."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        assert server.process is not None
        assert server.process.poll() is None, server.log
        try:
            return httpx.get(server.url + "/ok", timeout=30)
        except httpx.TransportError:
            time.sleep(0.02)
    raise TimeoutError(server.log)


def wait_log(server: LiveServer, pattern: str, *, timeout: float = 60) -> re.Match[str]:
    """The first match of `pattern` in what the server has written."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := re.search(pattern, server.log):
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{pattern!r} is not in\n{server.log}")


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start servers without waiting for them; they end with the test."""
    started: list[LiveServer] = []

    def start(config: Path | None = None, *arguments: str, **environment: str) -> LiveServer:
        directory = tmp_path / f"server-{len(started)}"
        directory.mkdir(exist_ok=True)
        server = LiveServer(config, directory, environment, arguments)
        started.append(server)
        server.launch()
        return server

    yield start
    for server in started:
        server.stop()


def wait_refused(server: LiveServer, *, timeout: float = 60) -> None:
    """Return when the server takes no new connections."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            httpx.get(server.url + "/ok", timeout=timeout)
        except httpx.ConnectError:
            return
        except httpx.RemoteProtocolError:
            # Taken by the socket in the moment in which it closed.
            continue
        time.sleep(0.02)
    raise TimeoutError(server.log)


GRAPH = """
import time
from typing import TypedDict
from langgraph.graph import END, START, StateGraph

class State(TypedDict, total=False):
    answer: str

async def work(state):
    {body}
    return {{"answer": "{answer}"}}

{top}
graph = StateGraph(State).add_node("work", work).add_edge(START, "work").add_edge("work", END).compile()
"""


def write_graph(directory: Path, *, answer: str = "one", body: str = "pass", top: str = "") -> Path:
    """A project with one graph `g` that answers `answer`; the path of its langgraph.json."""
    directory.mkdir(exist_ok=True)
    (directory / "graph.py").write_text(GRAPH.format(answer=answer, body=body, top=top))
    config = directory / "langgraph.json"
    config.write_text(json.dumps({"dependencies": ["."], "graphs": {"g": "./graph.py:graph"}}))
    return config


def ask(server: LiveServer) -> str:
    """What the graph `g` answers."""
    answer = httpx.post(server.url + "/runs/wait", json={"assistant_id": "g", "input": {}}, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["answer"])
