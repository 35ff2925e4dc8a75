"""How much memory a process may have."""

from pathlib import Path

import pytest

from platform_site.core.telemetry.process_memory import give_back, memory_limit, resident_bytes


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_a_control_group_the_machines_memory_is_the_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) > 100_000_000


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/", "sys/fs/cgroup/memory.max"),
        ("0::/user.slice/session", "sys/fs/cgroup/user.slice/session/memory.max"),
        ("0::/user.slice/session", "sys/fs/cgroup/user.slice/memory.max"),
        ("4:memory:/docker/1\n0::/", "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes"),
        ("4:memory:/a path that only the host has", "sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ],
)
def test_the_limit_of_a_control_group_counts(tmp_path: Path, groups: str, file: str) -> None:
    write(tmp_path, "proc/self/cgroup", f"8:pids:/\n{groups}\n")
    write(tmp_path, file, "64000000\n")
    assert memory_limit(tmp_path) == 64_000_000


@pytest.mark.parametrize("text", ["max", "9223372036854771712"])
def test_a_control_group_without_a_limit_sets_none(tmp_path: Path, text: str) -> None:
    unlimited = memory_limit(tmp_path)
    write(tmp_path, "sys/fs/cgroup/memory.max", text)
    assert memory_limit(tmp_path) == unlimited


def test_a_process_knows_what_it_has_and_can_give_back() -> None:
    held = resident_bytes()
    give_back()
    assert held is None or held > 1_000_000
