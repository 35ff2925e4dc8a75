"""Many workers, one queue."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from tests.live import INHERITED, ROOT
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.scaled.claimers import RUNS, WORKERS

pytestmark = pytest.mark.postgres


def test_eight_workers_claim_each_of_two_thousand_runs_once(postgres_url: str, tmp_path: Path) -> None:  # noqa: F811
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "tests.scaled.claimers"],
        cwd=ROOT,
        env={**environment, "DATABASE_URL": postgres_url, "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    claims = Counter(chain.from_iterable(found["claimed"]))
    assert len(claims) == RUNS
    assert set(claims.values()) == {1}
    assert found["overlaps"] == 0
    assert len(found["claimed"]) == WORKERS
