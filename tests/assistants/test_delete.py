"""DELETE /assistants/{assistant_id}"""

import sqlite3
from uuid import uuid4

from django.db import connection

from assistants.models import AssistantVersion
from platform_site.access.default_workspace import default_workspace_id
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient
from tests.assistants.conftest import Make
from threads.models import Thread


async def used_thread(assistant_id: str) -> Thread:
    """A thread that a run of this assistant has left."""
    return await in_db(
        lambda: Thread.objects.create(workspace_id=default_workspace_id(), metadata={"assistant_id": assistant_id})
    )


async def exists(thread: Thread) -> bool:
    return await in_db(Thread.objects.filter(pk=thread.pk).exists)


async def test_assistant_and_versions_are_gone(api: ApiClient, make: Make) -> None:
    path = f"/assistants/{(await make())['assistant_id']}"
    answer = await api.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.get(path)).status_code == 404
    assert await in_db(AssistantVersion.objects.count) == 0


async def test_unknown(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.delete(f"/assistants/{unknown}")
    assert (answer.status_code, answer.json()) == (404, {"detail": f"Assistant with ID {unknown} not found"})


async def test_threads_stay(api: ApiClient, make: Make) -> None:
    made = await make()
    thread = await used_thread(made["assistant_id"])
    await api.delete(f"/assistants/{made['assistant_id']}")
    assert await exists(thread)


async def test_its_threads_go_too_when_asked(api: ApiClient, make: Make) -> None:
    made = await make()
    thread, other = await used_thread(made["assistant_id"]), await used_thread(str(uuid4()))
    answer = await api.delete(f"/assistants/{made['assistant_id']}?delete_threads=true")
    assert answer.status_code == 204
    assert not await exists(thread)
    assert await exists(other)


async def test_more_threads_go_than_one_statement_may_name(api: ApiClient, make: Make) -> None:
    made = await make()

    def use_many() -> None:
        metadata, workspace_id = {"assistant_id": made["assistant_id"]}, default_workspace_id()
        Thread.objects.bulk_create([Thread(workspace_id=workspace_id, metadata=metadata) for _ in range(1100)])
        if connection.vendor == "sqlite":
            # Most builds of SQLite take some 32,000 parameters.
            connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 1000)

    await in_db(use_many)
    answer = await api.delete(f"/assistants/{made['assistant_id']}?delete_threads=true")
    assert answer.status_code == 204
    assert await in_db(Thread.objects.count) == 0
