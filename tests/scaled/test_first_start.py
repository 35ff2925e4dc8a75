"""Processes that start together on an empty database prepare it once."""

from collections.abc import Callable

import pytest

from tests.scaled_stack import ScaledStack, scaled_stacks

__all__ = ["scaled_stacks"]


@pytest.mark.postgres
def test_six_processes_start_at_once_on_an_empty_database(scaled_stacks: Callable[..., ScaledStack]) -> None:
    stack = scaled_stacks(None)
    stack.start_databases()
    workers = [stack.start_worker(wait=False) for _ in range(4)]
    webs = [stack.launch_web() for _ in range(2)]
    for worker in workers:
        worker.wait_ready(timeout=120)
    for web in webs:
        web.wait_ready(timeout=120)
    (applied,) = stack.rows("SELECT count(*), count(DISTINCT (app, name)) AS different FROM django_migrations")
    assert applied["count"] == applied["different"] > 20
    (made,) = stack.rows("SELECT count(*) FROM access_workspace")
    assert made["count"] == 1
    assert all(
        '"level":"error"' not in log for log in [*(web.log for web in webs), *(worker.log for worker in workers)]
    )
    assert [worker.terminate() for worker in workers] == [0, 0, 0, 0]
    assert [web.terminate() for web in webs] == [0, 0]
    stack.stop()
