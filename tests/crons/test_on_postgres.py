"""Crons on PostgreSQL: schedulers that race, and the same API."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.crons.test_live import made, post, until
from tests.live import CONTRACT_CONFIG, INHERITED, ROOT, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres


def test_three_schedulers_race_for_a_thousand_due_times(postgres_url: str) -> None:  # noqa: F811
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment = {**inherited, "DATABASE_URL": postgres_url, "LANGGRAPH_CONFIG": str(CONTRACT_CONFIG)}
    command = [sys.executable, "-m", "tests.crons.racing"]
    raced = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert raced.returncode == 0, raced.stderr[-4000:]
    assert json.loads(raced.stdout) == {
        "failures": [],
        "due_times": 1000,
        "ticks": 1000,
        "runs": 1000,
        "hourly": [["fired", 6]],
        "left_of_deleted": 0,
    }


@pytest.fixture
def servers(tmp_path: Path, postgres_url: str) -> Iterator[list[LiveServer]]:  # noqa: F811
    """Two servers on one database."""
    started = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        started.append(LiveServer(CONTRACT_CONFIG, directory, {"DATABASE_URL": postgres_url}).start())
    yield started
    for server in started:
        server.stop()


def test_two_servers_make_one_run_for_a_due_time(servers: list[LiveServer]) -> None:
    with httpx.Client(base_url=servers[0].url, timeout=30) as http:
        thread = post(http, "/threads")["thread_id"]
        fields = {"assistant_id": "counter", "schedule": "* * * * * *", "input": {"count": 1}, "metadata": {"a": 1}}
        cron = post(http, f"/threads/{thread}/runs/crons", **fields)
        path = f"/runs/crons/{cron['cron_id']}"
        until(lambda: len(made(http, thread)) >= 4)
        with httpx.Client(base_url=servers[1].url, timeout=30) as other:
            paused = other.patch(path, json={"enabled": False, "metadata": {"b": 2}}).json()
            assert (paused["enabled"], paused["metadata"]) == (False, {"a": 1, "b": 2})
            moments = made(other, thread)
            assert other.post("/runs/crons/search", json={"metadata": {"a": 1}, "sort_by": "end_time"}).json() == [
                paused
            ]
            assert other.post("/runs/crons/count", json={"thread_id": thread}).json() == 1
        seconds = [moment.replace(microsecond=0) for moment in moments]
        assert len(set(seconds)) == len(seconds)
        assert http.delete(f"/threads/{thread}").status_code == 204
        assert http.get(path).status_code == 404
