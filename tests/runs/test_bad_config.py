"""A configuration with which no run could be made is refused where it is sent, by the field that is wrong."""

from typing import Any

import orjson
import pytest

from crons.models import Cron, CronTick
from crons.scheduler import Scheduler
from crons.services import cron_run_now
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from runs.models import Run
from tests.api_client import ApiClient
from tests.crons import conftest as crons
from tests.runs.conftest import claim, execute
from threads.models import Thread

HUGE = 10**18
# Values that are refused, by the field of the configuration.
WRONG: dict[str, list[Any]] = {
    "recursion_limit": [-1, 0, 1.5, 25.0, "25", True, [], {}, 10_001, HUGE, 1e300],
    "max_concurrency": [-5, 0, 1.5, 5.0, "5", False, [], {}, HUGE, 1e300],
    "metadata": [5, "x", [], True, 1.5],
    "run_name": [5, [], {}, True],
    "tags": [5, "x", {}, [5], [None], [[]]],
    "configurable": [5, "x", [], True],
}
WRONG_INSIDE: dict[str, list[Any]] = {
    "checkpoint_map": [5, "x", [], {"": 5}, {"": None}, {"": {}}],
    "checkpoint_id": [5, [], {}, True],
    "checkpoint_ns": [5, [], {}, True],
}
CONFIGS = [({field: value}, field) for field, values in WRONG.items() for value in values] + [
    ({"configurable": {name: value}}, f"configurable.{name}")
    for name, values in WRONG_INSIDE.items()
    for value in values
]
CRON = {"assistant_id": "log", "schedule": "0 0 1 1 *"}
# Every operation that takes a configuration.
BODIES: dict[str, dict[str, Any]] = {
    "POST /assistants": {"graph_id": "log"},
    "PATCH /assistants/{assistant}": {},
    "PUT /assistants/{assistant}": {},
    "POST /threads/{thread}/runs": {"assistant_id": "log"},
    "POST /threads/{thread}/runs/stream": {"assistant_id": "log"},
    "POST /threads/{thread}/runs/wait": {"assistant_id": "log"},
    "POST /runs": {"assistant_id": "log"},
    "POST /runs/stream": {"assistant_id": "log"},
    "POST /runs/wait": {"assistant_id": "log"},
    "POST /runs/batch": {"assistant_id": "log"},
    "POST /threads/{thread}/runs/crons": CRON,
    "POST /runs/crons": CRON,
    "PATCH /runs/crons/{cron}": {},
}


@pytest.fixture
async def things(api: ApiClient, principal: Principal) -> dict[str, Any]:
    """One of each that a path names."""
    thread = await in_db(lambda: Thread.objects.create(workspace_id=principal.workspace_id).thread_id)
    return {
        "assistant": (await api.post("/assistants", json={"graph_id": "log"})).json()["assistant_id"],
        "cron": (await api.post("/runs/crons", json=CRON)).json()["cron_id"],
        "thread": thread,
        "principal": principal,
    }


async def sent(api: ApiClient, operation: str, things: dict[str, Any], config: dict[str, Any]) -> Any:
    method, path = operation.split(" ")
    body: Any = {**BODIES[operation], "config": config}
    body = [BODIES[operation], body] if path.endswith("batch") else body
    return await api.request(method, path.format(**things), content=orjson.dumps(body))


@pytest.mark.parametrize("operation", BODIES)
async def test_a_wrong_value_is_refused_by_its_field(operation: str, api: ApiClient, things: dict[str, Any]) -> None:
    for config, field in CONFIGS:
        answer = await sent(api, operation, things, config)
        assert answer.status_code == 422, (config, answer.text)
        detail = answer.json()["detail"]
        outer, _, inner = field.partition(".")
        assert f'["config"]["{outer}"]' in detail if not inner else field in detail, (config, detail)
    assert await in_db(Run.objects.count) == 0


RIGHT: list[dict[str, Any]] = [
    {"recursion_limit": 10_000},
    {"recursion_limit": 3, "max_concurrency": 1},
    {"max_concurrency": 2**31 - 1},
    {"tags": ["", "t", "langsmith:hidden"], "run_name": ""},
    {"run_name": "r" * 10_000, "metadata": {"": None, "deep": {"er": [1, {}]}, "n": HUGE, "f": 1.5, "nul": "\x01"}},
    {"metadata": {"source": 5, "step": "x", "parents": "x", "writes": 1, "langgraph_node": 5, "lc_versions": 5}},
    {"metadata": {"langgraph_checkpoint_ns": 5, "langgraph_step": "x", "ls_integration": 5, "run_attempt": []}},
    {"configurable": {"source": 5, "step": "x", "parents": 5, "task_id": 5, "checkpoint": 5, "": 5}},
    {"configurable": {"user_id": {"a": 1}, "thread_id": 5, "run_id": [], "graph_id": {}, "assistant_id": True}},
    {"configurable": {"checkpoint_id": None, "checkpoint_ns": None, "checkpoint_map": None}},
]


# Those that wait and stream differ from these in their answer only.
USED = ["POST /assistants", "POST /threads/{thread}/runs", "POST /runs", "POST /runs/batch", "POST /runs/crons"]


@pytest.mark.parametrize("config", RIGHT, ids=str)
@pytest.mark.parametrize("operation", USED)
async def test_what_is_accepted_makes_runs_that_succeed(
    operation: str, config: dict[str, Any], api: ApiClient, things: dict[str, Any]
) -> None:
    answer = await sent(api, operation, things, config)
    assert answer.status_code == 200, answer.text
    path = f"/threads/{things['thread']}/runs"
    if operation == "POST /assistants":
        used = {"assistant_id": answer.json()["assistant_id"], "input": {"log": []}}
        assert (await api.post(path, json=used)).status_code == 200
    if operation.endswith("crons"):
        await in_db(lambda: cron_run_now(things["principal"], answer.json()["cron_id"]))
    for run in await in_db(lambda: list(Run.objects.filter(status="pending").order_by("sequence"))):
        await execute(await in_db(claim, run))
    for run in await in_db(lambda: list(Run.objects.all())):
        assert run.error_class in ("", "EmptyInputError"), run.error_traceback
        state = await api.get(f"/threads/{run.thread_id}/state")
        assert state.status_code in (200, 404), state.text


async def test_the_servers_limit_is_named(api: ApiClient, things: dict[str, Any], settings: Any) -> None:
    settings.RECURSION_LIMIT_MAX = 40
    for operation in BODIES:
        # These two would wait for a run that nobody executes.
        if not operation.endswith(("stream", "wait")):
            assert (await sent(api, operation, things, {"recursion_limit": 40})).status_code == 200
        refused = (await sent(api, operation, things, {"recursion_limit": 41})).json()["detail"]
        assert refused.startswith("41 is greater than the maximum of 40, this server's RECURSION_LIMIT_MAX")


async def test_a_limit_that_was_lowered_refuses_the_runs_of_what_is_stored(
    api: ApiClient, principal: Principal, settings: Any
) -> None:
    assistant = (await api.post("/assistants", json={"graph_id": "log", "config": {"recursion_limit": 50}})).json()
    cron = await in_db(lambda: crons.create(principal, due="2026-01-01", config={"recursion_limit": 50}))
    settings.RECURSION_LIMIT_MAX = 40

    answer = await api.post("/runs", json={"assistant_id": assistant["assistant_id"]})
    assert answer.status_code == 422
    assert f"The config of assistant {assistant['assistant_id']}: 50 is greater than" in answer.json()["detail"]
    for method, path, body in (
        ("PATCH", f"/runs/crons/{cron.pk}", {"input": {}}),
        ("PATCH", f"/runs/crons/{cron.pk}", {"config": {"recursion_limit": 50}}),
    ):
        assert (await api.request(method, path, json=body)).status_code == 422
    # What does not concern it can be changed all the same.
    assert (await api.patch(f"/runs/crons/{cron.pk}", json={"enabled": False})).status_code == 200
    assert (await api.patch(f"/runs/crons/{cron.pk}", json={"enabled": True})).status_code == 200

    await in_db(lambda: Cron.objects.filter(pk=cron.pk).update(next_run_date=crons.at("2026-01-01")))
    assert await Scheduler().fire_due(crons.at("2026-01-01T00:00:05")) == 0
    tick = await in_db(CronTick.objects.get, cron_id=cron.pk)
    assert tick.outcome == CronTick.Outcome.SKIPPED
    assert tick.reason.startswith("The run was refused: The config of the cron: 50 is greater than the maximum of 40")


@pytest.mark.parametrize("verb", ["", "/stream", "/wait"])
async def test_a_stateless_run_has_no_checkpoint_to_start_from(api: ApiClient, principal: Principal, verb: str) -> None:
    body = {"assistant_id": "log", "config": {"configurable": {"checkpoint_id": "1f0"}}}
    assert (await api.post(f"/runs{verb}", json=body)).status_code == 422
