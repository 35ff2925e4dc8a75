"""Web processes, workers and beat on one PostgreSQL and one Valkey."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from platform_site.processes import alive
from tests.live import INHERITED, ROOT
from tests.scaled_stack import ScaledStack, scaled_stack, scaled_stacks

__all__ = ["scaled_stack", "scaled_stacks"]

INPUT = {"messages": [{"role": "user", "content": "hello"}]}


def accept_run(stack: ScaledStack, graph: str = "echo", given: Any = INPUT) -> tuple[str, str]:
    """A run on a thread of its own: their ids."""
    with httpx.Client(base_url=stack.url, timeout=60) as http:
        thread_id = http.post("/threads", json={}).json()["thread_id"]
        answer = http.post(f"/threads/{thread_id}/runs", json={"assistant_id": graph, "input": given})
        assert answer.status_code == 200, answer.text
        return thread_id, answer.json()["run_id"]


def wait_for(true: Callable[[], bool], *, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status_of(stack: ScaledStack, run_id: str) -> str:
    (row,) = stack.rows("SELECT status FROM runs_run WHERE run_id = %s", run_id)
    return str(row["status"])


@pytest.fixture
def stack(scaled_stack: ScaledStack) -> ScaledStack:
    """The shared stack with its worker up."""
    if not scaled_stack.workers[0].is_running():
        scaled_stack.workers[0].start()
    return scaled_stack


def test_a_worker_executes_what_a_web_process_accepted(stack: ScaledStack) -> None:
    _, run_id = accept_run(stack)
    wait_for(lambda: status_of(stack, run_id) == "success")


def test_a_run_that_is_accepted_while_no_worker_is_there_waits_for_one(stack: ScaledStack) -> None:
    worker = stack.workers[0]
    assert worker.terminate() == 0
    _, run_id = accept_run(stack)
    assert status_of(stack, run_id) == "pending"
    worker.start()
    wait_for(lambda: status_of(stack, run_id) == "success")


def test_a_worker_ends_with_status_0_after_sigterm(stack: ScaledStack) -> None:
    worker = stack.workers[0]
    assert worker.terminate() == 0
    assert "Traceback" not in worker.log


def test_a_run_that_does_not_end_in_time_goes_back_and_is_taken_up_by_another_worker(stack: ScaledStack) -> None:
    stack.workers[0].kill()
    hurried = stack.start_worker(DRAIN_SECONDS="0.2")
    _, run_id = accept_run(stack, "slow", {"ticks": 30, "delay": 0.1})
    wait_for(lambda: status_of(stack, run_id) == "running")
    assert hurried.terminate() == 0
    (left,) = stack.rows("SELECT status, lease_owner FROM runs_run WHERE run_id = %s", run_id)
    assert left["status"] == "pending"
    assert not left["lease_owner"]
    stack.workers[0].start()
    wait_for(lambda: status_of(stack, run_id) == "success")


def test_a_worker_that_is_told_twice_ends_at_once(stack: ScaledStack) -> None:
    stack.workers[0].kill()
    worker = stack.start_worker(DRAIN_SECONDS="600")
    thread_id, run_id = accept_run(stack, "slow", {"ticks": 600, "delay": 0.1})
    wait_for(lambda: status_of(stack, run_id) == "running")

    def told_again() -> bool:
        worker.send(signal.SIGTERM)
        time.sleep(0.2)
        return not worker.is_running()

    wait_for(told_again)
    assert status_of(stack, run_id) == "running"
    httpx.post(f"{stack.url}/threads/{thread_id}/runs/{run_id}/cancel", timeout=60).raise_for_status()


def test_a_worker_writes_our_log_only(stack: ScaledStack) -> None:
    lines = [line for line in stack.workers[0].log.splitlines() if line and not line.startswith("starting")]
    # Celery says so itself, from within its signal handler.
    written = [line for line in lines if not line.startswith("worker: Warm shutdown")]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(json.loads(line)) for line in written))


def test_beat_wakes_the_workers(scaled_stacks: Callable[..., ScaledStack]) -> None:
    stack = scaled_stacks(None, SWEEP_SECONDS="1", LOG_LEVEL="debug")
    stack.start_databases()
    worker = stack.start_worker()
    beat = stack.start_beat()
    worker.wait_log("woken by beat")
    stack.valkey.kill()
    beat.wait_log("no worker is woken")
    stack.start_valkey()
    woken = worker.log.count("woken by beat")
    wait_for(lambda: worker.log.count("woken by beat") > woken)
    assert beat.terminate() == 0
    assert "Traceback" not in beat.log
    stack.stop()


def test_worker_and_beat_show_that_they_are_alive(scaled_stacks: Callable[..., ScaledStack]) -> None:
    stack = scaled_stacks(None)
    stack.start_databases()
    files = [stack.directory / name for name in ("worker", "beat")]
    stack.start_worker(ALIVE_FILE=str(files[0]))
    stack.start_beat(ALIVE_FILE=str(files[1]))
    for file in files:
        wait_for(file.exists)
        checked = subprocess.run(
            [sys.executable, "-m", "platform_site.processes.alive"],
            cwd=ROOT,
            env={"ALIVE_FILE": str(file)},
            check=False,
        )
        assert checked.returncode == 0
    stack.stop()


def test_a_process_that_has_not_touched_its_file_is_not_alive(tmp_path) -> None:
    path = tmp_path / "alive"
    assert not alive.is_alive("")
    assert not alive.is_alive(str(path))
    alive.touch(str(path))
    assert alive.is_alive(str(path))
    long_ago = time.time() - 2 * alive.STALE_SECONDS
    os.utime(path, (long_ago, long_ago))
    assert not alive.is_alive(str(path))


def celery(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of Celery to its end."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "platform_site", command],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_first_of_several_hosts_may_be_away(stack: ScaledStack) -> None:
    url = stack.database_url.replace("?host=", "?host=%2Fnowhere,")
    worker = stack.start_worker(DATABASE_URL=url)
    assert worker.terminate() == 0


def test_a_worker_refuses_a_config_that_is_not_there(stack: ScaledStack) -> None:
    ended = celery("worker", **{**stack.environment, "LANGGRAPH_CONFIG": "/nowhere/langgraph.json"})
    assert ended.returncode == 1
    assert "switchyard: " in ended.stderr
    assert "/nowhere/langgraph.json" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_without_scale_mode_workers_and_beat_say_what_is_missing(command: str) -> None:
    ended = celery(command)
    assert ended.returncode == 1
    assert ended.stderr.startswith("switchyard: workers and beat need DATABASE_URL and REDIS_URL")
    assert "Traceback" not in ended.stderr
