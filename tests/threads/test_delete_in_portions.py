"""Deleting a large thread: gone at once, removed in transactions of bounded size, finished after a crash."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from crons.models import Cron, CronTick
from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.sqlite import rows as checkpoint_rows
from platform_site.core.database.access import IS_POSTGRES, in_db
from platform_site.core.errors import NotFound
from platform_site.core.loops import state_loop
from runs.engine.sweep import finish_removals
from runs.models import PendingInterrupt, Run, RunAttempt, RunSpan, RunStatus
from tests.api_client import ApiClient
from tests.runs.conftest import claim, create, execute, run_to_end, table_counts
from tests.threads.test_delete import TABLES, kept
from tests.transactions import spied_transactions
from threads import services
from threads.editing import editing
from threads.head import head_of, thread_state_changed
from threads.models import Thread, ThreadTombstone
from threads.selectors import thread_for_state
from threads.state import head_of_thread

RUNS = 30
PORTION = 20
ALL = [*TABLES, "crons_cron", "crons_crontick", "webhooks_webhookdelivery", "webhooks_webhookattempt"]


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "PORTION", PORTION)
    monkeypatch.setattr(checkpoint_rows, "PORTION_ROWS", 3)


async def large_thread(principal: Principal) -> Run:
    """A thread with a run that ended, a question, a run in work, and many more runs, spans and ticks."""
    run = await run_to_end(principal, "ask_twice", input={"log": []}, metadata={"a": 1})

    def fill() -> None:
        assert run.started_at is not None
        assert run.finished_at is not None
        assert run.assistant_id is not None
        shared = {"workspace_id": principal.workspace_id, "thread_id": run.thread_id, "assistant_id": run.assistant_id}
        ended = {"status": RunStatus.SUCCESS, "started_at": run.started_at, "finished_at": run.finished_at}
        runs = Run.objects.bulk_create([Run(**shared, **ended, kwargs=run.kwargs) for _ in range(RUNS)])
        for more in runs:
            RunAttempt.objects.create(
                run=more, number=1, started_at=run.started_at, ended_at=run.finished_at, worker="w"
            )
            RunSpan.objects.bulk_create(
                RunSpan(
                    run=more,
                    span_id=uuid4(),
                    kind="node",
                    name="n",
                    started_at=run.started_at,
                    ended_at=run.finished_at,
                )
                for _ in range(3)
            )
        cron = Cron.objects.create(**shared, schedule="@daily")
        CronTick.objects.bulk_create(
            CronTick(cron=cron, due_at=run.started_at + timedelta(days=day), outcome="skipped")
            for day in range(2 * PORTION)
        )

    await in_db(fill)
    return run


async def held() -> dict[str, int]:
    return {table: count for table, count in (await in_db(table_counts, *ALL)).items() if count}


async def test_it_is_gone_for_everybody_at_once(api: ApiClient, principal: Principal) -> None:
    run = await large_thread(principal)
    thread = f"/threads/{run.thread_id}"
    cron = await in_db(lambda: Cron.objects.get().cron_id)
    waiting = await in_db(create, principal, "log", run.thread_id)
    assert (await api.delete(thread)).status_code == 204

    assert (await held())["runs_run"] > 0
    for path in (thread, f"{thread}/state", f"{thread}/messages", f"{thread}/runs", f"{thread}/runs/{run.run_id}",
                 f"{thread}/history", f"{thread}/storage", f"/runs/crons/{cron}"):  # fmt: skip
        assert (await api.get(path)).status_code == 404, path
    assert (await api.post("/threads/search", json={})).json() == []
    assert (await api.post("/threads/search", json={"metadata": {"a": 1}})).json() == []
    assert (await api.post("/threads/count", json={})).json() == 0
    assert (await api.post("/runs/crons/search", json={})).json() == []
    assert (await api.post("/runs/cancel", json={"status": "all"})).status_code == 404
    assert (await api.post(f"{thread}/runs", json={"assistant_id": "log"})).status_code == 404
    assert (await api.post(f"{thread}/copy")).status_code == 409
    assert (await api.patch(thread, json={"metadata": {"b": 2}})).status_code == 404
    assert (await api.delete(thread)).status_code == 404
    assert (await api.post("/threads/prune", json={"thread_ids": [str(run.thread_id)]})).json() == {"pruned_count": 0}
    assert (await api.delete(f"{thread}/runs/{waiting.run_id}")).status_code == 404
    outcome = (await api.get(f"{thread}/runs/{run.run_id}/join")).json()
    assert outcome["__error__"]["message"] == "404: Run not found"


async def test_nothing_is_left_in_the_end(api: ApiClient, principal: Principal) -> None:
    run = await large_thread(principal)
    await api.delete(f"/threads/{run.thread_id}")
    assert await in_db(ThreadTombstone.objects.count) == 1
    await finish_removals()
    assert await held() == {}
    assert await kept(run.thread_id) == 0


@pytest.mark.skipif(IS_POSTGRES, reason="the spy watches the one writer that SQLite has")
async def test_no_transaction_grows_with_the_thread(api: ApiClient, principal: Principal) -> None:
    run = await large_thread(principal)
    async with spied_transactions() as seen:
        await api.delete(f"/threads/{run.thread_id}")
        await finish_removals()
    # A portion, the thread's own row, its tombstone and its question, and what is said of them.
    assert max(transaction.rows for transaction in seen) <= PORTION + 10
    assert max(transaction.statements for transaction in seen) <= 60
    assert len([transaction for transaction in seen if transaction.rows]) >= 5 * RUNS / PORTION


@pytest.mark.skipif(IS_POSTGRES, reason="the file of checkpoints is SQLite's")
async def test_checkpoints_go_in_portions_too(principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    before = (await checkpoints().storage(run.thread_id)).checkpoints
    assert before > 3
    assert not checkpoints().delete_portion_sync([run.thread_id])
    assert before - 3 <= (await checkpoints().storage(run.thread_id)).checkpoints < before + 1
    rounds = 1
    while not checkpoints().delete_portion_sync([run.thread_id]):
        rounds += 1
    assert rounds > 1
    assert await kept(run.thread_id) == 0


@pytest.mark.skipif(IS_POSTGRES, reason="the file of checkpoints is SQLite's")
async def test_a_portion_is_smaller_where_rows_are_large(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await run_to_end(principal, "log", input={"log": ["x" * 1000]})
    monkeypatch.setattr(checkpoint_rows, "PORTION_ROWS", 1000)
    monkeypatch.setattr(checkpoint_rows, "PORTION_BYTES", 100)
    assert not checkpoints().delete_portion_sync([run.thread_id])


@pytest.mark.parametrize("portions", [1, 3, 6])
async def test_a_crash_between_two_portions_is_finished_by_the_next_sweep(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch, portions: int
) -> None:
    run = await large_thread(principal)
    await api.delete(f"/threads/{run.thread_id}")
    purge, done = services._purge_rows, []

    def crash(thread_ids: list[UUID]) -> list[UUID]:
        done.append(purge(thread_ids))
        if len(done) > portions:
            raise RuntimeError("killed")
        return done[-1]

    with monkeypatch.context() as context:
        context.setattr(services, "_purge_rows", crash)
        with pytest.raises(RuntimeError):
            await finish_removals()
    assert await in_db(ThreadTombstone.objects.count) == 1
    assert (await api.get(f"/threads/{run.thread_id}")).status_code == 404
    await finish_removals()
    assert await held() == {}
    assert await kept(run.thread_id) == 0


async def test_its_id_is_free_when_everything_is_gone(api: ApiClient, principal: Principal) -> None:
    run = await large_thread(principal)
    own = str(run.thread_id)
    await api.delete(f"/threads/{own}")
    for path, body in (
        ("/threads", {"thread_id": own, "if_exists": "do_nothing"}),
        (f"/threads/{own}/runs", {"assistant_id": "log", "if_not_exists": "create"}),
    ):
        answer = await api.post(path, json=body)
        assert (answer.status_code, "still being deleted" in answer.json()["detail"]) == (409, True)
    await finish_removals()
    made = await api.post("/threads", json={"thread_id": own, "metadata": {"graph_id": "ask_twice"}})
    assert made.status_code == 200
    assert (await api.get(f"/threads/{own}/state")).json()["values"] == {}


async def test_a_run_in_work_writes_nothing_more(api: ApiClient, principal: Principal) -> None:
    run = await large_thread(principal)
    later = await in_db(create, principal, "log", run.thread_id, input={"log": []})
    claimed = await in_db(claim, later)
    await api.delete(f"/threads/{run.thread_id}")
    await execute(claimed)
    await finish_removals()
    assert await held() == {}
    assert await kept(run.thread_id) == 0


async def test_many_threads_are_deleted_in_portions(api: ApiClient, principal: Principal) -> None:
    threads = [(await run_to_end(principal, "log", input={"log": []})).thread_id for _ in range(3)]
    body: dict[str, Any] = {"thread_ids": [str(thread) for thread in threads]}
    assert (await api.post("/threads/prune", json=body)).json() == {"pruned_count": 3}
    assert (await api.post("/threads/count", json={})).json() == 0
    await finish_removals()
    assert await held() == {}
    assert await in_db(lambda: (Thread.objects.count(), PendingInterrupt.objects.count())) == (0, 0)


@pytest.mark.skipif(IS_POSTGRES, reason="the spy watches the one writer that SQLite has")
async def test_a_portion_costs_the_same_statements_however_large_the_thread(
    api: ApiClient, principal: Principal
) -> None:
    counts = []
    for size in (RUNS, 4 * RUNS):
        run = await run_to_end(principal, "log", input={"log": []})
        ended = {"status": RunStatus.SUCCESS, "started_at": run.started_at, "finished_at": run.finished_at}
        place = {"workspace_id": principal.workspace_id, "thread_id": run.thread_id, "assistant_id": run.assistant_id}
        await in_db(Run.objects.bulk_create, [Run(**place, **ended, kwargs=run.kwargs) for _ in range(size)])
        async with spied_transactions() as seen:
            await api.delete(f"/threads/{run.thread_id}")
            await finish_removals()
        counts.append(max(transaction.statements for transaction in seen))
    assert counts[0] == counts[1]


async def test_a_change_of_state_that_comes_too_late_is_not_found(api: ApiClient, principal: Principal) -> None:
    run = await large_thread(principal)
    read = await state_loop().run(head_of_thread(await in_db(thread_for_state, principal, run.thread_id)))
    assert read is not None
    head = head_of(read.snapshot, read.output)
    async with editing(principal.workspace_id, run.thread_id) as edit:
        await api.delete(f"/threads/{run.thread_id}")
        with pytest.raises(NotFound):
            await in_db(thread_state_changed, edit, head)
    await finish_removals()
    assert await held() == {}
