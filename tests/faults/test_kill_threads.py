"""SIGKILL while threads end by themselves: of every one that is over nothing is left in the end, in no table."""

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import QUICK
from tests.faults.victim import CONFIG, HUMAN, REPEATS, Victim
from tests.live import LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.rows import rows_of_threads

pytestmark = pytest.mark.fault

# Seconds.
TTL, SWEEP = 5.0, 0.1
THREADS = 12


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where the server keeps its rows: its data directory, or the URL of a database."""
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else tmp_path / "data"


@pytest.fixture
def start(place: Path | str, tmp_path: Path) -> Iterator[Callable[[Path], Victim]]:
    started: list[LiveServer] = []

    def start(config: Path) -> Victim:
        database = {"DATABASE_URL": place} if isinstance(place, str) else {}
        files = {"TRAIL": str(tmp_path / "trail"), "LAST_BREATH": str(tmp_path / "last_breath")}
        server = LiveServer(config, tmp_path, {**QUICK, **files, **database})
        started.append(server)
        return Victim(server.start(), tmp_path / "trail")

    yield start
    for server in started:
        server.stop()


def sweeping_config(directory: Path) -> Path:
    written = json.loads(CONFIG.read_text())
    graphs = {name: path.replace("./", f"{CONFIG.parent}/") for name, path in written["graphs"].items()}
    ttl = {"sweep_interval_minutes": SWEEP / 60}
    path = directory / "langgraph.json"
    section = {"dependencies": [str(CONFIG.parent)], "graphs": graphs, "checkpointer": {"ttl": ttl}}
    path.write_text(json.dumps(section))
    return path


@pytest.mark.parametrize("seed", range(REPEATS))
def test_sweep_that_is_killed_is_finished_after_the_start(
    start: Callable[[Path], Victim], place: Path | str, tmp_path: Path, seed: int
) -> None:
    victim = start(sweeping_config(tmp_path))
    runs = [victim.start("six", input=HUMAN | {"delay": 0.001}, durability="sync") for _ in range(THREADS)]
    for thread, run in runs:
        victim.until_over(thread, run)
    for thread, _ in runs:
        victim.client.threads.update(thread, metadata={}, ttl=TTL / 60)
    victim.until(lambda: rows_of_threads(place).get("threads_thread", 0) < THREADS)
    time.sleep(random.Random(seed).uniform(0, 0.05))
    victim.server.kill()
    victim.server.start()
    victim.until(lambda: rows_of_threads(place) == {})


def test_stateless_runs_of_a_killed_server_leave_nothing(start: Callable[[Path], Victim], place: Path | str) -> None:
    victim = start(CONFIG)
    for _ in range(6):
        victim.client.runs.create(None, "six", input=HUMAN | {"delay": 0.2})
    victim.until(lambda: len(victim.starts("")) >= 12)
    assert rows_of_threads(place)["threads_thread"] == 6
    victim.server.kill()
    victim.server.start()
    victim.until(lambda: rows_of_threads(place) == {})


def test_stateless_run_whose_process_died_before_its_end_leaves_nothing(
    start: Callable[[Path], Victim], place: Path | str
) -> None:
    victim = start(CONFIG)
    victim.client.runs.create(None, "six", input=HUMAN | {"delay": 0.1}, after_seconds=1)
    victim.die_before_the_end([found["thread_id"] for found in victim.client.threads.search()])
    victim.server.start()
    victim.until(lambda: rows_of_threads(place) == {})


def test_hidden_thread_without_its_run_is_removed_after_the_start(
    start: Callable[[Path], Victim], place: Path | str
) -> None:
    """Its own run is over and somebody else's, which held it, is gone: nobody but the sweep knows of it."""
    victim = start(CONFIG)
    victim.client.runs.create(None, "six", input=HUMAN | {"delay": 0.2})
    [hidden] = [found["thread_id"] for found in victim.client.threads.search()]
    run = victim.client.runs.create(hidden, "six", input=HUMAN | {"delay": 0.001})["run_id"]
    assert victim.until_over(hidden, run) == "success"
    victim.client.runs.delete(hidden, run)
    victim.server.kill()
    victim.server.start()
    victim.until(lambda: rows_of_threads(place) == {})
