"""`/metrics`: for Prometheus as text, in short as JSON."""

import gc
import math
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from platform_site.access.default_workspace import ensure_first_start
from platform_site.core.background import collector
from platform_site.core.background.rounds import Status
from platform_site.core.background.tasks import background
from platform_site.core.database.access import in_db
from platform_site.core.events.configured import event_log
from platform_site.core.telemetry import metrics
from platform_site.core.telemetry.process_memory import memory_limit, resident_bytes
from platform_site.system import gauges as figures
from platform_site.system.process_figures import RedisFigures
from platform_site.system.processes import processes
from platform_site.system.selectors import queue_figures
from runs.models import Run, RunStatus, Worker
from tests.api_client import ApiClient
from tests.api_client import api as api
from tests.live import LiveServer
from threads.models import Thread


def add_run(
    *, waited: float, status: str = RunStatus.PENDING, thread: Thread | None = None, leased: bool = False
) -> Run:
    workspace_id = ensure_first_start().pk
    due = timezone.now() - timedelta(seconds=waited)
    return Run.objects.create(
        workspace_id=workspace_id,
        assistant_id=uuid4(),
        thread=thread or Thread.objects.create(workspace_id=workspace_id),
        status=status,
        scheduled_at=due,
        lease_owner="somebody" if leased else None,
    )


@pytest.mark.parametrize("query", ["", "?format=prometheus", "?format=whatever"])
async def test_is_text_for_prometheus_unless_json_is_asked_for(api: ApiClient, query: str) -> None:
    answer = await api.get("/metrics" + query)
    assert answer.headers["content-type"].startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"switchyard_http_requests", "switchyard_runs_pending", "switchyard_run_wait_seconds"} <= names


async def test_json_of_an_idle_server(api: ApiClient) -> None:
    figures = (await api.get("/metrics?format=json")).json()
    assert figures["queue"] == {
        "n_pending": 0,
        "pending_runs_wait_time_max_secs": None,
        "pending_runs_wait_time_med_secs": None,
        "pending_unblocked_runs_wait_time_max_secs": None,
        "n_running": 0,
    }
    assert figures["workers"] == {"max": settings.CONCURRENCY, "active": 0, "available": settings.CONCURRENCY}


async def test_requests_are_counted_by_route_template(api: ApiClient) -> None:
    thread = (await api.post("/threads", json={})).json()
    await api.get(f"/threads/{thread['thread_id']}")
    await api.get("/no/such/path")
    counted = (await api.get("/metrics?format=json")).json()["api"]["http_requests_total"]
    paths = {entry["path"] for entry in counted}
    assert "/threads/{thread_id}" in paths
    assert not [path for path in paths if thread["thread_id"] in path or "such" in path]


async def test_the_queue_in_both_forms(api: ApiClient) -> None:
    await in_db(add_run, waited=5)
    await in_db(add_run, waited=0, status=RunStatus.RUNNING, leased=True)
    queue = (await api.get("/metrics?format=json")).json()["queue"]
    assert (queue["n_pending"], queue["n_running"]) == (1, 1)
    families = {family.name: family for family in text_string_to_metric_families((await api.get("/metrics")).text)}
    assert families["switchyard_runs_pending"].samples[0].value == 1
    assert families["switchyard_runs_running"].samples[0].value == 1


def gauges(text: str) -> dict[str, float]:
    """The samples of a page by name and label values."""
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_queue_by_what_runs_wait_for(api: ApiClient) -> None:
    first = await in_db(add_run, waited=5)
    await in_db(add_run, waited=90, thread=first.thread)
    await in_db(add_run, waited=-60)
    await in_db(add_run, waited=10)
    found = gauges((await api.get("/metrics")).text)
    states = [found[f"switchyard_queue_runs/{state}"] for state in ("due", "blocked", "delayed")]
    assert states == [2, 1, 1]
    assert found["switchyard_queue_oldest_wait_seconds"] == pytest.approx(90, abs=5)
    assert found["switchyard_queue_oldest_unblocked_wait_seconds"] == pytest.approx(10, abs=5)
    assert found["switchyard_database_up"] == 1


async def test_leases_that_have_expired(api: ApiClient) -> None:
    run = await in_db(add_run, waited=0, status=RunStatus.RUNNING, leased=True)
    past, later = timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(hours=1)
    await in_db(lambda: Run.objects.filter(pk=run.pk).update(worker="gone"))
    await in_db(lambda: Worker.objects.create(name="gone", started_at=past, alive_until=later))
    assert gauges((await api.get("/metrics")).text)["switchyard_leases_overdue"] == 0
    await in_db(lambda: Worker.objects.update(alive_until=past))
    assert gauges((await api.get("/metrics")).text)["switchyard_leases_overdue"] == 1
    await in_db(lambda: Worker.objects.update(alive_until=later, died_at=past))
    assert gauges((await api.get("/metrics")).text)["switchyard_leases_overdue"] == 1


async def test_a_database_that_fails_takes_its_own_figures_away(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> figures.Figures:
        raise DatabaseError

    monkeypatch.setattr(figures, "read_figures", fail)
    answer = await api.get("/metrics")
    found = gauges(answer.text)
    assert answer.status_code == 200
    assert found["switchyard_database_up"] == 0
    assert math.isnan(found["switchyard_runs_pending"])
    assert math.isnan(found["switchyard_queue_runs/due"])
    assert found["switchyard_workers_max"] == settings.CONCURRENCY


async def test_the_ways_to_the_database(api: ApiClient) -> None:
    found = gauges((await api.get("/metrics")).text)
    pools = {name.rpartition("/")[2] for name in found if name.startswith("switchyard_database_pool_size/")}
    assert pools
    for pool in pools:
        assert found[f"switchyard_database_pool_in_use/{pool}"] <= found[f"switchyard_database_pool_size/{pool}"]
        assert found[f"switchyard_database_pool_waiting/{pool}"] == 0


@pytest.mark.django_db
def test_waits_are_those_of_due_runs() -> None:
    for waited in (10, 20, 90):
        add_run(waited=waited)
    add_run(waited=-60)
    figures = queue_figures()
    assert figures.pending == 4
    assert figures.longest_wait == pytest.approx(90, abs=5)
    assert figures.median_wait == pytest.approx(20, abs=5)


@pytest.mark.django_db
def test_a_run_behind_a_running_one_is_blocked() -> None:
    busy = add_run(waited=0, status=RunStatus.RUNNING, leased=True)
    add_run(waited=90, thread=busy.thread)
    add_run(waited=10)
    figures = queue_figures()
    assert figures.longest_wait == pytest.approx(90, abs=5)
    assert figures.longest_unblocked_wait == pytest.approx(10, abs=5)


@pytest.mark.django_db
def test_when_every_waiting_run_is_blocked_there_is_no_unblocked_wait() -> None:
    busy = add_run(waited=0, status=RunStatus.RUNNING, leased=True)
    add_run(waited=90, thread=busy.thread)
    assert queue_figures().longest_unblocked_wait is None


@pytest.mark.django_db
def test_a_run_whose_threads_state_is_changed_by_hand_is_blocked() -> None:
    run = add_run(waited=90)
    Thread.objects.filter(pk=run.thread_id).update(edited_until=timezone.now() + timedelta(seconds=30))
    assert queue_figures().longest_unblocked_wait is None
    Thread.objects.filter(pk=run.thread_id).update(edited_until=timezone.now())
    assert queue_figures().longest_unblocked_wait == pytest.approx(90, abs=5)


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[Status]:
    """What this process has to say of its background tasks."""
    found: list[Status] = []
    monkeypatch.setattr(background(), "statuses", lambda: found)
    return found


async def test_json_tells_how_background_tasks_are_doing(api: ApiClient, statuses: list[Status]) -> None:
    well, failing = Status("well", interval=1, last_run=1_800_000_000.5, rounds=7), Status("failing", interval=1)
    statuses += [well, failing]
    failing.failed(ValueError("a secret"))
    figures = (await api.get("/metrics?format=json")).json()
    assert figures["background"] == [
        {
            "name": "well",
            "last_run_at": "2027-01-15T08:00:00.500000+00:00",
            "rounds": 7,
            "failures_in_a_row": 0,
            "last_error": None,
        },
        {"name": "failing", "last_run_at": None, "rounds": 0, "failures_in_a_row": 1, "last_error": "ValueError"},
    ]


async def test_prometheus_knows_when_a_background_task_last_ran(api: ApiClient) -> None:
    Status("sweeping", interval=1).ran(0.01)
    text = (await api.get("/metrics")).text
    assert 'switchyard_background_last_run_timestamp_seconds{task="sweeping"}' in text
    assert 'switchyard_background_round_seconds_count{task="sweeping"} 1.0' in text


def test_every_loop_of_a_server_is_told_of(server: LiveServer) -> None:
    figures = httpx.get(f"{server.url}/metrics?format=json").json()
    names = {task["name"] for task in figures["background"]}
    assert {
        "collector",
        "processes",
        "dispatcher",
        "heartbeat",
        "leases",
        "removals",
        "spans",
        "retention",
        "events",
        "threads",
        "crons",
    } <= names


async def test_memory_and_its_bounds(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    states = SimpleNamespace(held_bytes=300, budget_bytes=1000, hits=30, misses=10)
    monkeypatch.setattr(figures, "state_cache", lambda: states)
    event_log().append(str(uuid4()), "values", b"x" * 1000)
    before = gauges((await api.get("/metrics")).text)
    states.hits += 5
    found = gauges((await api.get("/metrics")).text)
    assert found["switchyard_memory_bytes"] == pytest.approx(resident_bytes(), rel=0.2)
    assert found["switchyard_memory_limit_bytes"] == memory_limit()
    assert found["switchyard_event_log_bytes"] == event_log().held_bytes >= 1000
    assert found["switchyard_event_log_budget_bytes"] == event_log().budget_bytes
    assert (found["switchyard_state_cache_bytes"], found["switchyard_state_cache_budget_bytes"]) == (300, 1000)
    assert found["switchyard_state_cache_hits_total"] == before["switchyard_state_cache_hits_total"] + 5
    assert found["switchyard_state_cache_misses_total"] == before["switchyard_state_cache_misses_total"]
    assert found["switchyard_readers_cut_off_total"] >= 0
    assert math.isnan(found["switchyard_redis_streams_bytes"])


@pytest.fixture
def _settled() -> Iterator[None]:
    thresholds = gc.get_threshold()
    collector.settle()
    yield
    gc.callbacks.remove(collector._note)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    collector._modules = None


@pytest.mark.usefixtures("_settled")
async def test_a_full_collection_is_in_the_next_scrape(api: ApiClient) -> None:
    before = gauges((await api.get("/metrics")).text)
    gc.collect()
    found = gauges((await api.get("/metrics")).text)
    assert found["switchyard_full_collections_total"] > before["switchyard_full_collections_total"]
    assert found["switchyard_full_collection_seconds_total"] > before["switchyard_full_collection_seconds_total"]


async def test_a_cache_that_was_made_anew_takes_nothing_from_the_counts(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_counted", {metrics.STATE_CACHE_HITS: 30, metrics.STATE_CACHE_MISSES: 0})
    before = metrics.total(metrics.STATE_CACHE_HITS)
    monkeypatch.setattr(figures, "state_cache", lambda: SimpleNamespace(held_bytes=0, budget_bytes=0, hits=2, misses=0))
    await api.get("/metrics")
    assert metrics.total(metrics.STATE_CACHE_HITS) == before + 2


async def test_figures_of_redis_are_those_that_the_process_knew_last(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes(), "redis", RedisFigures(10, 100, 1000, 10_000))
    found = gauges((await api.get("/metrics")).text)
    names = ("streams_bytes", "streams_budget_bytes", "memory_bytes", "memory_limit_bytes")
    assert [found[f"switchyard_redis_{name}"] for name in names] == [10, 100, 1000, 10_000]
    told = (await api.get("/metrics?format=json")).json()["memory"]
    assert told["redis_streams"] == {"bytes": 10, "budget_bytes": 100}


async def test_json_tells_the_memory_of_the_process(api: ApiClient) -> None:
    told = (await api.get("/metrics?format=json")).json()["memory"]
    assert told["limit_bytes"] == memory_limit()
    assert 0 < told["resident_bytes"] < told["limit_bytes"]
    assert told["events"]["budget_bytes"] == event_log().budget_bytes
    assert told["redis_streams"] is None
