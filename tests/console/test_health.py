"""The health strip: what it says of the background tasks of the process, and of its graphs."""

import time

import pytest

from platform_site.access.principal import Principal
from platform_site.console import health as health_module
from platform_site.console.health import Check, health
from platform_site.core.background import Status, background
from platform_site.core.config import load_config
from platform_site.core.graphs import GraphRegistry


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
