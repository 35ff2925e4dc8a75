"""Runs of a graph that could not be loaded are refused with the reason, for those who may read it."""

from typing import Any

import pytest

from crons.models import Cron, CronTick
from crons.scheduler import fire
from crons.schemas import CronCreate
from crons.services import cron_create
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.graphs.registry import GraphRegistry
from runs.models import Run
from tests.api_client import ApiClient, client, make_key
from tests.runs.conftest import api as api
from tests.runs.conftest import run_to_end

BODY = {"assistant_id": "broken", "input": {}}
REASON = "served_graphs.py has no `does_not_exist`"
PATHS = ["", "/stream", "/wait", "/batch"]

pytestmark = pytest.mark.usefixtures("principal")


async def refused(api: ApiClient, path: str, **options: Any) -> str:
    """The sentence of the refusal; nothing was made."""
    answer = await api.post(path, json=[BODY] if path.endswith("/batch") else BODY, **options)
    assert answer.status_code == 503, answer.text
    assert not await in_db(Run.objects.exists)
    return str(answer.json()["detail"])


@pytest.mark.parametrize("path", PATHS)
async def test_in_open_mode_the_refusal_has_the_reason(api: ApiClient, path: str) -> None:
    assert REASON in await refused(api, f"/runs{path}")


@pytest.mark.parametrize("path", ["/runs", "/runs/stream", "/runs/wait"])
async def test_a_thread_stays_as_it_was(api: ApiClient, path: str) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    assert REASON in await refused(api, f"/threads/{thread}{path}")
    assert (await api.get(f"/threads/{thread}")).json()["status"] == "idle"


@pytest.mark.parametrize(("role", "is_told"), [("member", False), ("admin", True)])
async def test_with_keys_the_reason_is_for_admins(settings: Any, role: str, is_told: bool) -> None:
    key = await make_key(role)
    settings.AUTH = "keys"
    async with client(headers={"X-Api-Key": key}) as keyed:
        detail = await refused(keyed, "/runs/wait")
    assert detail.startswith("Graph 'broken' could not be loaded")
    assert (REASON in detail) is is_told


@pytest.mark.parametrize(("auth", "is_told"), [("open", True), ("keys", False)])
async def test_a_run_that_was_accepted_before_the_graph_failed_has_the_reason_in_open_mode(
    principal: Principal, unloaded: GraphRegistry, settings: Any, auth: str, is_told: bool
) -> None:
    settings.AUTH = auth
    run = await run_to_end(principal, "broken", input={})
    assert run.error_class == "BrokenGraph"
    assert run.error_message.startswith("Graph 'broken' could not be loaded")
    assert (REASON in run.error_message) is is_told
    assert REASON in run.error_text


def test_the_tick_of_a_cron_says_that_its_graph_is_broken(principal: Principal, settings: Any) -> None:
    settings.AUTH = "keys"
    body = CronCreate.model_validate({"assistant_id": "broken", "schedule": "* * * * *"})
    cron_create(principal, None, body)
    cron = Cron.objects.get()
    assert cron.next_run_date is not None
    fire(cron, cron.next_run_date)
    tick = CronTick.objects.get()
    assert tick.outcome == CronTick.Outcome.SKIPPED
    assert tick.reason.startswith("The run was refused: Graph 'broken' could not be loaded")
    assert REASON not in tick.reason
