from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests import live


@pytest.fixture(params=["async", "sync"])
async def sdk(request: pytest.FixtureRequest, server: live.LiveServer | live.RunningServer) -> AsyncIterator[Any]:
    """The official client, once the asynchronous and once the synchronous one."""
    if request.param == "async":
        async with get_client(url=server.url) as client:
            yield client
    else:
        with get_sync_client(url=server.url) as sync_client:
            yield sync_client
