"""Changing crons: what is sent changes, what is not sent stays."""

from typing import Any

import pytest

from crons import services
from crons.models import Cron
from crons.scheduler import Scheduler
from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient
from tests.crons.conftest import at, create, new_thread, runs_of


async def patch(api: ApiClient, cron: Cron, **fields: Any) -> dict[str, Any]:
    answer = await api.patch(f"/runs/crons/{cron.cron_id}", json=fields)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


async def test_schedule_and_zone_move_the_next_date(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal, "0 0 1 1 *")
    changed = await patch(api, cron, schedule="0 12 1 1 *", timezone="Europe/Paris")
    assert changed["next_run_date"].endswith("-01-01T11:00:00+00:00")
    assert (changed["payload"]["schedule"], changed["payload"]["timezone"]) == ("0 12 1 1 *", "Europe/Paris")
    again = await patch(api, cron, timezone="UTC")
    assert again["next_run_date"].endswith("-01-01T12:00:00+00:00")


async def test_metadata_is_merged_and_replaced_in_the_payload(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal, metadata={"a": 1, "n": {"x": 1}})
    changed = await patch(api, cron, metadata={"b": 2, "n": {"y": 2}})
    assert changed["metadata"] == {"a": 1, "b": 2, "n": {"y": 2}}
    assert changed["payload"]["metadata"] == {"b": 2, "n": {"y": 2}}


async def test_the_next_run_is_as_it_was_changed(api: ApiClient, principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    cron = await in_db(create, principal, thread=thread, config={"tags": ["old"]}, input={"log": ["old"]})
    changed = await patch(
        api,
        cron,
        input={"log": ["new"]},
        config={"tags": ["new"], "configurable": {"tone": "cold"}},
        interrupt_before=["two"],
        interrupt_after="*",
        stream_mode="updates",
        stream_subgraphs=True,
        stream_resumable=True,
        durability="sync",
        multitask_strategy="interrupt",
    )
    assert changed["payload"]["config"]["configurable"] == {"tone": "cold", "cron_id": str(cron.cron_id)}
    due = at("2026-11-21T12:00:00")
    await in_db(Cron.objects.update, next_run_date=due)
    await Scheduler().fire_due(due)
    [run] = await in_db(runs_of, cron)
    wanted = {
        "input": {"log": ["new"]},
        "interrupt_before": ["two"],
        "interrupt_after": "*",
        "stream_mode": ["updates"],
        "subgraphs": True,
        "resumable": True,
        "durability": "sync",
    }
    assert {name: run.kwargs[name] for name in wanted} == wanted
    assert (run.kwargs["config"]["tags"], run.kwargs["config"]["configurable"]["tone"]) == (["new"], "cold")
    assert run.multitask_strategy == "interrupt"


async def test_context_and_webhook(api: ApiClient, principal: Principal, no_names: None) -> None:
    cron = await in_db(create, principal)
    changed = await patch(api, cron, context={"tone": "warm"}, webhook="https://example.com/hook")
    assert (changed["payload"]["context"], changed["payload"]["webhook"]) == (
        {"tone": "warm"},
        "https://example.com/hook",
    )


async def test_what_its_runs_keep_of_a_cron_without_a_thread(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal)
    assert (await patch(api, cron, on_run_completed="keep"))["on_run_completed"] == "keep"


async def test_a_cron_on_a_thread_always_keeps_it(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal, thread=await in_db(new_thread, principal))
    answer = await api.patch(f"/runs/crons/{cron.cron_id}", json={"on_run_completed": "delete"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("`on_run_completed` is for crons without a thread")


async def test_the_end_is_set_and_cleared(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal)
    ended = await patch(api, cron, end_time="2001-01-01T00:00:00+00:00")
    assert (ended["end_time"], ended["next_run_date"]) == ("2001-01-01T00:00:00+00:00", None)
    cleared = await patch(api, cron, end_time=None)
    assert cleared["end_time"] is None
    assert cleared["next_run_date"] is not None


async def test_what_says_nothing_of_the_time_leaves_a_due_time_due(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal, due="2026-11-21T12:00:00")
    assert (await patch(api, cron, metadata={"a": 1}, enabled=True))["next_run_date"] == "2026-11-21T12:00:00+00:00"


async def test_enabled_again_it_is_due_after_now(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal, due="2026-11-21T12:00:00")
    assert (await patch(api, cron, enabled=False))["next_run_date"] == "2026-11-21T12:00:00+00:00"
    enabled = await patch(api, cron, enabled=True)
    assert enabled["next_run_date"] > enabled["updated_at"]


async def test_pause_and_resume(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal)
    await in_db(services.cron_pause, principal, cron.cron_id)
    assert not (await api.get(f"/runs/crons/{cron.cron_id}")).json()["enabled"]
    await in_db(services.cron_resume, principal, cron.cron_id)
    assert (await api.get(f"/runs/crons/{cron.cron_id}")).json()["enabled"]


async def test_a_cron_whose_webhook_has_been_forbidden_can_be_paused(api: ApiClient, principal: Principal) -> None:
    cron = await in_db(create, principal)
    await in_db(Cron.objects.update, payload={**cron.payload, "webhook": "http://127.0.0.1/"})
    assert not (await patch(api, cron, enabled=False))["enabled"]
    assert (await api.patch(f"/runs/crons/{cron.cron_id}", json={"durability": "sync"})).status_code == 422


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"context": {"a": 1}}, 400),
        ({"schedule": "bad"}, 422),
        ({"timezone": "Mars/X"}, 422),
        ({"webhook": "ftp://example.com"}, 422),
    ],
)
async def test_what_is_refused_changes_nothing(
    api: ApiClient, principal: Principal, fields: dict[str, Any], status: int
) -> None:
    cron = await in_db(create, principal, config={"configurable": {"b": 1}})
    before = (await api.get(f"/runs/crons/{cron.cron_id}")).json()
    assert (await api.patch(f"/runs/crons/{cron.cron_id}", json=fields)).status_code == status
    assert (await api.get(f"/runs/crons/{cron.cron_id}")).json() == before
