"""A process does not grow with the runs that it has executed: nothing of them stays once their events have expired."""

import asyncio
import gc
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ReferenceType

import pytest

from platform_site.access.principal import Principal
from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import BEGIN
from platform_site.core.events.memory import MemoryEventLog
from runs.cancel import run_cancel
from runs.engine.engine import Engine
from runs.models import Run
from tests.runs.conftest import create, ended, eventually
from tests.runs.graphs import script
from threads.services import thread_delete

WARM_UP, RUNS = 20, 40


@pytest.fixture
def log() -> Iterator[MemoryEventLog]:
    """The event log of this process, a new one."""
    event_log.cache_clear()
    made = event_log()
    assert isinstance(made, MemoryEventLog)
    yield made
    event_log.cache_clear()


class Memory:
    """What lives in this process: how many objects of each kind, and how much each container holds."""

    def __init__(self) -> None:
        gc.collect()
        alive = gc.get_objects()
        # Weak references are left out: a connection of SQLite keeps those of its last two hundred cursors. An object is
        # not asked for its class: lazy ones would be made for the answer.
        self.kinds = Counter(type(each) for each in alive if not issubclass(type(each), ReferenceType))
        self.containers = {
            id(each): each for each in alive if type(each) in (dict, list, set, deque) and not _is_of_cursors(each)
        }
        self.sizes = {number: len(each) for number, each in self.containers.items()}

    def grown_since(self, before: "Memory") -> dict[str, int]:
        """Return by how much what there was before has grown, as far as each run may have its part in it."""
        kinds = {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in (self.kinds - before.kinds).items()}
        containers = {
            f"a {type(each).__name__} of {len(each)}": len(each) - before.sizes[number]
            for number, each in before.containers.items()
        }
        return {name: growth for name, growth in {**kinds, **containers}.items() if growth >= RUNS * 0.9}


def _is_of_cursors(container: Any) -> bool:
    return type(container) is list and any(issubclass(type(one), ReferenceType) for one in container)


async def read(log: MemoryEventLog, run_id: str) -> int:
    """Read the events of a run to their end; how many there were."""
    count = 0
    async with log.subscribe(run_id, BEGIN) as events:
        while (batch := await events.batch(None)) is not None:
            count += len(batch)
    return count


def succeed(principal: Principal, log: MemoryEventLog) -> None:
    """A run on a thread, whose events are read; then the thread is deleted."""
    run = create(principal, "log", input={"log": []}, stream_mode=["values", "updates"], stream_resumable=True)
    assert asyncio.run(read(log, str(run.run_id))) > 1
    assert ended(run).status == "success"
    thread_delete(principal, run.thread_id)


def fail(principal: Principal, log: MemoryEventLog) -> None:
    """A stateless run whose node raises."""
    run = create(principal, "scripted", new=False, input={"do": "raise"}, on_completion="keep")
    assert ended(run).status == "error"


def be_cancelled(principal: Principal, log: MemoryEventLog) -> None:
    """A run on a thread that is cancelled while its node waits."""
    run = create(principal, "scripted", input={"do": "wait"})
    eventually(lambda: Run.objects.filter(pk=run.pk, started_at__isnull=False).exists())
    run_cancel(principal, run.thread_id, run.run_id)
    assert ended(run).status == "interrupted"


async def _wait(*_: Any) -> None:
    await asyncio.Event().wait()


def _raise(*_: Any) -> None:
    raise ValueError("no")


@pytest.mark.parametrize("visit", [succeed, fail, be_cancelled])
def test_nothing_of_a_run_stays_in_memory_once_its_events_have_expired(
    principal: Principal,
    engine: Engine,
    log: MemoryEventLog,
    caplog: pytest.LogCaptureFixture,
    visit: Callable[[Principal, MemoryEventLog], None],
) -> None:
    # Of what is logged pytest keeps exceptions with all of their frames.
    caplog.set_level(logging.CRITICAL, "switchyard.runs")

    def visits(count: int) -> Memory:
        for _ in range(count):
            visit(principal, log)
        eventually(lambda: not engine.active)
        ahead = 2 * (log.clock() - real() + 1e6)
        log.clock = lambda: real() + ahead
        log.expire()
        assert log.kept == 0
        return Memory()

    real = log.clock
    with script("raise", _raise), script("wait", _wait):
        before = visits(WARM_UP)
        after = visits(RUNS)

    assert after.grown_since(before) == {}
