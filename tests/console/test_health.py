"""The health strip: what it says of the background tasks of the process."""

import time

import pytest

from platform_site.console.health import Check, health
from platform_site.core.background import Status, background


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[Status]:
    """What this process has to say of its background tasks."""
    found: list[Status] = []
    monkeypatch.setattr(background(), "statuses", lambda: found)
    return found


def check(yard) -> Check | None:
    from platform_site.access.principal import Principal

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
