"""What the tests of kept states share: a reader that asks with the cache and without one, and threads to read."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.conf import settings
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.interface import Checkpoints
from platform_site.core.checkpoints.sqlite.checkpoints import SqliteCheckpoints
from platform_site.core.database.access import IS_POSTGRES
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import run_to_end
from tests.threads.test_taken_ids import take as take
from threads import reading
from threads.state_cache import StateCache

# A request on a thread: method, the end of its path, its body.
Request = tuple[str, str, Any]
HEAD: Request = ("GET", "state", None)
HISTORY: Request = ("POST", "history", {"limit": 50})
REQUESTS: list[Request] = [
    HEAD,
    ("GET", "state?select=values&select=next", None),
    ("GET", "state?select=next&select=values", None),
    ("GET", "state?select=values.log&select=checkpoint", None),
    ("GET", "state?subgraphs=true", None),
    ("POST", "state/checkpoint", {"checkpoint": {}}),
    HISTORY,
    ("GET", "history?limit=2", None),
    ("POST", "history", {"limit": 3, "select": ["values", "tasks"]}),
    ("POST", "history", {"limit": 9, "metadata": {"step": 0}}),
]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> StateCache:
    """The cache of this process, empty."""
    return use_cache(monkeypatch, StateCache(10_000_000))


def use_cache(monkeypatch: pytest.MonkeyPatch, cache: StateCache) -> StateCache:
    monkeypatch.setattr(reading, "state_cache", lambda: cache)
    return cache


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["in"]})


@pytest.fixture
async def asks(principal: Principal) -> Run:
    """A run that waits for an answer."""
    return await run_to_end(principal, "ask_twice", input={"log": []})


class Reader:
    """Asks the same things with the cache of the test and without one."""

    def __init__(self, api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self._api = api
        self._monkeypatch = monkeypatch

    async def read(self, thread_id: UUID, request: Request = HEAD) -> tuple[int, bytes]:
        method, path, body = request
        answer = await self._api.request(method, f"/threads/{thread_id}/{path}", json=body)
        return answer.status_code, answer.content

    async def anew(self, thread_id: UUID, request: Request = HEAD) -> tuple[int, bytes]:
        """What a process answers that has nothing kept."""
        with self._monkeypatch.context() as patch:
            use_cache(patch, StateCache(0))
            return await self.read(thread_id, request)

    async def at(self, thread_id: UUID) -> list[Request]:
        """Requests for each state of the thread."""
        status, body = await self.anew(thread_id, ("POST", "history", {"limit": 50, "select": ["checkpoint_id"]}))
        assert status == 200, body
        ids = [state["checkpoint_id"] for state in orjson.loads(body)]
        return [("GET", f"state/{one}", None) for one in ids]

    async def shows_what_is_stored(self, thread_id: UUID) -> None:
        """Compare every answer, read once and again, with what a process answers that has nothing kept."""
        for request in [*REQUESTS, *await self.at(thread_id)]:
            expected = await self.anew(thread_id, request)
            assert await self.read(thread_id, request) == expected, request
            assert await self.read(thread_id, request) == expected, request


@pytest.fixture
def reader(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(api, monkeypatch)


@pytest.fixture
async def others() -> AsyncIterator[Checkpoints]:
    """What another process has of the same checkpoints."""
    if IS_POSTGRES:
        yield checkpoints()
        return
    opened = SqliteCheckpoints(settings.DATA_DIR / "checkpoints.sqlite3")
    yield opened
    await opened.close()


@dataclass
class Strange:
    """A class that is none of the project's."""

    text: str


async def on_top(store: Checkpoints, run: Run, **values: Any) -> RunnableConfig:
    """Store a checkpoint on the thread's newest one, with other values. Return its configuration."""
    saver = store.saver()
    head = await saver.aget_tuple({"configurable": {"thread_id": str(run.thread_id)}})
    assert head is not None
    made: Checkpoint = {
        **head.checkpoint,
        "id": str(uuid6()),
        "channel_values": {**head.checkpoint["channel_values"], **values},
        "channel_versions": {
            **head.checkpoint["channel_versions"],
            **{name: saver.get_next_version(None, None) for name in values},
        },
    }
    return await saver.aput(head.config, made, head.metadata, {name: made["channel_versions"][name] for name in values})
