"""Crons on real servers: runs come within a second of their time, and one catches up after a kill."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import live
from tests.runs.conftest import eventually

# Shorter than any downtime of these tests, so that what fell into it counts as missed.
QUICK = {"CRON_GRACE_SECONDS": "0.5", "SWEEP_SECONDS": "1"}
until = partial(eventually, timeout=30)


def post(http: httpx.Client, path: str, **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def made(http: httpx.Client, thread: str) -> list[datetime]:
    """When the runs of a thread were made, in their order."""
    runs = http.get(f"/threads/{thread}/runs?limit=1000&select=created_at").json()
    return [datetime.fromisoformat(run["created_at"]) for run in reversed(runs)]


def test_a_schedule_of_seconds_makes_a_run_every_second(http: httpx.Client) -> None:
    thread = post(http, "/threads")["thread_id"]
    cron = post(
        http, f"/threads/{thread}/runs/crons", assistant_id="counter", schedule="* * * * * *", input={"count": 1}
    )
    until(lambda: len(made(http, thread)) >= 3)
    http.patch(f"/runs/crons/{cron['cron_id']}", json={"enabled": False})
    moments = made(http, thread)
    # Each in a second of its own.
    seconds = [moment.replace(microsecond=0) for moment in moments]
    assert len(set(seconds)) == len(seconds)
    until(lambda: http.get(f"/threads/{thread}").json()["status"] == "idle")
    values = http.get(f"/threads/{thread}/state").json()["values"]
    assert values["log"] == ["inc", "double"] * len(moments)
    runs = http.get(f"/threads/{thread}/runs?limit=1000").json()
    assert {(run["status"], run["metadata"]["cron_id"]) for run in runs} == {("success", cron["cron_id"])}


@pytest.mark.parametrize(("wanted", "left"), [("delete", 0), ("keep", 2)])
def test_what_is_left_of_runs_without_a_thread(http: httpx.Client, wanted: str, left: int) -> None:
    mark = {"of_this_test": wanted}
    cron = post(
        http,
        "/runs/crons",
        assistant_id="counter",
        schedule="* * * * * *",
        input={"count": 1},
        on_run_completed=wanted,
        metadata=mark,
    )
    begun = datetime.fromisoformat(cron["next_run_date"])
    path = f"/runs/crons/{cron['cron_id']}"
    until(lambda: (datetime.fromisoformat(http.get(path).json()["next_run_date"]) - begun).total_seconds() >= 2)
    http.delete(path)

    def threads() -> list[str]:
        """The threads of the runs that this test's cron has made."""
        query = {"limit": 1000, "metadata": {"graph_id": "counter"}}
        found = [thread["thread_id"] for thread in http.post("/threads/search", json=query).json()]
        runs = {thread: http.get(f"/threads/{thread}/runs").json() for thread in found}
        return [thread for thread in found if any(mark.items() <= run["metadata"].items() for run in runs[thread])]

    if left:
        assert len(until(lambda: threads() if len(threads()) >= left else [])) >= left
    else:
        until(lambda: not threads())


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[live.LiveServer]:
    started = live.LiveServer(live.CONTRACT_CONFIG, tmp_path, QUICK).start()
    yield started
    started.stop()


def schedule_of(begin: datetime, *seconds: int) -> str:
    """A schedule that is due so many seconds after `begin`, and again a minute later."""
    times = sorted((begin + timedelta(seconds=after)).second for after in seconds)
    return f"* * * * * {','.join(map(str, times))}"


def history(victim: live.LiveServer, begin: datetime) -> dict[int, tuple[str, str]]:
    """Outcome and reason of each due time, by its seconds after `begin`. The server must have ended."""
    with closing(sqlite3.connect(victim.data_dir / "switchyard.sqlite3")) as database:
        rows = database.execute("SELECT due_at, outcome, reason FROM crons_crontick ORDER BY due_at").fetchall()
    due_times = [datetime.fromisoformat(due).replace(tzinfo=UTC) for due, _, _ in rows]
    return {
        round((due - begin).total_seconds()): (outcome, reason)
        for due, (_, outcome, reason) in zip(due_times, rows, strict=True)
    }


@pytest.mark.parametrize("policy", ["run_once", "skip"])
def test_a_server_that_is_killed_between_due_times(victim: live.LiveServer, policy: str) -> None:
    """Three due times fall into the downtime: one run for the last of them, or none."""
    begin = datetime.now(UTC).replace(microsecond=0)
    with httpx.Client(base_url=victim.url, timeout=30) as http:
        thread = post(http, "/threads")["thread_id"]
        fields = {"assistant_id": "counter", "schedule": schedule_of(begin, 3, 8, 10, 12, 50), "misfire_policy": policy}
        cron = post(http, f"/threads/{thread}/runs/crons", **fields, input={"count": 1})
        until(lambda: made(http, thread))
    victim.kill()
    until(lambda: datetime.now(UTC) >= begin + timedelta(seconds=14))
    victim.start()
    with httpx.Client(base_url=victim.url, timeout=30) as http:
        path, following = f"/runs/crons/{cron['cron_id']}", begin + timedelta(seconds=50)
        until(lambda: datetime.fromisoformat(http.get(path).json()["next_run_date"]) >= following)
        runs = len(made(http, thread))
    assert victim.terminate() == 0
    found = history(victim, begin)
    outcomes = {after: outcome for after, (outcome, _) in found.items() if after < 50}
    if policy == "run_once":
        assert outcomes == {3: "fired", 8: "missed", 10: "missed", 12: "fired"}
        assert "late, once for all since" in found[12][1]
    else:
        assert outcomes == {3: "fired", 8: "missed", 10: "missed", 12: "missed"}
        assert found[12][1].endswith("and the cron's misfire_policy is to skip then.")
    assert runs == sum(outcome == "fired" for outcome, _ in found.values())


def wait_for_the_next_date(http: httpx.Client, path: str) -> None:
    before = http.get(path).json()["next_run_date"]
    until(lambda: http.get(path).json()["next_run_date"] > before)


def test_a_server_that_is_killed_while_it_fires(victim: live.LiveServer) -> None:
    """A due time that was fired and its run are there together, or not at all."""
    with httpx.Client(base_url=victim.url, timeout=30) as http:
        fields = {"assistant_id": "counter", "schedule": "* * * * * *", "on_run_completed": "keep"}
        crons = [post(http, "/runs/crons", **fields, input={"count": 1})["cron_id"] for _ in range(40)]
        path, dice = f"/runs/crons/{crons[-1]}", random.Random(4)
        for _ in range(2):
            wait_for_the_next_date(http, path)
            # Somewhere among the forty.
            time.sleep(1 + dice.uniform(-0.1, 0.1))
            victim.restart()
    assert victim.terminate() == 0
    with closing(sqlite3.connect(victim.data_dir / "switchyard.sqlite3")) as database:
        fired = database.execute("SELECT run_id FROM crons_crontick WHERE outcome = 'fired'").fetchall()
        runs = database.execute("SELECT run_id FROM runs_run").fetchall()
    assert len(fired) > 40
    assert sorted(fired) == sorted(runs)
