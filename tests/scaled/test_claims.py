"""Many workers, one queue."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.live import INHERITED, ROOT
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.scaled.claimers import RUNS, WORKERS

pytestmark = pytest.mark.postgres


def output(module: str, url: str, directory: Path) -> Any:
    """What a program prints, with the database at `url`."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**environment, "DATABASE_URL": url, "DATA_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_no_lock_of_a_run_holds_up_a_heartbeat_and_one_clock_counts(postgres_url: str, tmp_path: Path) -> None:  # noqa: F811
    assert output("tests.scaled.renewals", postgres_url, tmp_path) == {
        "renewed": True,
        "leases": 5,
        "cancels": ["interrupt"],
        "lasts longer": True,
        "dead by a wrong clock": [],
        "alive for a day": False,
        "dead while locked": [],
        "dead": ["worker"],
        "renewed when dead": False,
        "lost": 5,
    }


def test_a_process_that_stands_still_holds_up_nothing_but_its_own_run(postgres_url: str, tmp_path: Path) -> None:  # noqa: F811
    assert output("tests.scaled.locked_rows", postgres_url, tmp_path) == {
        # Of four lost runs. The first and the third are locked by the process that stands still, the second by an
        # operator for a while.
        "swept": [4],
        "swept once more": [2],
        "renewed": True,
        "leases read": [1, 3],
        "tombstones": 1,
        "delete is refused": True,
        "ended too early": 0,
        # Not the operator's.
        "ended": 1,
        "swept at last": [1, 3],
        "deleted": 1,
    }


def test_eight_workers_claim_each_of_two_thousand_runs_once(postgres_url: str, tmp_path: Path) -> None:  # noqa: F811
    found = output("tests.scaled.claimers", postgres_url, tmp_path)
    claims = Counter(chain.from_iterable(found["claimed"]))
    assert len(claims) == RUNS
    assert set(claims.values()) == {1}
    assert found["overlaps"] == 0
    assert len(found["claimed"]) == WORKERS
