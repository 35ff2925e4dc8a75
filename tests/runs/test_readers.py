"""Who may only read changes no run, in whatever way a connection ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from platform_site.access.authorization import READING_POSTS
from platform_site.access.principal import Principal, Role
from platform_site.core.database.access import in_db
from platform_site.core.errors import Forbidden
from runs import cancel
from runs.engine.engine import Engine
from runs.models import Run
from tests.api_client import ApiClient, client, make_key
from tests.runs.conftest import Gate, create, ended
from tests.runs.conftest import engine as engine
from tests.runs.conftest import gate as gate
from tests.runs.graphs import script

READERS: list[dict[str, Any]] = [{"role": "viewer"}, {"scopes": ["runs:read"]}, {"scopes": ["threads:write"]}]


@pytest.fixture
async def keyed(principal: Principal, settings: Any) -> AsyncIterator[ApiClient]:
    settings.AUTH = "keys"
    async with client() as http:
        yield http


def path(run: Run, verb: str) -> str:
    return f"/threads/{run.thread_id}/runs/{run.run_id}/{verb}"


@pytest.mark.parametrize("reader", READERS, ids=str)
@pytest.mark.parametrize("verb", ["join", "stream"])
async def test_a_reader_that_asks_for_a_cancel_is_refused_at_the_request(
    keyed: ApiClient, principal: Principal, reader: dict[str, Any], verb: str
) -> None:
    run = await in_db(create, principal)
    key = await make_key(**reader)
    answer = await keyed.get(path(run, verb) + "?cancel_on_disconnect=true", headers={"X-Api-Key": key})
    assert answer.status_code == 403
    assert await in_db(lambda: Run.objects.get().status) == "pending"


@pytest.mark.parametrize("verb", ["join", "stream"])
async def test_a_reader_that_hangs_up_leaves_the_run_alone(
    keyed: ApiClient, principal: Principal, engine: Engine, gate: Gate, verb: str
) -> None:
    key = await make_key("viewer")
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        url = path(run, verb) + "?cancel_on_disconnect=false"
        request = asyncio.ensure_future(keyed.get(url, headers={"X-Api-Key": key}))
        assert await asyncio.to_thread(gate.reached.wait, 10)
        request.cancel()
        await asyncio.wait({request})
        gate.open.set()
        assert (await asyncio.to_thread(ended, run)).status == "success"


async def test_a_writer_that_hangs_up_cancels(
    keyed: ApiClient, principal: Principal, engine: Engine, gate: Gate
) -> None:
    key = await make_key(scopes=["runs:write"])
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        url = path(run, "stream") + "?cancel_on_disconnect=true"
        request = asyncio.ensure_future(keyed.get(url, headers={"X-Api-Key": key}))
        assert await asyncio.to_thread(gate.reached.wait, 10)
        await asyncio.sleep(0.05)
        request.cancel()
        await asyncio.wait({request})
        assert (await asyncio.to_thread(ended, run)).status == "interrupted"


def test_the_service_itself_refuses_a_reader(principal: Principal) -> None:
    run = create(principal)
    viewer = Principal(principal.workspace_id, role=Role.VIEWER)
    with pytest.raises(Forbidden):
        cancel.run_cancel(viewer, run.thread_id, run.run_id)
    run.refresh_from_db()
    assert run.status == "pending"


async def test_every_post_that_is_declared_as_reading_is_open_to_viewers_and_no_other(keyed: ApiClient) -> None:
    """The list of reading operations names operations that exist; all others refuse a viewer before anything else."""
    key = await make_key("viewer")
    document = (await keyed.get("/openapi.json")).json()
    posts = {path for path, methods in document["paths"].items() if "post" in methods}
    assert posts >= READING_POSTS
    for route in posts:
        url = route.replace("{", "").replace("}", "")
        answer = await keyed.post(url, content=b"[]", headers={"X-Api-Key": key})
        assert (answer.status_code != 403) == (route in READING_POSTS), route
