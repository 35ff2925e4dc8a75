"""What a measurement does to the server: read from /proc and from its /metrics."""

import os
import subprocess
import sys

from . import processes
from .measures import Metrics
from .observed import Counted, counted, observe
from .own_cost import stub_server

METRICS = """\
# TYPE switchyard_runs_finished_total counter
switchyard_runs_finished_total{status="success"} 40.0
switchyard_runs_finished_total{status="error"} 2.0
# TYPE switchyard_full_collections_total counter
switchyard_full_collections_total 3.0
# TYPE switchyard_full_collection_seconds_total counter
switchyard_full_collection_seconds_total 0.25
# TYPE switchyard_event_log_bytes gauge
switchyard_event_log_bytes 5000.0
# TYPE switchyard_event_log_budget_bytes gauge
switchyard_event_log_budget_bytes 90000.0
# TYPE switchyard_redis_streams_bytes gauge
switchyard_redis_streams_bytes NaN
# TYPE switchyard_event_bytes_total counter
switchyard_event_bytes_total 77.0
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1000.0
"""


def test_metrics_of_this_server():
    assert counted(METRICS) == Counted(42, 3, 0.25, {"event_log_bytes": 5000})


def test_metrics_of_another_server_tell_nothing():
    assert counted("# TYPE requests gauge\nrequests 1.0\n") is None


def test_processes_of_a_server_are_added():
    web, worker = Counted(0, 1, 0.5, {"event_log_bytes": 10}), Counted(7, 2, 0.25, {"state_cache_bytes": 5})

    assert web + worker == Counted(7, 3, 0.75, {"event_log_bytes": 10, "state_cache_bytes": 5})


async def test_memory_is_seen_of_a_server_without_such_metrics():
    async def work() -> Metrics:
        return {"rate": 1.0}

    async with stub_server() as server:
        metrics = await observe(server, work())

    assert metrics["rate"] == 1
    assert 1 < metrics["rss"] <= metrics["rss_peak"]
    assert "full_collections" not in metrics


# Has 60 MB for a moment.
HEAVY_FOR_A_MOMENT = "taken = b'x' * 60_000_000; del taken; print(flush=True); input()"


def test_peak_is_the_most_since_it_was_forgotten():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HEAVY_FOR_A_MOMENT], stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        assert processes.peak(process.pid) > 60
        assert processes.forget_peaks(process.pid)
        assert processes.peak(process.pid) < 50

        process.stdin.write(b"\n")


def test_use_of_a_process():
    used = processes.use(os.getpid())

    assert used is not None
    assert used.rss > used.anonymous > 10
    assert used.files > 2
    assert used.threads >= 1
    assert processes.use(2**22 + 1) is None
