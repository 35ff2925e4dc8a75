"""SIGTERM: open work is finished or given back, open streams are told, and the exit status is 0."""

import json
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import LiveServer
from tests.serving.conftest import Launch, wait_ok, wait_refused, write_graph

SLEEPS = "import asyncio, pathlib; pathlib.Path({mark!r}).touch(); await asyncio.sleep({seconds})"


class Stream(threading.Thread):
    """Reads a run's stream to its end."""

    def __init__(self, server: LiveServer, thread_id: str) -> None:
        super().__init__(daemon=True)
        self.url = f"{server.url}/threads/{thread_id}/runs/stream"
        self.began = threading.Event()
        self.text = ""
        self.start()

    def run(self) -> None:
        body = {"assistant_id": "g", "input": {}, "stream_mode": "values", "on_disconnect": "continue"}
        # A killed server breaks the stream; then the text is what came.
        with suppress(httpx.TransportError), httpx.stream("POST", self.url, json=body, timeout=60) as answer:
            for chunk in answer.iter_text():
                self.text += chunk
                self.began.set()

    def events(self) -> list[tuple[str, Any]]:
        self.join(timeout=60)
        found = []
        for block in self.text.replace("\r\n", "\n").split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found


def start(launch: Launch, tmp_path: Path, *, seconds: float, drain: float, server: str = "uvicorn") -> LiveServer:
    body = SLEEPS.format(mark=str(tmp_path / "begun"), seconds=seconds)
    live = launch(write_graph(tmp_path / "project", body=body), "--server", server, DRAIN_SECONDS=str(drain))
    wait_ok(live)
    return live


def begin_run(server: LiveServer, tmp_path: Path) -> tuple[Stream, str]:
    thread_id = httpx.post(server.url + "/threads", json={}, timeout=60).json()["thread_id"]
    stream = Stream(server, thread_id)
    while not (tmp_path / "begun").exists():
        assert stream.is_alive() or stream.began.is_set(), server.log
        stream.began.wait(0.05)
    return stream, thread_id


def test_an_idle_server_ends_at_once_with_status_0(launch: Launch) -> None:
    server = launch()
    wait_ok(server)
    httpx.get(server.url + "/info", timeout=60)
    assert server.terminate() == 0
    assert "Traceback" not in server.log


def test_a_server_that_is_still_starting_ends_with_status_0(launch: Launch) -> None:
    server = launch()
    wait_ok(server)
    assert server.terminate() == 0


@pytest.mark.parametrize("http_server", ["uvicorn", "daphne"])
def test_a_run_that_ends_within_the_limit_is_streamed_to_its_end(
    launch: Launch, tmp_path: Path, http_server: str
) -> None:
    server = start(launch, tmp_path, seconds=1.5, drain=30, server=http_server)
    stream, _ = begin_run(server, tmp_path)
    assert server.terminate() == 0
    assert stream.events()[-1] == ("values", {"answer": "one"})


@pytest.mark.parametrize("http_server", ["uvicorn", "daphne"])
def test_a_run_that_does_not_end_is_given_back_and_its_stream_told_so(
    launch: Launch, tmp_path: Path, http_server: str
) -> None:
    server = start(launch, tmp_path, seconds=4, drain=0.5, server=http_server)
    stream, thread_id = begin_run(server, tmp_path)
    assert server.terminate() == 0
    name, data = stream.events()[-1]
    assert (name, data["error"]) == ("error", "ServerShutdown")
    server.launch()
    wait_ok(server)
    run = httpx.get(f"{server.url}/threads/{thread_id}/runs", timeout=60).json()[0]
    ended = httpx.get(f"{server.url}/threads/{thread_id}/runs/{run['run_id']}/join", timeout=60)
    assert ended.json() == {"answer": "one"}


def test_new_connections_are_refused_during_the_drain(launch: Launch, tmp_path: Path) -> None:
    server = start(launch, tmp_path, seconds=3, drain=30)
    stream, _ = begin_run(server, tmp_path)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    wait_refused(server)
    assert stream.is_alive()
    assert server.process.wait(60) == 0


def test_a_second_signal_ends_the_process_at_once(launch: Launch, tmp_path: Path) -> None:
    server = start(launch, tmp_path, seconds=600, drain=600)
    begin_run(server, tmp_path)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    wait_refused(server)
    time.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) != 0


@pytest.mark.parametrize("http_server", ["uvicorn", "daphne"])
def test_a_signal_that_arrives_twice_at_once_is_one(launch: Launch, tmp_path: Path, http_server: str) -> None:
    server = start(launch, tmp_path, seconds=1.5, drain=30, server=http_server)
    stream, _ = begin_run(server, tmp_path)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    assert server.terminate() == 0
    assert stream.events()[-1] == ("values", {"answer": "one"})


def test_a_node_that_blocks_does_not_hold_up_the_exit(launch: Launch, tmp_path: Path) -> None:
    body = f"import pathlib; pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(600)"
    config = write_graph(tmp_path / "project", body=body)
    (tmp_path / "project" / "graph.py").write_text(
        (tmp_path / "project" / "graph.py").read_text().replace("async def work", "def work")
    )
    server = launch(config, DRAIN_SECONDS="0.2")
    wait_ok(server)
    stream, _ = begin_run(server, tmp_path)
    assert server.terminate() == 0
    assert stream.events()[-1][1]["error"] == "ServerShutdown"
