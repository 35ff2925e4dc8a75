"""An HTTP client on the real ASGI application, in this process, without an engine.

    from tests.api_client import ApiClient
    from tests.api_client import api as api

    async def test_something(api: ApiClient) -> None:
        assert (await api.post("/threads", json={})).status_code == 200

What is imported inside functions needs Django to be set up: a conftest may import this module.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

ApiClient = httpx.AsyncClient
BASE_URL = "http://127.0.0.1:2024"


def client(**options: Any) -> ApiClient:
    """A client of its own on an application of its own, made under the settings of this moment."""
    from platform_site.asgi import Application

    app: Any = Application(start=lambda: None)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE_URL, **options)


@pytest.fixture
async def api(transactional_db: None) -> AsyncIterator[ApiClient]:
    """The API in open mode on an empty database: no default assistants either."""
    from platform_site.access.default_workspace import ensure_first_start
    from platform_site.core.database.access import in_db

    await in_db(ensure_first_start)
    async with client() as http:
        yield http


async def make_key(role: str = "member", *, workspace: str = "default", **options: Any) -> str:
    """A new API key of a workspace, which is made if missing."""
    from platform_site.access.default_workspace import ensure_first_start
    from platform_site.access.models import Workspace
    from platform_site.access.principal import Role
    from platform_site.access.services import api_key_create
    from platform_site.core.database.access import in_db

    def make() -> str:
        ensure_first_start()
        owner, _ = Workspace.objects.get_or_create(slug=workspace, defaults={"name": workspace})
        return api_key_create(None, workspace=owner, name=f"{role} key", role=Role(role), **options)[1]

    return await in_db(make)


async def settle() -> None:
    """Let what runs beside a request come to its end."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait({task}, timeout=5)
