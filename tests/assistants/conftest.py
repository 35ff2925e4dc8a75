"""An API client and a way to make assistants."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.api_client import api as api

Make = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def make(api: ApiClient) -> Make:
    """Create an assistant: `await make(name="x")`."""

    async def create(**fields: Any) -> dict[str, Any]:
        answer = await api.post("/assistants", json={"graph_id": "chat", **fields})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    return create
