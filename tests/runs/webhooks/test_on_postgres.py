"""The outbox, the queue and the endpoints on PostgreSQL: the same tests again, in a process with that database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres
HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("test_outbox", ""),
        ("test_deliverer", "arrives_once or sent_again or four_deliverers or day or old_deliveries or given_back"),
        ("test_endpoints", "in_a_row or held_back or person or sent_again or figures or listed or deleted"),
    ],
)
def test_same_on_postgres(postgres_url: str, module: str, tests: str) -> None:  # noqa: F811
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", tests]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, str(HERE / f"{module}.py")],
        cwd=ROOT,
        env={**inherited, "DATABASE_URL": postgres_url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout
