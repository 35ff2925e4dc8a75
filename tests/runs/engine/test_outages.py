"""Attempts whose database is locked or away for a while: no run fails by it, and no reader is told a wrong end."""

from typing import Any

import psycopg
import pytest
from django.db import OperationalError

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.database.unavailable import DatabaseAway, DatabaseBusy
from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import Event, Subscription
from runs.engine import attempt as executor
from runs.engine import own_writes
from runs.engine import start as attempt_module
from runs.engine.attempt import Attempt
from runs.engine.finish import finish, flush_spans
from runs.engine.queue import release, save_baseline
from runs.engine.stopping import Stop
from tests.runs.conftest import Gate, claim, create, execute, loads, run_to_end
from tests.runs.engine.test_attempt import outcome, paused, raises, row
from tests.runs.graphs import script


def locked(times: int, write: Any) -> Any:
    """The write, whose first calls meet a lock of another session."""
    left = [times]

    def attempted(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OperationalError("canceled") from psycopg.errors.LockNotAvailable("canceling statement")
        return write(*args, **kwargs)

    return attempted


# More often than a database that is away is waited for.
OFTEN = 3 * len(own_writes.RETRY_SECONDS)


async def test_a_lock_fails_no_run_however_long_it_is_held(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_writes, "LOCKED_PAUSE_SECONDS", 0)
    monkeypatch.setattr(executor, "finish", locked(OFTEN, finish))
    monkeypatch.setattr(attempt_module, "save_baseline", locked(OFTEN, save_baseline))
    run = await run_to_end(principal, "log", command={"update": {"log": ["in"]}})
    assert (run.status, run.attempt) == ("success", 1)


async def test_a_drained_run_is_given_back_though_it_was_locked(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setattr(own_writes, "LOCKED_PAUSE_SECONDS", 0)
    monkeypatch.setattr(executor, "release", locked(OFTEN, release))
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        attempt.stop(Stop.DRAIN)
        await execution
    run = await row(attempt)
    assert (run.status, run.attempt, run.lease_owner) == ("pending", 0, None)


async def test_spans_that_met_a_lock_are_stored_later(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "flush_spans", locked(1, flush_spans))
    run = await in_db(create, principal, "log", input={"log": []})
    attempt = Attempt(await in_db(claim, run), lambda: None)
    refused: list[type[Exception]] = []

    async def flush_at_the_end(*args: Any) -> Any:
        try:
            await attempt.flush_spans()
        except OperationalError as error:
            refused.append(type(error))
        return await settle(*args)

    settle = attempt._settle
    monkeypatch.setattr(attempt, "_settle", flush_at_the_end)
    await attempt.execute()
    names = await in_db(lambda: sorted(run.spans.values_list("name", flat=True)))
    assert (refused, names) == ([OperationalError], ["one", "two"])


@pytest.mark.parametrize("error", [DatabaseAway("gone"), DatabaseBusy("locked")], ids=["away", "busy"])
async def test_readers_of_a_run_stay_until_the_attempt_after_an_outage(principal: Principal, error: Exception) -> None:
    with script("fail", raises(error)):
        run = await in_db(create, principal, "scripted", input={"do": "fail"})
        reader = event_log().subscribe(str(run.run_id), "0")
        await execute(await in_db(claim, run))
    await in_db(run.refresh_from_db)
    assert (run.status, run.attempt, run.lease_owner) == ("pending", 0, None)
    assert not await event_log().is_closed(str(run.run_id))

    with script("fail", lambda *_: "passed"):
        await execute(await in_db(claim, run))

    told = [event.name for batch in await batches(reader) for event in batch]
    assert told.count("metadata") == 2
    assert "error" not in told
    assert loads(reader.outcome or b"") == await outcome(run)
    await in_db(run.refresh_from_db)
    assert (run.status, run.attempt) == ("success", 1)


async def batches(reader: Subscription) -> list[list[Event]]:
    found = []
    while batch := await reader.batch(5):
        found.append(batch)
    return found


async def test_a_run_that_was_left_by_a_drain_is_heard_in_its_next_attempt(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        attempt.stop(Stop.DRAIN)
        await execution
        gate.open.set()
        await execute(await in_db(claim, await row(attempt)))
    run = await row(attempt)
    assert run.status == "success"
    assert "__error__" not in await outcome(run)
