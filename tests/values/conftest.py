import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import LiveServer
from tests.webhooks.receiving import receiving

PROJECT = Path(__file__).resolve().parent / "project"
# The table imports the file beside it, as files of a project do.
sys.path.insert(0, str(PROJECT))

from tests.values.observing import Seen, observe  # noqa: E402
from tests.values.project.value_rows import ROWS  # noqa: E402


@pytest.fixture(scope="session")
def values_server(start_in_mode: Callable[..., LiveServer]) -> LiveServer:
    """A server with the graph that returns the values."""
    return start_in_mode(PROJECT / "langgraph.json", WEBHOOK_PRIVATE_ALLOWED="127.0.0.1")


@pytest.fixture(scope="session")
def seen(values_server: LiveServer) -> dict[str, Seen]:
    """What clients saw of every row, from one pass over the table."""
    kept = [row.name for row in ROWS.values() if not row.is_refused]
    refused = [row.name for row in ROWS.values() if row.is_refused]
    with receiving() as receiver:
        return asyncio.run(observe(values_server.url, receiver, kept, refused))
