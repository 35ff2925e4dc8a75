"""Creating crons: what the answer holds, what is refused, and what each field does to the runs."""

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from assistants.models import Assistant
from crons.models import Cron
from crons.scheduler import Scheduler
from platform_site.access.models import AuditEntry
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.graphs.registry import default_assistant_id
from runs.models import Run
from tests.api_client import ApiClient, client, make_key
from tests.crons.conftest import at, new_thread

BODY = {"assistant_id": "log", "schedule": "0 0 1 1 *"}
LOG = str(default_assistant_id("log"))


async def made(api: ApiClient, path: str = "/runs/crons", **fields: Any) -> dict[str, Any]:
    answer = await api.post(path, json={**BODY, **fields})
    assert answer.status_code == 200, answer.text
    cron: dict[str, Any] = answer.json()
    return cron


async def run_of(cron: dict[str, Any]) -> Run:
    """Let the cron be due; its run."""
    due = at("2026-11-21T12:00:00")
    await in_db(Cron.objects.filter(pk=cron["cron_id"]).update, next_run_date=due)
    assert await Scheduler().fire_due(due) == 1
    run: Run = await in_db(Run.objects.get, metadata__covers={"cron_id": cron["cron_id"]})
    return run


async def test_without_a_thread(api: ApiClient, principal: Principal) -> None:
    cron = await made(api, input={"log": []}, metadata={"a": 1})
    configurable = {"configurable": {"cron_id": cron["cron_id"]}}
    sent = {**BODY, "assistant_id": LOG, "input": {"log": []}, "metadata": {"a": 1}, "config": configurable}
    year = timezone.now().year + 1
    assert cron == {
        "cron_id": cron["cron_id"],
        "assistant_id": LOG,
        "thread_id": None,
        "user_id": "",
        "end_time": None,
        "schedule": "0 0 1 1 *",
        "timezone": None,
        "payload": sent,
        "next_run_date": f"{year}-01-01T00:00:00+00:00",
        "metadata": {"a": 1},
        "on_run_completed": "delete",
        "enabled": True,
        "created_at": cron["created_at"],
        "updated_at": cron["created_at"],
    }
    assert (await api.get(f"/runs/crons/{cron['cron_id']}")).json() == cron


async def test_on_a_thread(api: ApiClient, principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    cron = await made(api, f"/threads/{thread}/runs/crons")
    assert (cron["thread_id"], cron["on_run_completed"]) == (str(thread), None)


async def test_the_assistant_may_be_named_by_its_id(api: ApiClient, principal: Principal) -> None:
    assistant = (await api.post("/assistants", json={"graph_id": "log"})).json()["assistant_id"]
    assert (await made(api, assistant_id=assistant))["assistant_id"] == assistant


async def test_a_schedule_is_read_in_its_zone(api: ApiClient, principal: Principal) -> None:
    cron = await made(api, timezone="America/New_York")
    assert cron["timezone"] == "America/New_York"
    assert cron["next_run_date"].endswith("-01-01T05:00:00+00:00")


@pytest.mark.parametrize(
    ("sent", "moment"),
    [
        ("2037-01-01T00:00:00+02:00", "2036-12-31T22:00:00"),
        ("2037-01-01T00:00:00Z", "2037-01-01T00:00:00"),
        ("2037-01-01T00:00:00", "2037-01-01T00:00:00"),
    ],
)
async def test_the_end_is_echoed_as_it_was_sent(api: ApiClient, principal: Principal, sent: str, moment: str) -> None:
    cron = await made(api, end_time=sent)
    assert cron["end_time"] == sent
    assert (await in_db(Cron.objects.get, pk=cron["cron_id"])).ends_at == at(moment)


async def test_an_end_in_the_past_is_accepted_and_nothing_is_due(api: ApiClient, principal: Principal) -> None:
    cron = await made(api, end_time="2001-01-01T00:00:00Z")
    assert (cron["enabled"], cron["next_run_date"]) == (True, None)


async def test_a_disabled_cron_has_its_next_date_and_is_not_due(api: ApiClient, principal: Principal) -> None:
    cron = await made(api, schedule="* * * * *", enabled=False)
    assert cron["next_run_date"] is not None
    assert await Scheduler().fire_due(at("2040-01-01T00:00:00")) == 0


async def test_policies_are_echoed_in_the_payload(api: ApiClient, principal: Principal) -> None:
    cron = await made(api, misfire_policy="skip", overlap_policy="skip")
    assert (cron["payload"]["misfire_policy"], cron["payload"]["overlap_policy"]) == ("skip", "skip")
    row = await in_db(Cron.objects.get, pk=cron["cron_id"])
    assert (row.misfire_policy, row.overlap_policy) == ("skip", "skip")


async def test_unknown_fields_are_ignored(api: ApiClient, principal: Principal) -> None:
    assert "no_such_field" not in (await made(api, no_such_field=5))["payload"]


FIELDS: list[tuple[str, Any, str, Any]] = [
    ("input", {"log": ["x"]}, "input", {"log": ["x"]}),
    ("context", {"tone": "warm"}, "context", {"tone": "warm"}),
    ("webhook", "https://example.com/hook", "webhook", "https://example.com/hook"),
    ("interrupt_before", ["two"], "interrupt_before", ["two"]),
    ("interrupt_after", "*", "interrupt_after", "*"),
    ("stream_mode", ["updates", "values"], "stream_mode", ["updates", "values"]),
    ("stream_subgraphs", True, "subgraphs", True),
    ("stream_resumable", True, "resumable", True),
    ("durability", "sync", "durability", "sync"),
    ("checkpoint_during", False, "durability", "exit"),
]


@pytest.mark.parametrize(("field", "value", "name", "expected"), FIELDS, ids=[field[0] for field in FIELDS])
@pytest.mark.parametrize("on_thread", [True, False])
async def test_a_field_of_a_run_has_its_effect(
    api: ApiClient,
    principal: Principal,
    no_names: None,
    on_thread: bool,
    field: str,
    value: Any,
    name: str,
    expected: Any,
) -> None:
    path = f"/threads/{await in_db(new_thread, principal)}/runs/crons" if on_thread else "/runs/crons"
    cron = await made(api, path, **{field: value})
    assert cron["payload"][field] == value
    assert (await run_of(cron)).kwargs[name] == expected


async def test_the_config_of_a_cron_is_that_of_its_runs(api: ApiClient, principal: Principal) -> None:
    cron = await made(
        api, config={"tags": ["t"], "recursion_limit": 7, "configurable": {"tone": "warm", "cron_id": "another"}}
    )
    assert cron["payload"]["config"]["configurable"] == {"tone": "warm", "cron_id": cron["cron_id"]}
    config = (await run_of(cron)).kwargs["config"]
    assert (config["tags"], config["recursion_limit"], config["configurable"]["tone"]) == (["t"], 7, "warm")
    assert config["configurable"]["cron_id"] == cron["cron_id"]


async def test_the_multitask_strategy_is_that_of_the_runs(api: ApiClient, principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    cron = await made(api, f"/threads/{thread}/runs/crons", multitask_strategy="interrupt")
    assert (await run_of(cron)).multitask_strategy == "interrupt"


async def test_runs_on_a_thread_may_begin_at_a_checkpoint(api: ApiClient, principal: Principal) -> None:
    thread, checkpoint = await in_db(new_thread, principal), str(uuid4())
    cron = await made(api, f"/threads/{thread}/runs/crons", checkpoint_id=checkpoint)
    assert (await run_of(cron)).kwargs["config"]["configurable"]["checkpoint_id"] == checkpoint


async def test_the_audit_log_names_who_made_it(api: ApiClient, principal: Principal) -> None:
    cron = await made(api)
    entry = await in_db(AuditEntry.objects.get, action="cron.created")
    assert (entry.target, entry.details["schedule"]) == (cron["cron_id"], "0 0 1 1 *")


async def test_threads_and_assistants_of_others_are_not_found(principal: Principal, settings: Any) -> None:
    settings.AUTH = "keys"
    ours, theirs = await make_key(), await make_key(workspace="other")
    async with client(headers={"X-Api-Key": ours}) as us, client(headers={"X-Api-Key": theirs}) as them:
        thread = (await us.post("/threads", json={})).json()["thread_id"]
        assistant = (await us.post("/assistants", json={"graph_id": "log"})).json()["assistant_id"]
        cron = await made(us)
        assert cron["user_id"] != ""
        assert (await them.post(f"/threads/{thread}/runs/crons", json=BODY)).status_code == 404
        assert (await them.post("/runs/crons", json={**BODY, "assistant_id": assistant})).status_code == 404
        path = f"/runs/crons/{cron['cron_id']}"
        for method, body in (("GET", None), ("PATCH", {"enabled": False}), ("DELETE", None)):
            assert (await them.request(method, path, json=body)).status_code == 404
        assert (await them.post("/runs/crons/search", json={})).json() == []
        assert (await them.post("/runs/crons/count", json={})).json() == 0
        assert (await us.post("/runs/crons/count", json={})).json() == 1


async def test_an_assistant_that_is_gone_is_not_found(api: ApiClient, principal: Principal) -> None:
    await in_db(Assistant.objects.filter(assistant_id=LOG).delete)
    answer = await api.post("/runs/crons", json=BODY)
    assert (answer.status_code, answer.json()["detail"]) == (404, "Assistant 'log' not found")


async def test_what_a_list_could_not_show_is_not_stored(api: ApiClient, principal: Principal) -> None:
    for depth in (251, 252, 253):
        nested: Any = 1
        for _ in range(depth):
            nested = [nested]
        await api.post("/runs/crons", json={**BODY, "input": nested})

    assert (await api.post("/runs/crons/search", json={})).status_code == 200
    cron = await made(api)
    answer = await api.patch(f"/runs/crons/{cron['cron_id']}", json={"input": nested})
    assert answer.status_code == 400
    assert (await api.get(f"/runs/crons/{cron['cron_id']}")).json() == cron


async def test_a_thread_stays_and_a_wish_for_something_else_is_refused(api: ApiClient, principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    answer = await api.post(f"/threads/{thread}/runs/crons", json={**BODY, "on_run_completed": "delete"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("`on_run_completed` is for crons without a thread")
