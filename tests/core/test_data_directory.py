"""One server at a time on a data directory."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from platform_site.core.database import data_directory

HOLD = """
import sys, os
from pathlib import Path
from platform_site.core.database import data_directory
data_directory.lock(Path(sys.argv[1]), "http://first")
if sys.argv[2] == "fork":
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
print("held", flush=True)
if sys.argv[2] == "wait":
    sys.stdin.read()
"""


def holder(directory: Path, way: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory), way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process had locked nothing yet."""
    monkeypatch.setattr(data_directory, "_held", None)


def test_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    data_directory.make(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_one_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    data_directory.make(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


@pytest.mark.usefixtures("unlocked")
def test_refusal_names_process_and_address(tmp_path: Path) -> None:
    first = holder(tmp_path, "wait")
    with pytest.raises(data_directory.DataDirectoryInUse, match=f"pid {first.pid} at http://first"):
        data_directory.lock(tmp_path, "http://second")
    first.communicate("")


@pytest.mark.usefixtures("unlocked")
def test_lock_ends_with_the_process(tmp_path: Path) -> None:
    first = holder(tmp_path, "wait")
    first.kill()
    first.communicate()
    data_directory.lock(tmp_path, "http://second")
    assert (tmp_path / "lock").read_text() == f"pid {os.getpid()} at http://second\n"


@pytest.mark.usefixtures("unlocked")
def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path: Path) -> None:
    first = holder(tmp_path, "fork")
    assert first.wait(30) == 0
    data_directory.lock(tmp_path, "http://second")
    first.communicate("")


@pytest.mark.usefixtures("unlocked")
def test_locking_twice_in_one_process_changes_nothing(tmp_path: Path) -> None:
    data_directory.lock(tmp_path, "http://once")
    data_directory.lock(tmp_path, "http://twice")
    assert "http://once" in (tmp_path / "lock").read_text()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


OURS = [
    "switchyard.sqlite3", "switchyard.sqlite3-wal", "switchyard.sqlite3-shm", "checkpoints.sqlite3", "store.sqlite3",
    "secret_key", "lock",
]  # fmt: skip


def test_files_that_exist_are_taken_away_from_others(tmp_path: Path) -> None:
    for name in [*OURS, "of somebody else.txt"]:
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    data_directory.tighten(tmp_path)
    assert {mode(tmp_path / name) for name in OURS} == {0o600}
    assert mode(tmp_path / "of somebody else.txt") == 0o644


@pytest.mark.parametrize("open_mode", [0o755, 0o750, 0o707, 0o701, 0o777, 0o720])
def test_a_directory_open_to_others_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, open_mode: int
) -> None:
    tmp_path.chmod(open_mode)
    data_directory.tighten(tmp_path)
    assert f"chmod 700 {tmp_path}" in caplog.text
    assert mode(tmp_path) == open_mode


@pytest.mark.parametrize("closed_mode", [0o700, 0o710])
def test_a_closed_directory_is_fine(tmp_path: Path, caplog: pytest.LogCaptureFixture, closed_mode: int) -> None:
    tmp_path.chmod(closed_mode)
    data_directory.tighten(tmp_path)
    assert caplog.text == ""
