"""The outbox, the claims and the endpoints on PostgreSQL: the same tests again, in a process with that database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres
HERE = Path(__file__).parent


# One process for all: the time goes into databases. What differs between them is claims, locks and what is committed.
TESTS = (
    "cancel or stateless or makes_way or died or error_and or lost_its_lease or arrives_once or sender_d or given_back "
    "or four_deliverers or old_deliveries or in_a_row or held_back or by_a_person or listed or deleted_thread "
    "or deleted_run"
)


def test_same_on_postgres(postgres_url: str) -> None:  # noqa: F811
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", TESTS]
    modules = [str(HERE / f"{name}.py") for name in ("test_outbox", "test_deliverer", "test_endpoints")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, *modules],
        cwd=ROOT,
        env={**inherited, "DATABASE_URL": postgres_url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout
