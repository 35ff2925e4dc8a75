"""Streams whose run has ended without their log saying so."""

from collections.abc import Callable

import pytest

from platform_site.core.background.tasks import Task
from platform_site.core.events import configured
from platform_site.core.events.redis import RedisEventLog
from platform_site.processes import background_tasks
from runs.streaming import lost_ends
from runs.streaming.lost_ends import LostEnds


class Log:
    """The event log of a web process: who waits for which run, and whose streams were ended."""

    def __init__(self) -> None:
        self.awaited: dict[str, set[str | None]] = {}
        self.ended: dict[str, bytes | None] = {}

    def awaited_runs(self) -> dict[str, set[str | None]]:
        return self.awaited

    def end_here(self, run_id: str, outcome: bytes | None) -> None:
        self.ended[run_id] = outcome


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """All runs have ended."""

    async def ended(_: object, run_ids: list[str]) -> dict[str, bytes]:
        return dict.fromkeys(run_ids, b"{}")

    monkeypatch.setattr(lost_ends, "read_db", ended)
    return Log()


async def test_a_stream_that_stays_silent_after_its_run_is_ended(log: Log) -> None:
    ends = LostEnds(log)  # type: ignore[arg-type]
    log.awaited = {"run": {"1-0"}}
    await ends.round()
    assert log.ended == {}
    await ends.round()
    assert log.ended == {"run": b"{}"}


async def test_a_stream_that_still_gets_the_events_of_its_run_is_not(log: Log) -> None:
    ends = LostEnds(log)  # type: ignore[arg-type]
    for place in ("1-0", "2-0", "3-0"):
        log.awaited = {"run": {place}}
        await ends.round()
    assert log.ended == {}


@pytest.mark.parametrize("tasks", [background_tasks.web_tasks, background_tasks.background_tasks])
def test_web_processes_and_workers_look_for_silent_streams(
    monkeypatch: pytest.MonkeyPatch, tasks: Callable[[], list[Task]]
) -> None:
    # A node of a worker may wait for a run, too.
    monkeypatch.setattr(configured, "event_log", lambda: object.__new__(RedisEventLog))
    assert "lost-ends" in [task.name for task in tasks()]
