"""A graph that takes every thread for synchronous nodes costs its neighbours no lease."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.victim import HUMAN, NODES, Victim

pytestmark = pytest.mark.fault
# Of a worker, see `ScaledStack.start_worker`; the hog has more nodes.
THREADS = 50


def test_runs_keep_their_leases_while_a_neighbour_blocks_every_thread(
    start_victim: Callable[..., Victim], tmp_path: Path
) -> None:
    victim = start_victim(CONCURRENCY=str(THREADS))
    gate = tmp_path / "gate"
    hog = victim.start("hog", input={"gate": str(gate)})
    victim.until(lambda: victim.starts(hog[0]).count("holds") == THREADS)
    try:
        # Longer than a lease, and with values that have to be packed.
        runs = [victim.start("six", input=HUMAN | {"delay": 0.6}, durability=how) for how in ("sync", "async")]
        assert [victim.until_over(*run) for run in runs] == ["success", "success"]
        assert victim.status(*hog) == "running"
    finally:
        gate.touch()

    for thread, _ in runs:
        assert victim.starts(thread) == NODES
        assert victim.state(thread)["metadata"]["run_attempt"] == 1
    assert victim.until_over(*hog) == "success"
    assert victim.state(hog[0])["metadata"]["run_attempt"] == 1
