"""The health strip: what it says of background tasks, of graphs, and of the memory of all processes."""

import time
from dataclasses import replace

import pytest

from platform_site.access.principal import Principal
from platform_site.console import health as health_module
from platform_site.console.checks import Check
from platform_site.console.health import health
from platform_site.core.background.tasks import Status, background
from platform_site.core.config import load_config
from platform_site.core.graphs.registry import GraphRegistry
from platform_site.system.process_figures import ProcessFigures, RedisFigures
from platform_site.system.processes import Processes


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[Status]:
    """What this process has to say of its background tasks."""
    found: list[Status] = []
    monkeypatch.setattr(background(), "statuses", lambda: found)
    return found


def check(yard) -> Check | None:
    found = health(Principal(yard.workspace.pk))
    return next((check for check in found.checks if check.name == "Background"), None)


def tone(yard) -> str | None:
    found = check(yard)
    return None if found is None else found.tone


def ran(name: str, seconds_ago: float = 0) -> Status:
    return Status(name, interval=10, last_run=time.time() - seconds_ago)


def failed(name: str, times: int) -> Status:
    status = ran(name)
    for _ in range(times):
        status.failed(ValueError("a secret"))
    return status


def test_a_process_without_tasks_says_nothing(yard, statuses):
    assert check(yard) is None


def test_tasks_that_run_are_well(yard, statuses):
    statuses += [ran("leases"), ran("threads", 30)]
    assert check(yard) == Check("Background", "ok", "2 tasks, all well")


def test_one_failure_may_happen(yard, statuses):
    statuses += [failed("leases", 1)]
    assert tone(yard) == "ok"


def test_a_task_that_fails_again_and_again_is_named_without_what_it_said(yard, statuses):
    statuses += [failed("leases", 2), failed("threads", 3), ran("crons", 100_000)]
    assert check(yard) == Check("Background", "bad", "threads failed 3 times in a row, ValueError")


def test_a_task_that_has_not_run_for_long_is_named(yard, statuses):
    statuses += [ran("leases"), ran("threads", 7200)]
    assert check(yard) == Check("Background", "late", "threads has not run for 2 h")


def test_a_task_that_never_ran_is_late_in_the_end(yard, statuses):
    statuses += [Status("threads", interval=10, started=time.time() - 7200)]
    assert tone(yard) == "late"


def test_the_strip_shows_it(yard, member, statuses):
    statuses += [failed("threads", 3)]
    page = member.get("/dashboard/").content.decode()
    assert "threads failed 3 times in a row" in page
    assert "a secret" not in page


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> GraphRegistry:
    """The samples, loaded; a test may break some."""
    found = GraphRegistry(load_config(None))
    found.load()
    monkeypatch.setattr(health_module, "registry", lambda: found)
    return found


def of_graphs(yard) -> Check | None:
    found = health(Principal(yard.workspace.pk))
    return next((check for check in found.checks if check.name == "Graphs"), None)


def test_graphs_that_are_loaded_are_well(yard, graphs):
    assert of_graphs(yard) == Check("Graphs", "ok", f"{len(graphs.ids)} ready")


def test_graphs_that_are_still_loading_are_counted(yard, monkeypatch):
    monkeypatch.setattr(health_module, "registry", lambda: GraphRegistry(load_config(None)))
    found = of_graphs(yard)
    assert found is not None
    assert (found.tone, found.text.endswith("still loading")) == ("ok", True)


def test_broken_graphs_are_named_without_the_reason(yard, member, graphs):
    graphs.failures["chat"] = "RuntimeError: a secret"
    assert of_graphs(yard) == Check("Graphs", "bad", f"1 of {len(graphs.ids)} cannot be served: chat")
    page = member.get("/dashboard/").content.decode()
    assert "cannot be served: chat" in page
    assert "All healthy" not in page
    assert "a secret" not in page


def test_many_broken_graphs_are_counted(yard, graphs):
    graphs.failures.update(dict.fromkeys(graphs.ids, "broken"))
    found = of_graphs(yard)
    assert found is not None
    assert found.text.endswith(f" and {len(graphs.ids) - 3} more")


GB = 1_000_000_000


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """What this process knows of the memory of all processes: one server that is well."""
    found = Processes("server")
    found._own = ProcessFigures("box:1", "server", 212_000_000, 8 * GB, 1_000_000, 128_000_000)
    monkeypatch.setattr(health_module, "processes", lambda: found)
    return found


def change(known: Processes, **changes: int | float) -> None:
    known._own = replace(known.own, **changes)  # type: ignore[arg-type]


def of_memory(yard) -> list[Check]:
    names = ("Memory", "Redis", "Live events", "Collections")
    return [check for check in health(Principal(yard.workspace.pk)).checks if check.name in names]


def test_memory_that_is_well_is_one_line(yard, known):
    assert of_memory(yard) == [Check("Memory", "ok", "212 MB of 8.0 GB in use")]


def test_a_process_near_its_limit_is_named(yard, known):
    change(known, resident_bytes=7 * GB)
    assert of_memory(yard) == [Check("Memory", "late", "The server uses 7.0 GB of 8.0 GB")]
    change(known, resident_bytes=int(7.8 * GB))
    assert of_memory(yard)[0].tone == "bad"


def test_of_several_processes_the_one_nearest_to_its_limit_is_named(yard, known):
    known._others = [
        ProcessFigures("box:2", "worker", 3 * GB, 8 * GB),
        ProcessFigures("cell:9", "worker", 900_000_000, GB),
    ]
    assert of_memory(yard) == [Check("Memory", "late", "The worker cell:9 uses 900 MB of 1.0 GB")]
    known._others.pop()
    assert of_memory(yard) == [Check("Memory", "ok", "2 processes, the largest uses 3.0 GB of 8.0 GB")]


def test_a_machine_that_does_not_tell_is_not_in_danger(yard, known):
    change(known, resident_bytes=0, memory_limit=0)
    assert of_memory(yard)[0].tone == "ok"


def test_full_event_logs_are_worth_a_word_only_while_they_drop_events(yard, known):
    change(known, event_bytes=126_000_000)
    assert len(of_memory(yard)) == 1
    change(known, recent_events_cut=10)
    text = "The server drops older live events: 126 MB of 128 MB in use. Raise EVENT_MEMORY_BYTES"
    assert of_memory(yard)[1:] == [Check("Live events", "late", text)]


def test_events_that_one_large_run_drops_are_no_sign_of_a_full_budget(yard, known):
    change(known, recent_events_cut=10)
    assert len(of_memory(yard)) == 1


def test_readers_that_were_cut_off_are_counted_over_all_processes(yard, known):
    change(known, recent_readers_cut_off=1)
    assert of_memory(yard)[1:] == [
        Check("Live events", "late", "1 reader was too slow or too late and missed events in the last 5 min")
    ]
    known._others = [ProcessFigures("box:2", "web", recent_readers_cut_off=2)]
    assert of_memory(yard)[1].text == "3 readers were too slow or too late and missed events in the last 5 min"


def test_slow_collections_are_named_when_there_are_several(yard, known):
    change(known, recent_slow_collections=2, recent_collection_seconds=0.4)
    assert len(of_memory(yard)) == 1
    change(known, recent_slow_collections=14, recent_collection_seconds=2.1)
    text = "The server stopped 14 times to collect garbage in the last 5 min, 2.10 s in all"
    assert of_memory(yard)[1:] == [Check("Collections", "late", text)]


def test_streams_in_redis_that_are_near_their_budget(yard, known):
    known.redis = RedisFigures(50_000_000, 256_000_000, 90_000_000, 0)
    assert of_memory(yard)[1:] == [Check("Redis", "ok", "Live events fill 50 MB of 256 MB")]
    known.redis = RedisFigures(250_000_000, 256_000_000, 290_000_000, 0)
    text = "Live events fill 250 MB of 256 MB, older ones are dropped. Raise EVENT_REDIS_BYTES"
    assert of_memory(yard)[1:] == [Check("Redis", "late", text)]


def test_a_redis_near_its_maxmemory_comes_first(yard, known):
    known.redis = RedisFigures(250_000_000, 256_000_000, 490_000_000, 512_000_000)
    assert of_memory(yard)[1:] == [Check("Redis", "bad", "Redis uses 490 MB of its maxmemory, 512 MB")]


def test_a_process_that_hears_of_no_other_says_so(yard, known):
    known.hears = False
    assert of_memory(yard) == [
        Check("Memory", "ok", "This process uses 212 MB of 8.0 GB, others are not known"),
        Check("Redis", "bad", "Redis does not answer"),
    ]


def test_the_strip_shows_memory(yard, member, known):
    change(known, resident_bytes=7 * GB)
    page = member.get("/dashboard/").content.decode()
    assert "The server uses 7.0 GB of 8.0 GB" in page
    assert "All healthy" not in page
