"""One process on PostgreSQL: what calls and runs do when another session locks their rows, or ends their sessions."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.faults.victim import CONFIG, NODES
from tests.live import LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres


@pytest.fixture
def server(tmp_path: Path, postgres_url: str) -> Iterator[LiveServer]:  # noqa: F811
    environment = {"DATABASE_URL": postgres_url, "LOCK_TIMEOUT_SECONDS": "0.2", "TRAIL": str(tmp_path / "trail")}
    started = LiveServer(CONFIG, tmp_path, environment).start()
    yield started
    started.stop()


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def another(server: LiveServer, postgres_url: str) -> Iterator["psycopg.Connection[Any]"]:  # noqa: F811
    """A session of another process."""
    with psycopg.connect(postgres_url) as connection:
        yield connection


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def start(http: httpx.Client, **body: Any) -> tuple[str, str]:
    thread = http.post("/threads", json={}).json()["thread_id"]
    run = http.post(f"/threads/{thread}/runs", json={"assistant_id": "six", **body}).json()
    return thread, run["run_id"]


def status(http: httpx.Client, thread: str, run: str) -> str:
    return str(http.get(f"/threads/{thread}/runs/{run}").json()["status"])


def test_a_call_that_needs_a_locked_row_is_answered_with_a_sentence(
    http: httpx.Client, another: "psycopg.Connection[Any]"
) -> None:
    thread, run = start(http, input={"delay": 60})
    another.execute("SELECT 1 FROM threads_thread FOR UPDATE")
    answers = [
        http.post(f"/threads/{thread}/runs", json={"assistant_id": "six"}),
        http.post(f"/threads/{thread}/runs/{run}/cancel"),
        http.delete(f"/threads/{thread}/runs/{run}"),
        http.post("/runs/cancel", json={"thread_id": thread, "run_ids": [run]}),
        http.patch(f"/threads/{thread}", json={"metadata": {"a": 1}}),
        http.delete(f"/threads/{thread}"),
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (503, '{"detail":"Another process has locked what this needs; try again"}')
    }

    another.rollback()
    assert http.post(f"/threads/{thread}/runs/{run}/cancel?wait=1").status_code == 200
    assert http.delete(f"/threads/{thread}").status_code == 204


def test_a_run_is_cancelled_though_a_checkpoint_of_it_is_being_written(
    http: httpx.Client, another: "psycopg.Connection[Any]"
) -> None:
    thread, run = start(http, input={"delay": 60})
    another.execute("SELECT 1 FROM runs_run FOR KEY SHARE")
    assert http.post(f"/threads/{thread}/runs/{run}/cancel").status_code == 202
    assert status(http, thread, run) == "interrupted"
    another.rollback()


def test_a_run_ends_when_what_it_needs_for_it_is_free(
    http: httpx.Client, server: LiveServer, another: "psycopg.Connection[Any]"
) -> None:
    thread, run = start(http, input={"delay": 0.01})
    another.execute("SELECT 1 FROM threads_thread FOR UPDATE")
    until(lambda: server.log.count("a write of the run is tried again") > 10)
    assert status(http, thread, run) == "running"
    another.rollback()
    until(lambda: status(http, thread, run) == "success")


def test_who_waits_for_a_run_gets_its_values_though_the_database_was_away(
    http: httpx.Client, server: LiveServer, another: "psycopg.Connection[Any]"
) -> None:
    thread, run = start(http, input={"delay": 0.2}, durability="sync", stream_mode="updates", stream_resumable=True)
    path = f"/threads/{thread}/runs/{run}"
    answers: dict[str, Any] = {}

    def read(name: str) -> None:
        # Who comes in the very moment is told to try again.
        while (answer := http.get(f"{path}/{name}", timeout=60)).status_code == 503:
            pass
        answers[name] = answer

    waiting = [threading.Thread(target=read, args=[name]) for name in ("join", "stream")]
    for reader in waiting:
        reader.start()
    trail = server.data_dir.parent / "trail"
    until(lambda: trail.exists() and "n2" in trail.read_text())
    # Its next checkpoint waits for this lock, and there its session ends.
    another.execute("SELECT 1 FROM runs_run FOR UPDATE")
    while "is tried again when it is back" not in server.log:
        another.execute("SELECT pg_stat_clear_snapshot()")
        another.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        time.sleep(0.05)
    another.rollback()
    for reader in waiting:
        reader.join(60)

    late = http.get(f"{path}/join")
    assert answers["join"].json()["done"] == late.json()["done"] == NODES
    # Its stream goes on with the next attempt.
    stream = answers["stream"].text
    assert "event: error" not in stream
    assert "event: metadata" in stream
    assert '{"n6":' in stream
    # The attempt does not count.
    assert http.get(f"/threads/{thread}/state").json()["metadata"]["run_attempt"] == 1
