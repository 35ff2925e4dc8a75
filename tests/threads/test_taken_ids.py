"""A thread is looked up, deleted, and its id taken by another workspace, before its checkpoints are read or changed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any
from uuid import UUID

import pytest

from platform_site.access.models import Workspace
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.errors import Conflict
from platform_site.core.loops import state_loop
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import run_to_end
from threads import api as threads_api
from threads import copying, messages, reading
from threads.editing import editing
from threads.models import Thread
from threads.services import delete_threads

SECRET = "secret of the other workspace"

Take = Callable[[], Awaitable[None]]


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["own"]})


@pytest.fixture
def take(principal: Principal, run: Run) -> Take:
    """Delete the thread and let another workspace have its id, once."""
    taken: list[UUID] = []

    async def _take() -> None:
        if not taken:
            taken.append(run.thread_id)
            # Not as a part of the request that is under way.
            await asyncio.create_task(_exchange(), context=Context())

    async def _exchange() -> None:
        await in_db(delete_threads, [run.thread_id], workspace_id=principal.workspace_id)
        other = await in_db(lambda: Workspace.objects.create(slug="other"))
        theirs = Principal(workspace_id=other.pk)
        await run_to_end(theirs, "log", run.thread_id, input={"log": [SECRET]}, if_not_exists="create")

    return _take


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "state", None),
        ("GET", "history", None),
        ("GET", "messages", None),
        ("GET", "storage", None),
        ("POST", "history", {}),
        ("POST", "state/checkpoint", {"checkpoint": {}}),
    ],
)
async def test_what_is_read_of_a_thread_is_its_own(
    api: ApiClient, run: Run, take: Take, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    class Late:
        async def run(self, reading: Coroutine[Any, Any, Any]) -> Any:
            await take()
            return await state_loop().run(reading)

    for module in (threads_api, messages, reading):
        monkeypatch.setattr(module, "state_loop", Late)
    answer = await api.request(method, f"/threads/{run.thread_id}/{path}", json=body)
    assert answer.status_code == 404
    assert SECRET not in answer.text


async def test_a_change_of_state_is_made_on_the_own_thread(
    api: ApiClient, run: Run, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:

    class Late:
        def __init__(self, *arguments: Any) -> None:
            self._editing = editing(*arguments)

        async def __aenter__(self) -> Any:
            await take()
            return await self._editing.__aenter__()

        async def __aexit__(self, *error: Any) -> Any:
            return await self._editing.__aexit__(*error)

    monkeypatch.setattr(threads_api, "editing", Late)
    answer = await api.post(f"/threads/{run.thread_id}/state", json={"values": {"log": ["x"]}, "as_node": "two"})
    assert answer.status_code == 404
    thread = await in_db(Thread.objects.get, pk=run.thread_id)
    assert thread.editor is None
    assert SECRET in thread.values["log"]
    assert "x" not in thread.values["log"]


async def test_a_lease_on_a_thread_is_for_its_workspace(principal: Principal, run: Run) -> None:
    with pytest.raises(Exception, match="not found"):
        async with editing(principal.workspace_id + 1, run.thread_id):
            pass


async def test_a_copy_is_of_the_own_thread(
    principal: Principal, run: Run, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the workspace has got the id back before the copy is complete."""
    thread_id = run.thread_id

    class Late:
        async def run(self, copying: Coroutine[Any, Any, Any]) -> Any:
            await take()
            await state_loop().run(copying)
            await in_db(_move, thread_id, principal.workspace_id)

    monkeypatch.setattr(copying, "state_loop", Late)
    monkeypatch.setattr(copying, "_TRIES", 1)
    with pytest.raises(Conflict):
        await copying.thread_copy(principal, thread_id)


def _move(thread_id: UUID, workspace_id: int) -> None:
    Thread.objects.filter(pk=thread_id).update(workspace_id=workspace_id)
