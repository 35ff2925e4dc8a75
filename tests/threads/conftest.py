"""The test graphs and runs of `tests.runs`, for threads."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.runs.conftest import _test_graphs as _test_graphs
from tests.runs.conftest import api as api
from tests.runs.conftest import engine as engine
from tests.runs.conftest import idle_engine as idle_engine
from tests.runs.conftest import principal as principal
from tests.runs.conftest import registry as registry

Make = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def make(api: ApiClient) -> Make:
    """Create a thread: `await make(metadata={...})`."""

    async def create(**fields: Any) -> dict[str, Any]:
        answer = await api.post("/threads", json=fields)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    return create
