"""Limits that cost no count for every new one."""

from pathlib import Path

import pytest

from platform_site.core.errors import InsufficientStorage
from platform_site.core.quotas import BELIEVED_SECONDS, FreeDisk, Quota
from tests.core.clock import Clock


class Counted:
    """What workspaces have, and how often somebody has counted it."""

    def __init__(self) -> None:
        self.has: dict[int, int] = {}
        self.asked = 0

    def __call__(self, workspace_id: int, limit: int) -> int:
        self.asked += 1
        return min(self.has.get(workspace_id, 0), limit)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_counts_once_a_second(counted: Counted, clock: Clock) -> None:
    quota = Quota(counted, clock)
    assert all(quota.take(1, 1000) for _ in range(100))
    assert counted.asked == 1
    clock.now += 1.5 * BELIEVED_SECONDS
    quota.take(1, 1000)
    assert counted.asked == 2


def test_what_this_process_makes_counts_at_once(counted: Counted, clock: Clock) -> None:
    quota = Quota(counted, clock)
    for _ in range(3):
        assert quota.take(1, 3)
        counted.has[1] = counted.has.get(1, 0) + 1
    assert not quota.take(1, 3)


def test_at_the_limit_it_counts_every_time(counted: Counted, clock: Clock) -> None:
    quota = Quota(counted, clock)
    counted.has[1] = 3
    assert not quota.take(1, 3)
    counted.has[1] = 2
    assert quota.take(1, 3)


def test_workspaces_are_apart(counted: Counted, clock: Clock) -> None:
    counted.has = {1: 5}
    quota = Quota(counted, clock)
    assert not quota.take(1, 5)
    assert quota.take(2, 5)


def test_no_limit_costs_no_count(counted: Counted, clock: Clock) -> None:
    assert Quota(counted, clock).take(1, 0)
    assert counted.asked == 0


def test_free_space_is_asked_once_a_second(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [500, 100]
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free[0]}))
    disk = FreeDisk(clock)
    disk.require(tmp_path, 200)
    free.pop(0)
    disk.require(tmp_path, 200)
    clock.now += 1.5 * BELIEVED_SECONDS
    with pytest.raises(InsufficientStorage, match="MIN_FREE_DISK_BYTES"):
        disk.require(tmp_path, 200)
    disk.require(tmp_path, 0)
