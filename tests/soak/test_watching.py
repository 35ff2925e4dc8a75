"""What is seen of the processes of a server."""

import os
from pathlib import Path

import pytest

from tests.benchmarks import processes
from tests.benchmarks.client import Address
from tests.benchmarks.processes import Use
from tests.benchmarks.servers import Server

from . import watching
from .__main__ import errors_in
from .watching import Watcher, program


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/usr/bin/python manage.py serve --port 2024", "server"),
        ("python -m celery -A platform_site worker -n worker-2@%h", "worker-2"),
        ("python -m celery -A platform_site beat", "beat"),
        ("/pg/bin/postgres -D /data", "postgres"),
        ("postgres: checkpointer ", "postgres"),
        ("valkey-server *:0", "valkey"),
        ("/usr/bin/python -c something", None),
        ("", None),
    ],
)
def test_program_is_known_by_its_command_line(line: str, name: str | None):
    assert program(line.split(" ")) == name


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """A tree of processes by their command lines; the first is the root."""
    lines: dict[int, str] = {}
    monkeypatch.setattr(processes, "tree", lambda root: list(lines))
    monkeypatch.setattr(processes, "words", lambda pid: lines[pid].split(" "))
    return lines


def test_one_process_is_the_server(tree: dict[int, str]):
    tree[1] = "python manage.py serve"

    assert watching.programs(1) == {"server": [1]}


def test_programs_of_scale_mode_with_the_databases_behind_our_own(tree: dict[int, str]):
    tree |= {1: "python manage.py serve --scaled", 2: "postgres -D x", 3: "postgres: writer", 4: "valkey-server *:0"}
    tree |= {5: "python -m celery worker -n worker-1@%h", 6: "python -m celery beat", 7: "python manage.py serve"}

    found = watching.programs(1)

    assert found == {
        "web": [7],
        "worker-1": [5],
        "beat": [6],
        "postgres": [2, 3],
        "valkey": [4],
        "supervisor": [1],
    }
    assert list(found) == ["web", "worker-1", "beat", "postgres", "valkey", "supervisor"]


def watcher() -> Watcher:
    return Watcher(Server("ours", Address("127.0.0.1", 1), os.getpid()), clock=iter(range(0, 600, 60)).__next__)


async def test_minute_holds_the_median_of_memory_and_the_fewest_files(
    monkeypatch: pytest.MonkeyPatch,
):
    seen = iter([(100.0, 60), (400.0, 40), (101.0, 55)])
    watching_it = watcher()
    watching_it.metrics = {}
    monkeypatch.setattr(watching, "programs", lambda root: {"server": [7]})

    def use(pid: int) -> Use:
        rss, files = next(seen)
        return Use(rss, rss / 2, files, 9, 1.5)

    monkeypatch.setattr(processes, "use", use)

    watching_it.look()
    watching_it.look()
    (minute,) = await watching_it.minute()

    assert (minute.point.minute, minute.point.rss, minute.point.files, minute.point.threads) == (1.0, 101.0, 40, 9)


def test_process_that_was_started_again_is_told(monkeypatch: pytest.MonkeyPatch):
    pids = iter([7, 7, 8])
    watching_it = watcher()
    monkeypatch.setattr(watching, "programs", lambda root: {"worker-1": [next(pids)]})
    monkeypatch.setattr(processes, "use", lambda pid: Use(1, 1, 1, 1, 1))

    for _ in range(3):
        watching_it.look()

    assert watching_it.restarted == ["worker-1 has ended and was started again"]


def test_errors_in_the_log_of_the_server(tmp_path: Path):
    log = tmp_path / "server.log"
    log.write_text(
        'web      | {"level": "error", "message": "boom"}\n{"level": "error", "message": "boom"}\n'
        '{"level": "warning", "message": "hm"}\nPostgreSQL is at {somewhere\nno json\n'
    )

    assert errors_in(log) == ["log of the server: boom (2 times)"]
    assert errors_in(tmp_path / "none") == []
