"""What operators see of scale mode: one trace over processes, lines that name them, figures, health."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from platform_site.system.process_figures import ProcessFigures
from platform_site.system.redis_processes import PROCESSES_KEY
from tests.live import free_port
from tests.scaled_stack import ScaledStack, scaled_stacks
from tests.tracing import Receiver, attributes

__all__ = ["scaled_stacks"]

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "X-Request-Id": "the-request"}
# What a process writes at the level `debug` once its graphs are loaded.
FROZEN = "objects alone from now on"
INPUT = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def stack(scaled_stacks: Callable[..., ScaledStack], collector: Receiver, metrics_port: int) -> ScaledStack:
    stack = scaled_stacks(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        TRACE_REQUESTS="true",
        HEALTH_TIMEOUT_SECONDS="1",
        LOG_LEVEL="debug",
    )
    stack.start(workers=0)
    stack.start_worker(WORKER_METRICS_PORT=str(metrics_port))
    return stack


@pytest.fixture(scope="module")
def run_id(stack: ScaledStack) -> str:
    """A run that a request of a trace made, and that has ended."""
    with httpx.Client(base_url=stack.url, timeout=60, headers=HEADERS) as http:
        thread_id = http.post("/threads", json={}).json()["thread_id"]
        run = http.post(f"/threads/{thread_id}/runs", json={"assistant_id": "echo", "input": INPUT}).json()
        http.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
        return str(run["run_id"])


def figures(url: str) -> dict[str, float]:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_info_tells_the_mode(stack: ScaledStack) -> None:
    assert httpx.get(f"{stack.url}/info").json()["mode"] == "scaled"


def test_metrics_of_the_database_are_the_same_from_every_process(
    stack: ScaledStack, metrics_port: int, run_id: str
) -> None:
    body = {"assistant_id": "echo", "input": INPUT, "after_seconds": 3600}
    httpx.post(f"{stack.url}/runs", json=body).raise_for_status()
    web, worker = figures(stack.url), figures(f"http://127.0.0.1:{metrics_port}")
    names = [
        "switchyard_runs_pending",
        "switchyard_runs_running",
        "switchyard_queue_runs/delayed",
        "switchyard_queue_runs/due",
        "switchyard_queue_runs/blocked",
        "switchyard_leases_overdue",
        "switchyard_database_up",
    ]
    assert [web[name] for name in names] == [worker[name] for name in names]
    assert web["switchyard_queue_runs/delayed"] == 1


def test_a_worker_counts_the_runs_it_works_on(stack: ScaledStack, metrics_port: int, run_id: str) -> None:
    worker = figures(f"http://127.0.0.1:{metrics_port}")
    assert worker["switchyard_runs_finished_total/success"] >= 1
    assert worker["switchyard_run_wait_seconds_count"] >= 1
    assert worker["switchyard_events_total"] > 0
    assert worker["switchyard_event_bytes_total"] > worker["switchyard_events_total"]
    assert worker["switchyard_workers_max"] == 50
    assert figures(stack.url)["switchyard_workers_max"] == 0


def test_every_process_watches_its_memory_and_its_collections(stack: ScaledStack, metrics_port: int) -> None:
    for url in (stack.url, f"http://127.0.0.1:{metrics_port}"):
        found = figures(url)
        assert 0 < found["switchyard_memory_bytes"] < found["switchyard_memory_limit_bytes"]
        assert found["switchyard_event_log_budget_bytes"] > 0
        assert found["switchyard_full_collections_total"] >= 0
        assert found["switchyard_background_last_run_timestamp_seconds/collector"] > 0


def test_a_web_process_knows_the_memory_of_web_and_worker(stack: ScaledStack, run_id: str) -> None:
    with Redis.from_url(stack.redis_url) as commands:
        stack.workers[0].wait_until(lambda: commands.hlen(PROCESSES_KEY) == 2)
        told = [ProcessFigures.from_json(value.partition(b" ")[2]) for value in commands.hvals(PROCESSES_KEY)]
    pids = {process.role: int(process.name.rpartition(":")[2]) for process in told}
    assert stack.web.process is not None
    assert pids == {"web": stack.web.process.pid, "worker": stack.workers[0].pid}
    stack.workers[0].wait_until(lambda: figures(stack.url)["switchyard_redis_memory_bytes"] > 0)
    memory = httpx.get(f"{stack.url}/metrics?format=json").json()["memory"]
    assert memory["redis_streams"]["budget_bytes"] == figures(stack.url)["switchyard_redis_streams_budget_bytes"]


def test_lines_name_process_request_run_and_trace(stack: ScaledStack, run_id: str) -> None:
    worker = [line for line in lines(stack.workers[0].log) if line.get("run_id") == run_id]
    assert {line["request_id"] for line in worker} == {"the-request"}
    assert {line["trace_id"] for line in worker if "trace_id" in line} == {TRACE_ID}
    assert {line["role"] for line in lines(stack.workers[0].log) if "run_id" in line} == {"worker"}
    web = [line for line in lines(stack.web.log) if line.get("route") == "/threads/{thread_id}/runs"]
    assert {(line["role"], line["request_id"], line["trace_id"]) for line in web} == {("web", "the-request", TRACE_ID)}


def test_a_database_that_accepts_and_says_nothing_is_named(stack: ScaledStack) -> None:
    stack.postgres.freeze()
    try:
        answer = httpx.get(f"{stack.url}/ok?check_db=1", timeout=30)
        assert answer.status_code == 500
        assert answer.json() == {"detail": "The database does not answer in 1 s"}
        assert httpx.get(f"{stack.url}/ok").status_code == 200
    finally:
        stack.postgres.thaw()
    assert httpx.get(f"{stack.url}/ok?check_db=1", timeout=30).status_code == 200


def test_every_process_freezes_what_its_graphs_have_brought(stack: ScaledStack) -> None:
    stack.workers[0].wait_log(FROZEN)
    stack.workers[0].wait_until(lambda: FROZEN in stack.web.log)


def test_a_redis_that_says_nothing_is_named(stack: ScaledStack) -> None:
    stack.valkey.freeze()
    try:
        answer = httpx.get(f"{stack.url}/ok?check_db=1", timeout=30)
        assert answer.json() == {"detail": "Redis does not answer in 1 s"}
    finally:
        stack.valkey.thaw()


def test_a_worker_continues_the_trace_of_the_request(stack: ScaledStack, collector: Receiver, run_id: str) -> None:
    # Both send what they have.
    assert stack.workers[0].terminate() == 0
    stack.web.terminate()
    spans = [span for span in collector.spans() if span.trace_id.hex() == TRACE_ID]
    [request] = [span for span in spans if span.name == "POST /threads/{thread_id}/runs"]
    [run] = [span for span in spans if attributes(span).get("switchyard.run_id") == run_id]
    assert request.parent_span_id.hex() == PARENT_ID
    assert run.parent_span_id == request.span_id
    assert {span.name for span in spans if span.parent_span_id == run.span_id}


def test_a_worker_without_its_port_says_so(stack: ScaledStack) -> None:
    taken = free_port()
    other = stack.start_worker(WORKER_METRICS_PORT=str(taken))
    refused = stack.start_worker(WORKER_METRICS_PORT=str(taken), wait=False)
    assert refused.process is not None
    assert refused.process.wait(60) != 0
    assert f"the worker cannot start: WORKER_METRICS_PORT: cannot listen on 127.0.0.1:{taken}" in refused.log
    assert "Traceback" not in refused.log
    os.kill(other.pid, signal.SIGKILL)
