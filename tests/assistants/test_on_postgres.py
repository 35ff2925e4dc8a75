"""Default assistants on PostgreSQL, where two callers may be at one at the same moment."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.live import CONTRACT_CONFIG, INHERITED, ROOT
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres
NOT_FOUND = "NotFound: Assistant 046b5dc7-2108-582c-9c6c-31d556d138f0 not found"


def test_of_two_at_once_one_comes_after_the_other(postgres_url: str) -> None:  # noqa: F811
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment = {**inherited, "DATABASE_URL": postgres_url, "LANGGRAPH_CONFIG": str(CONTRACT_CONFIG)}
    command = [sys.executable, "-m", "tests.assistants.racing"]
    raced = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert raced.returncode == 0, raced.stderr[-4000:]
    deleted: dict[str, Any] = {"deleted": [True], "versions": [], "crons": 0}
    assert json.loads(raced.stdout) == {
        "change and change": {"second": "done", "deleted": [False], "versions": [1, 2, 3], "crons": 0},
        "change and delete": {"second": "done", **deleted},
        "delete and change": {"second": NOT_FOUND, **deleted},
        "delete and delete": {"second": NOT_FOUND.replace("Assistant", "Assistant with ID"), **deleted},
        "create and create": {
            "second": f"Conflict: {NOT_FOUND.removeprefix('NotFound: ').replace('not found', 'already exists')}",
            "deleted": [False],
            "versions": [1],
            "crons": 0,
        },
        "schedule and delete": {"second": "done", **deleted},
        "delete and schedule": {"second": "NotFound: Assistant 'echo' not found", **deleted},
        "schedule and delete what was changed": {"second": "done", **deleted},
    }
