"""Deleting crons, and what they belong to."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F
from django.utils import timezone

from assistants import services
from crons import retention
from crons.models import Cron, CronTick
from crons.scheduler import Scheduler
from platform_site.access.models import AuditEntry, Workspace
from platform_site.access.principal import Principal, Role
from platform_site.core.database.access import IS_POSTGRES, in_db
from platform_site.core.errors import Forbidden
from runs.models import Run
from tests.api_client import ApiClient
from tests.crons.conftest import at, create, new_thread, ticks
from tests.transactions import spied_transactions

NOON = "2026-11-21T12:00:00"


async def rows() -> tuple[int, int]:
    return await in_db(Cron.objects.count), await in_db(CronTick.objects.count)


async def fired_cron(principal: Principal, thread: UUID | None = None, **fields: Any) -> Cron:
    cron: Cron = await in_db(create, principal, thread=thread, due=NOON, **fields)
    assert await Scheduler().fire_due(at(NOON)) == 1
    return cron


async def test_a_cron_goes_with_its_history_and_its_runs_stay(api: ApiClient, principal: Principal) -> None:
    cron = await fired_cron(principal)
    assert (await api.delete(f"/runs/crons/{cron.cron_id}")).status_code == 204
    assert await rows() == (0, 0)
    assert await in_db(Run.objects.count) == 1
    answer = await api.delete(f"/runs/crons/{cron.cron_id}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert (await in_db(AuditEntry.objects.get, action="cron.deleted")).target == str(cron.cron_id)


async def test_a_thread_takes_its_crons_along(api: ApiClient, principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    await fired_cron(principal, thread)
    await in_db(create, principal)
    assert (await api.delete(f"/threads/{thread}")).status_code == 204
    assert await rows() == (1, 0)


async def test_pruned_threads_take_their_crons_along(api: ApiClient, principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    await fired_cron(principal, thread)
    assert (await api.post("/threads/prune", json={"thread_ids": [str(thread)]})).json() == {"pruned_count": 1}
    assert await rows() == (0, 0)


async def test_an_assistant_takes_its_crons_along(api: ApiClient, principal: Principal) -> None:
    assistant = (await api.post("/assistants", json={"graph_id": "log"})).json()["assistant_id"]
    await fired_cron(principal, assistant_id=assistant)
    await in_db(create, principal)
    assert (await api.delete(f"/assistants/{assistant}")).status_code == 204
    assert await rows() == (1, 0)


@pytest.mark.skipif(IS_POSTGRES, reason="the spy watches the one writer that SQLite has")
async def test_long_histories_go_in_portions_before_their_assistant(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "PORTION", 5)
    assistant = (await api.post("/assistants", json={"graph_id": "log"})).json()["assistant_id"]
    for _ in range(2):
        cron = await in_db(create, principal, assistant_id=assistant)
        await in_db(_make_ticks, cron, *range(12))
    async with spied_transactions() as seen:
        assert (await api.delete(f"/assistants/{assistant}")).status_code == 204
    assert await rows() == (0, 0)
    # Of the last one: two crons, the assistant, its version, and the audit.
    assert max(transaction.rows for transaction in seen) <= 5 + 2


async def test_who_may_not_delete_an_assistant_touches_no_history(api: ApiClient, principal: Principal) -> None:
    cron = await fired_cron(principal)
    with pytest.raises(Forbidden):
        await in_db(services.assistant_purge, replace(principal, role=Role.MEMBER), cron.assistant_id)
    assert await rows() == (1, 1)
    assert (await in_db(Cron.objects.get)).enabled


async def test_a_default_assistant_takes_the_workspaces_own_crons_along(api: ApiClient, principal: Principal) -> None:
    stranger = Principal((await in_db(Workspace.objects.create, slug="other")).pk)
    theirs = await in_db(create, stranger)
    await fired_cron(principal)
    assert (await api.delete(f"/assistants/{theirs.assistant_id}")).status_code == 204
    assert await in_db(lambda: list(Cron.objects.values_list("cron_id", flat=True))) == [theirs.cron_id]


def _make_ticks(cron: Cron, *days_ago: float) -> None:
    now = timezone.now()
    for days in days_ago:
        CronTick.objects.create(cron=cron, due_at=now - timedelta(days=days), outcome="fired")


async def test_history_is_kept_for_some_days(principal: Principal, settings: Any) -> None:
    settings.CRON_TICK_RETENTION_DAYS = 10
    cron = await in_db(create, principal)
    await in_db(_make_ticks, cron, 30, 11, 9, 1)
    await retention.sweep_ticks()
    assert len(await in_db(ticks, cron)) == 2


@pytest.mark.parametrize(("kept", "left"), [(1, 1), (3, 3), (4, 4), (5, 4)])
async def test_of_each_cron_a_number_of_due_times_is_kept(
    principal: Principal, settings: Any, kept: int, left: int
) -> None:
    settings.CRON_TICKS_KEPT = kept
    cron, other = [await in_db(create, principal) for _ in range(2)]
    await in_db(_make_ticks, cron, 4, 3, 2, 1)
    await in_db(_make_ticks, other, 5)
    before = await in_db(ticks, cron)
    await retention.sweep_ticks()
    assert await in_db(ticks, cron) == before[4 - left :]
    assert len(await in_db(ticks, other)) == 1


async def test_the_due_time_of_a_run_that_is_going_is_kept(principal: Principal, settings: Any) -> None:
    settings.CRON_TICKS_KEPT, settings.CRON_TICK_RETENTION_DAYS = 1, 10
    cron = await fired_cron(principal, overlap_policy="skip", on_run_completed="keep")
    await Scheduler().fire_due(at(NOON) + timedelta(minutes=1))
    await in_db(CronTick.objects.update, due_at=F("due_at") - timedelta(days=20))
    await retention.sweep_ticks()
    assert [tick.outcome for tick in await in_db(ticks, cron)] == ["fired"]
    assert await Scheduler().fire_due(at(NOON) + timedelta(minutes=2)) == 0
    await in_db(Run.objects.update, status="success")
    await retention.sweep_ticks()
    assert [tick.outcome for tick in await in_db(ticks, cron)] == ["skipped"]
