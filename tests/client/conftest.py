import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests import live

OTHER_CONFIG = Path(__file__).resolve().parent / "langgraph.json"
STATES_CONFIG = Path(__file__).resolve().parent / "states" / "langgraph.json"


@pytest.fixture(scope="session")
def other_server(start_in_mode: Callable[[Path], live.LiveServer]) -> live.LiveServer | live.RunningServer:
    """A server with the graphs of this directory."""
    if url := os.environ.get("SERVER_URL"):
        return live.RunningServer(url.rstrip("/"))
    return start_in_mode(OTHER_CONFIG)


@pytest.fixture
async def other(other_server: live.LiveServer | live.RunningServer) -> AsyncIterator[LangGraphClient]:
    """A client of the server with the graphs of this directory."""
    async with get_client(url=other_server.url) as client:
        yield client


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    """A new thread on the shared server."""
    thread_id: str = (await client.threads.create())["thread_id"]
    return thread_id


@pytest.fixture
async def other_thread(other: LangGraphClient) -> str:
    """A new thread on the server with the graphs of this directory."""
    thread_id: str = (await other.threads.create())["thread_id"]
    return thread_id


@pytest.fixture(scope="session")
def states_server(start_in_mode: Callable[[Path], live.LiveServer]) -> live.LiveServer:
    """A server with graphs whose state is hard to read (`tests/client/states`)."""
    return start_in_mode(STATES_CONFIG)


@pytest.fixture
def states(states_server: live.LiveServer) -> Iterator[httpx.Client]:
    """Plain HTTP to the server whose states are hard to read."""
    with httpx.Client(base_url=states_server.url, timeout=30) as client:
        yield client
