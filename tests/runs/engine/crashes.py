"""Stories of runs whose process dies, told for every moment at which it may.

Each story runs a graph on real checkpoints. It is told once without a cut, to count the writes of the run in question,
then once for each of those writes with a process that dies just before it, and is taken up again. At last the process
dies after all of them, before the end of the run is written.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from runs.engine import queue
from runs.engine.attempt import Attempt
from runs.engine.claim import Claim
from runs.engine.endings import Ending
from runs.engine.lease import Lease
from runs.engine.stopping import Stop
from runs.models import Run
from tests.runs.conftest import claim, create, execute, run_to_end

NOBODY: Callable[[], str | None] = lambda: None  # noqa: E731


class CutLease(Lease):
    """The lease of a process that dies before its write number `after`."""

    def __init__(self, claimed: Claim, after: int | None) -> None:
        super().__init__(claimed)
        self.after = after
        self.writes = 0

    def holds(self) -> bool:
        if self.after is not None and self.writes >= self.after:
            self.lose()
        elif super().holds():
            self.writes += 1
        return super().holds()


class CutAttempt(Attempt):
    """An attempt whose process dies with its lease: LangGraph may go on to an end that is not written any more."""

    async def _finish(self, ending: Ending) -> list[Claim]:
        return [] if self.lease._lost else await super()._finish(ending)


async def cut_execute(claimed: Claim, after: int | None) -> int:
    """Execute an attempt whose process dies after `after` checkpoint writes; how many it made."""
    attempt = CutAttempt(claimed, NOBODY)
    attempt.lease = lease = CutLease(claimed, after)
    watch = asyncio.ensure_future(attempt.execute())
    while not watch.done():
        await asyncio.wait({watch}, timeout=0.002)
        if not lease._lost or lease.after is None:
            continue
        attempt.stop(Stop.LOST)
    await watch
    return lease.writes


class EndlessAttempt(Attempt):
    """The attempt of a process that dies when it is about to write the end of its run."""

    async def _finish(self, ending: Ending) -> list[Claim]:
        self.lease.lose()
        return []


async def dies_before_the_end(run: Run) -> Run:
    """Execute a run in a process that dies after the last checkpoint write, then in one that lives."""
    await EndlessAttempt(await in_db(claim, run), NOBODY).execute()
    await in_db(run.refresh_from_db)
    assert await in_db(queue.requeue_lost, run)
    await execute(await in_db(claim, run))
    return await row(run)


async def dies_and_recovers(run: Run, after: int) -> Run:
    """Execute a run in a process that dies after so many writes, then in one that lives."""
    await cut_execute(await in_db(claim, run), after)
    await in_db(run.refresh_from_db)
    if run.finished_at is None:
        assert await in_db(queue.requeue_lost, run)
        await execute(await in_db(claim, run))
    return await row(run)


async def row(run: Run) -> Run:
    return await in_db(lambda: Run.objects.select_related("thread").get(pk=run.pk))


Execute = Callable[[Run], Awaitable[Run]]
Story = Callable[[Principal, str, Execute], Awaitable[Any]]


async def _lives(run: Run) -> Run:
    await execute(await in_db(claim, run))
    return await row(run)


async def _count_writes(run: Run, writes: list[int]) -> Run:
    writes.append(await cut_execute(await in_db(claim, run), None))
    return await row(run)


async def tell(principal: Principal, story: Story, durability: str) -> None:
    """The story ends the same however many writes the process lived for."""
    writes: list[int] = []
    expected = await story(principal, durability, lambda run: _count_writes(run, writes))
    [count] = writes
    assert count > 0
    for after in range(count + 1):
        found = await story(principal, durability, lambda run, after=after: dies_and_recovers(run, after))  # type: ignore[misc]
        assert found == expected, f"died after {after} of {count} writes"
    assert await story(principal, durability, dies_before_the_end) == expected, "died before the end"


def thread_of(run: Run) -> dict[str, Any]:
    """What the end of the run left: status, values and the questions that are open."""
    thread = run.thread
    values = thread.values or {}
    questions = sorted(item["value"] for items in (thread.interrupts or {}).values() for item in items)
    return {"run": run.status, "log": values.get("log"), "thread": thread.status, "open": questions}


async def begin(principal: Principal, graph_id: str, **fields: Any) -> UUID:
    return (await run_to_end(principal, graph_id, input={"log": []}, **fields)).thread_id


async def go_on(principal: Principal, graph_id: str, thread_id: UUID, execute: Execute, **fields: Any) -> Run:
    return await execute(await in_db(create, principal, graph_id, thread_id, **fields))


async def answers(principal: Principal, graph_id: str, thread_id: UUID, *words: str) -> dict[str, Any]:
    """Answer what is open, one word a run; the end."""
    for word in words:
        run = await run_to_end(principal, graph_id, thread_id, command={"resume": word})
    return thread_of(run)
