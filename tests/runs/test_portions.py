"""What one request may ask of the runs of a workspace: bounded, or done in transactions of bounded size."""

from contextvars import Context
from typing import Any

import pytest

from platform_site.access.principal import Principal
from platform_site.core import quotas
from platform_site.core.database.access import IS_POSTGRES, in_db
from runs import cancel, services
from runs.models import Run
from runs.schemas import MOST_IN_BATCH
from tests.api_client import ApiClient
from tests.runs.conftest import api as api
from tests.runs.conftest import claim, create
from tests.transactions import spied_transactions
from threads.models import Thread

sqlite_only = pytest.mark.skipif(IS_POSTGRES, reason="the spy watches the one writer that SQLite has")


async def statuses() -> list[str]:
    return await in_db(lambda: list(Run.objects.order_by("sequence").values_list("status", flat=True)))


async def pending(principal: Principal, count: int, **fields: Any) -> list[Run]:
    return [await in_db(create, principal, **fields) for _ in range(count)]


@sqlite_only
@pytest.mark.parametrize("action", ["interrupt", "rollback"])
@pytest.mark.parametrize("temporary", [False, True])
async def test_cancelling_many_runs_takes_transactions_of_bounded_size(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch, action: str, temporary: bool
) -> None:
    monkeypatch.setattr(cancel, "PORTION", 5)
    await pending(principal, 23, new=not temporary)
    async with spied_transactions() as seen:
        assert (await api.post("/runs/cancel", json={"status": "all"}, params={"action": action})).status_code == 204
    assert not {"pending", "running"}.intersection(await statuses())
    changing = [transaction for transaction in seen if transaction.rows]
    assert len(changing) == 5
    # Of each run its row and its thread's, and the terms of that.
    assert max(transaction.rows for transaction in changing) <= 5 * 4


@sqlite_only
async def test_a_portion_costs_the_same_statements_whatever_its_size(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for size in (2, 40):
        monkeypatch.setattr(cancel, "PORTION", size)
        await pending(principal, size)
        async with spied_transactions() as seen:
            await api.post("/runs/cancel", json={"status": "all"})
        counts.append(max(transaction.statements for transaction in seen))
    assert counts[0] == counts[1]


async def test_runs_in_work_and_others_are_cancelled_together(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "PORTION", 2)
    runs = await pending(principal, 5)
    held = await in_db(claim, runs[1])
    assert (await api.post("/runs/cancel", json={"status": "all"})).status_code == 204
    assert await statuses() == ["interrupted"] * 5
    assert await in_db(lambda: Run.objects.get(pk=held.sequence).lease_owner) == held.lease_owner
    busy = await in_db(lambda: list(Thread.objects.filter(status="busy").values_list("pk", flat=True)))
    assert busy == [held.thread_id]


async def test_what_a_crash_between_portions_left_is_cancelled_by_the_same_call(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "PORTION", 2)
    await pending(principal, 5)
    portion, calls = cancel._cancel_portion, []

    def crash(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return portion(*arguments)

    with monkeypatch.context() as context:
        context.setattr(cancel, "_cancel_portion", crash)
        assert (await api.post("/runs/cancel", json={"status": "all"})).status_code == 500
    assert await statuses() == ["interrupted"] * 2 + ["pending"] * 3
    assert (await api.post("/runs/cancel", json={"status": "all"})).status_code == 204
    assert await statuses() == ["interrupted"] * 5


async def test_runs_that_are_made_meanwhile_are_left_alone(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise whoever makes runs quickly enough keeps the call going for ever."""
    monkeypatch.setattr(cancel, "PORTION", 1)
    await pending(principal, 3)
    portion = cancel._cancel_portion

    def one_more(*arguments: Any) -> Any:
        # Somebody else does, outside of the request.
        Context().run(create, principal)
        return portion(*arguments)

    monkeypatch.setattr(cancel, "_cancel_portion", one_more)
    assert (await api.post("/runs/cancel", json={"status": "all"})).status_code == 204
    assert (await statuses())[:3] == ["interrupted"] * 3
    assert set((await statuses())[3:]) == {"pending"}


@sqlite_only
async def test_a_run_that_makes_way_for_itself_costs_the_same_however_many_wait(
    api: ApiClient, principal: Principal, settings: Any
) -> None:
    # What waits is counted once a second.
    settings.MAX_PENDING_RUNS = 0
    counts = []
    for size in (2, 40):
        thread = (await in_db(create, principal)).thread_id
        await pending(principal, size, thread_id=thread)
        body = {"assistant_id": "log", "multitask_strategy": "interrupt"}
        async with spied_transactions() as seen:
            assert (await api.post(f"/threads/{thread}/runs", json=body)).status_code == 200
        counts.append(max(transaction.statements for transaction in seen))
    assert counts[0] == counts[1]


@pytest.mark.usefixtures("principal")
async def test_a_batch_is_bounded_and_says_so(api: ApiClient) -> None:
    item = {"assistant_id": "log"}
    answer = await api.post("/runs/batch", json=[item] * (MOST_IN_BATCH + 1))
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith(f"has more than {MOST_IN_BATCH} items")
    assert await statuses() == []


async def test_one_run_more_than_may_wait_is_refused(api: ApiClient, principal: Principal, settings: Any) -> None:
    settings.MAX_PENDING_RUNS = 3
    waiting = await pending(principal, 3)
    answer = await api.post("/runs", json={"assistant_id": "log"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    assert "3 runs" in answer.json()["detail"]
    assert "MAX_PENDING_RUNS" in answer.json()["detail"]
    assert len(await statuses()) == await in_db(Thread.objects.count) == 3
    # One of them ends: there is room again.
    await api.post(f"/threads/{waiting[0].thread_id}/runs/{waiting[0].run_id}/cancel")
    assert (await api.post("/runs", json={"assistant_id": "log"})).status_code == 200


async def test_delayed_runs_and_batches_count_too(api: ApiClient, principal: Principal, settings: Any) -> None:
    settings.MAX_PENDING_RUNS = 3
    await pending(principal, 2, after_seconds=3600)
    assert (await api.post("/runs/batch", json=[{"assistant_id": "log"}] * 2)).status_code == 429
    assert await statuses() == ["pending"] * 2


async def test_another_workspace_has_a_limit_of_its_own(principal: Principal, settings: Any) -> None:
    settings.MAX_PENDING_RUNS = 1
    other = Principal(principal.workspace_id + 1)
    await pending(principal, 1)
    assert not await in_db(services._pending.take, principal.workspace_id, 1)
    assert await in_db(services._pending.take, other.workspace_id, 1)


async def test_no_run_is_accepted_on_a_full_disk(
    api: ApiClient, principal: Principal, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MIN_FREE_DISK_BYTES = 10**18
    monkeypatch.setattr(quotas, "_data_disk", quotas.FreeDisk())
    thread = await in_db(
        lambda: Thread.objects.create(workspace_id=principal.workspace_id, metadata={"graph_id": "log"})
    )
    for path, body in (("runs", {"assistant_id": "log"}), ("state", {"values": {"log": ["x"]}})):
        answer = await api.post(f"/threads/{thread.pk}/{path}", json=body)
        assert answer.status_code == 507
        assert "MIN_FREE_DISK_BYTES" in answer.json()["detail"]
    assert await statuses() == []
