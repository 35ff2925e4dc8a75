"""The sweep of threads whose time is over: what goes, what stays, and who may be in its way."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import feed_of
from runs.engine.engine import Engine
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import claim, create, ended, eventually, execute, run_to_end, table_counts
from tests.runs.conftest import engine as engine
from tests.threads.test_delete import TABLES, kept
from threads import expiry
from threads.expiry import Expiry, sweep_threads
from threads.models import Thread
from threads.state_changes import state_update

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _constraints_hold(transactional_db: None) -> Iterator[None]:
    yield
    connection.check_constraints()


async def give(run: Run, minutes: float, strategy: str = "delete") -> datetime:
    """Give the run's thread a time to live; when it is over."""
    thread = await in_db(Thread.objects.get, pk=run.thread_id)
    end = thread.updated_at + timedelta(minutes=minutes)
    fields = {"ttl_minutes": minutes, "ttl_strategy": strategy, "expires_at": end}
    await in_db(lambda: Thread.objects.filter(pk=run.thread_id).update(**fields))
    return end


async def exists(run: Run) -> bool:
    found: bool = await in_db(lambda: Thread.objects.filter(pk=run.thread_id).exists())
    return found


async def end_of(run: Run) -> datetime | None:
    thread: Thread = await in_db(Thread.objects.get, pk=run.thread_id)
    return thread.expires_at


# --- delete ---------------------------------------------------------------------------------------------


async def test_thread_is_there_until_its_time_is_over(principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    end = await give(run, 60)
    assert await sweep_threads(end - timedelta(seconds=1)) == {}
    assert await exists(run)
    assert await sweep_threads(end) == {Expiry.DELETED: 1}
    assert not await exists(run)


async def test_nothing_is_left(principal: Principal) -> None:
    run = await run_to_end(principal, "ask_twice", input={"log": []}, metadata={"a": 1})
    await run_to_end(principal, "ask_twice", run.thread_id, command={"resume": 1})
    await sweep_threads(await give(run, 60))
    assert await in_db(table_counts, *TABLES) == dict.fromkeys(TABLES, 0)
    assert await kept(run.thread_id) == 0


async def test_thread_without_a_time_lives_for_ever(principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    assert await sweep_threads(timezone.now() + 10_000 * HOUR) == {}
    assert await exists(run)


async def test_thread_that_was_used_lives_on(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    end = await give(run, 60)
    used = end + timedelta(seconds=30)
    await in_db(lambda: Thread.objects.filter(pk=run.thread_id).update(updated_at=used))
    assert await sweep_threads(end) == {Expiry.USED: 1}
    # Not looked at again before it may be over.
    assert await sweep_threads(end) == {}
    assert await sweep_threads(used + HOUR) == {Expiry.DELETED: 1}


async def test_thread_that_waits_for_a_person_goes(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_twice", input={"log": []})
    assert (await in_db(Thread.objects.get, pk=run.thread_id)).status == "interrupted"
    assert await sweep_threads(await give(run, 60)) == {Expiry.DELETED: 1}
    answer = await api.post(
        f"/threads/{run.thread_id}/runs", json={"assistant_id": "ask_twice", "command": {"resume": 1}}
    )
    assert answer.status_code == 404


@pytest.mark.parametrize("claimed", [False, True])
async def test_thread_is_not_taken_from_under_a_run(principal: Principal, claimed: bool) -> None:
    run = await in_db(create, principal, "log", input={"log": []})
    end = await give(run, 60)
    if claimed:
        attempt = await in_db(claim, run)
    assert await sweep_threads(end + 100 * HOUR) == {}
    assert await exists(run)
    await execute(attempt if claimed else await in_db(claim, run))
    # Its time begins when the run ends, however long ago it began.
    ended_at = (await in_db(Thread.objects.get, pk=run.thread_id)).updated_at
    assert await sweep_threads(max(end, ended_at + HOUR)) == {Expiry.DELETED: 1}


async def test_delayed_run_keeps_its_thread(principal: Principal) -> None:
    run = await in_db(create, principal, "log", input={"log": []}, after_seconds=7200)
    assert await sweep_threads(await give(run, 1)) == {}


async def test_streams_of_the_thread_end(principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    async with event_log().follow(feed_of(run.workspace_id, run.thread_id), None) as stream:
        await sweep_threads(await give(run, 60))
        while (await stream.batch(10)) is not None:
            pass


async def test_the_longest_over_go_first(principal: Principal) -> None:
    runs = [await run_to_end(principal, "log", input={"log": []}) for _ in range(3)]
    ends = [await give(run, minutes) for run, minutes in zip(runs, (30, 10, 20), strict=True)]
    assert await sweep_threads(max(ends), limit=2) == {Expiry.DELETED: 2}
    assert [await exists(run) for run in runs] == [True, False, False]


async def test_thread_that_cannot_be_swept_holds_up_no_other(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [await run_to_end(principal, "log", input={"log": []}) for _ in range(2)]
    ends = [await give(run, 60) for run in runs]
    delete = expiry._delete_or_claim

    def broken(thread_id: UUID, now: datetime) -> Expiry:
        if thread_id == runs[0].thread_id:
            raise RuntimeError("no luck")
        return delete(thread_id, now)

    monkeypatch.setattr(expiry, "_delete_or_claim", broken)
    with pytest.raises(RuntimeError, match="no luck"):
        await sweep_threads(max(ends))
    assert [await exists(run) for run in runs] == [True, False]


async def test_threads_that_cannot_be_swept_do_not_fill_every_sweep(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [await run_to_end(principal, "log", input={"log": []}) for _ in range(2)]
    ends = [await give(run, minutes) for run, minutes in zip(runs, (30, 60), strict=True)]

    def broken(thread_id: UUID, now: datetime) -> Expiry:
        raise RuntimeError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr(expiry, "_delete_or_claim", broken)
        with pytest.raises(RuntimeError, match="no luck"):
            await sweep_threads(max(ends), limit=1)
    assert await sweep_threads(max(ends), limit=1) == {Expiry.DELETED: 1}
    assert [await exists(run) for run in runs] == [True, False]
    assert await sweep_threads(max(ends) + expiry.AGAIN) == {Expiry.DELETED: 1}


# --- keep_latest -----------------------------------------------------------------------------------------


async def test_keep_latest_keeps_the_state_and_begins_anew(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    end = await give(run, 60, "keep_latest")
    assert await sweep_threads(end) == {Expiry.PRUNED: 1}
    assert await kept(run.thread_id) == 1
    assert (await api.get(f"/threads/{run.thread_id}/state")).json()["values"] == {"log": ["one", "two"]}
    assert [row["run_id"] for row in (await api.get(f"/threads/{run.thread_id}/runs")).json()] == [str(run.run_id)]
    assert await end_of(run) == end + HOUR
    shown = (await api.get(f"/threads/{run.thread_id}?include=ttl")).json()
    assert datetime.fromisoformat(shown["ttl"]["expires_at"]) == end + HOUR
    assert await sweep_threads(end + HOUR) == {Expiry.PRUNED: 1}


async def test_pruned_thread_goes_on(principal: Principal) -> None:
    run = await run_to_end(principal, "ask_twice", input={"log": []})
    await sweep_threads(await give(run, 60, "keep_latest"))
    await run_to_end(principal, "ask_twice", run.thread_id, command={"resume": 1})
    again = await run_to_end(principal, "ask_twice", run.thread_id, command={"resume": 2})
    assert again.thread.values == {"log": [1, 2]}


async def test_pruning_that_a_crash_cut_off_is_done_later(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    end = await give(run, 60, "keep_latest")

    async def crash(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(type(checkpoints()), "keep_latest", crash)
        with pytest.raises(RuntimeError, match="killed"):
            await sweep_threads(end)
    assert await sweep_threads(end) == {}
    assert await sweep_threads(end + expiry.AGAIN) == {Expiry.PRUNED: 1}
    assert await kept(run.thread_id) == 1


# --- At the same moment ----------------------------------------------------------------------------------


async def test_two_sweeps_at_once_do_each_thread_once(principal: Principal) -> None:
    runs = [await run_to_end(principal, "log", input={"log": []}) for _ in range(8)]
    ends = [await give(run, 60, "keep_latest" if odd % 2 else "delete") for odd, run in enumerate(runs)]
    swept = await asyncio.gather(*(sweep_threads(max(ends)) for _ in range(3)))
    done = sum(swept[1:], swept[0])
    assert (done[Expiry.DELETED], done[Expiry.PRUNED]) == (4, 4)
    assert [await exists(run) for run in runs] == [False, True] * 4


async def test_runs_and_updates_that_come_during_sweeps(api: ApiClient, principal: Principal, engine: Engine) -> None:
    """Each is refused, or has its effect: and of a thread that went nothing is left."""
    threads = [uuid4() for _ in range(12)]
    fields = {"ttl": {"ttl": 60}, "metadata": {"graph_id": "log"}}
    for thread_id in threads:
        await api.post("/threads", json={"thread_id": str(thread_id), **fields})

    async def use(thread_id: UUID) -> None:
        for _ in range(3):
            run = await api.post(f"/threads/{thread_id}/runs", json={"assistant_id": "log", "input": {"log": []}})
            assert run.status_code in (200, 404)
            update = await api.post(f"/threads/{thread_id}/state", json={"values": {"log": ["by hand"]}})
            assert update.status_code in (200, 404, 409)

    async def sweep() -> None:
        # Everything that is not at work is over.
        for _ in range(30):
            await sweep_threads(timezone.now() + 10 * HOUR)
            await asyncio.sleep(0.005)

    await asyncio.gather(*map(use, threads), sweep())
    await asyncio.to_thread(eventually, lambda: engine.active == 0)
    left = set(await in_db(lambda: list(Thread.objects.values_list("pk", flat=True))))
    assert [await kept(thread_id) for thread_id in threads if thread_id not in left] == [0] * (12 - len(left))
    for run in await in_db(lambda: list(Run.objects.all())):
        assert (await asyncio.to_thread(ended, run)).status == "success"
    await sweep_threads(timezone.now() + 10 * HOUR)
    assert await in_db(table_counts, *TABLES) == dict.fromkeys(TABLES, 0)
    assert [await kept(thread_id) for thread_id in threads] == [0] * 12


async def test_change_of_state_that_meets_the_delete_is_refused_and_leaves_nothing(
    api: ApiClient, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    end = await give(run, 60)

    async def late(*args: Any) -> Any:
        await sweep_threads(end)
        return await state_update(*args)

    monkeypatch.setattr("threads.api.state_update", late)
    answer = await api.post(f"/threads/{run.thread_id}/state", json={"values": {"log": ["late"]}})
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {run.thread_id} not found")
    assert await kept(run.thread_id) == 0
