"""What a thread's stream tells of runs that end otherwise than by themselves, and to whom it tells nothing."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.errors import Unprocessable
from runs.engine.attempt import Attempt
from runs.engine.endings import Ending
from runs.engine.stopping import Stop
from runs.models import RunStatus
from runs.streaming.thread_stream import ThreadEvents, Wanted, state_posted
from tests.runs.conftest import Gate, claim, create, execute, loads
from tests.runs.graphs import script
from threads.models import Thread
from threads.services import thread_delete

Told = list[tuple[str, Any]]


async def new_thread(principal: Principal) -> UUID:
    thread = await in_db(Thread.objects.create, workspace_id=principal.workspace_id)
    return thread.thread_id


async def told(events: ThreadEvents) -> Told:
    """Everything that waits."""
    found = []
    while batch := await events.batch(0.05):
        found += [(event.name, loads(event.data)) for event in batch]
    return found


def done(run_id: UUID) -> tuple[str, dict[str, str]]:
    return "metadata", {"status": "run_done", "run_id": str(run_id)}


async def test_a_run_is_told_with_its_beginning_and_its_end(principal: Principal) -> None:
    thread = await new_thread(principal)
    async with ThreadEvents(principal.workspace_id, thread, None) as events:
        run = await in_db(create, principal, "log", thread, input={"log": []})
        await execute(await in_db(claim, run))
        heard = await told(events)
    assert heard[0] == ("metadata", {"run_id": str(run.run_id), "attempt": 1})
    assert heard[1] == ("values", {"log": []})
    assert heard[-1] == done(run.run_id)


async def test_other_workspaces_hear_nothing(principal: Principal) -> None:
    thread = await new_thread(principal)
    async with ThreadEvents(principal.workspace_id + 1, thread, "-") as events:
        run = await in_db(create, principal, "log", thread, input={"log": []}, stream_resumable=True)
        await execute(await in_db(claim, run))
        state_posted(principal.workspace_id, thread, dict)
        assert await told(events) == []


async def test_a_run_that_is_given_back_has_not_ended(principal: Principal, gate: Gate) -> None:
    thread = await new_thread(principal)
    async with ThreadEvents(principal.workspace_id, thread, None) as events:
        with script("pause", gate.pause):
            run = await in_db(create, principal, "scripted", thread, input={"do": "pause"})
            attempt = Attempt(await in_db(claim, run), lambda: None)
            execution = asyncio.ensure_future(attempt.execute())
            assert await asyncio.to_thread(gate.reached.wait, 10)
            attempt.stop(Stop.DRAIN)
            await execution
        heard = await told(events)
    assert heard[-1][0] == "error"
    assert heard[-1][1]["error"] == "ServerShutdown"


async def test_a_run_that_is_given_up_has_ended(principal: Principal) -> None:
    thread = await new_thread(principal)
    async with ThreadEvents(principal.workspace_id, thread, None) as events:
        run = await in_db(create, principal, "log", thread)
        error = {"error": "WorkerLost", "message": "gone"}
        await Attempt(await in_db(claim, run), lambda: None).abandon(Ending(RunStatus.ERROR, error=error))
        assert await told(events) == [("error", error), done(run.run_id)]


async def test_the_deletion_of_the_thread_ends_the_stream(principal: Principal) -> None:
    thread = await new_thread(principal)
    async with ThreadEvents(principal.workspace_id, thread, None) as events:
        await in_db(create, principal, "log", thread)
        await in_db(thread_delete, principal, thread)
        assert await events.batch(5) is None


async def test_a_state_is_made_for_the_wire_only_if_somebody_listens(principal: Principal) -> None:
    def made() -> dict[str, Any]:
        raise AssertionError("nobody asked")

    state_posted(principal.workspace_id, uuid4(), made)


@pytest.mark.parametrize(
    ("modes", "heard"),
    [
        ([], {"metadata", "values", "error", "messages", "custom"}),
        (["run_modes"], {"metadata", "values", "error", "messages", "custom"}),
        (["lifecycle"], {"metadata"}),
        (["state_update"], {"state_update"}),
        (["state_update", "lifecycle"], {"state_update", "metadata"}),
    ],
)
def test_what_each_mode_lets_through(modes: list[str], heard: set[str]) -> None:
    kinds = {"metadata", "values", "error", "messages", "custom", "state_update"}
    assert {kind for kind in kinds if kind in Wanted(modes)} == heard


def test_a_mode_that_is_none() -> None:
    with pytest.raises(Unprocessable, match="Invalid stream mode: zzz"):
        Wanted(["lifecycle", "zzz"])
