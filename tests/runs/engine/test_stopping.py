"""A run that is to end is asked until it has let go; what cannot be stopped leaves its slot to others."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from platform_site.access.principal import Principal
from platform_site.core.telemetry import metrics
from runs.cancel import run_cancel
from runs.engine import stopping
from runs.engine.engine import Engine
from runs.engine.stopping import Stopper
from runs.models import Run
from tests.runs.conftest import Gate, create, ended, eventually, run_to_end, use_engine
from tests.runs.graphs import script


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(stopping, "ASK_AGAIN_SECONDS", 0.01)
    settings.RUN_TIME_LIMIT_SECONDS = 0.2


class Stubborn:
    """A node that takes so many cancellations before it lets go, and then returns as if nothing had happened."""

    def __init__(self, swallows: int) -> None:
        self.left = swallows
        self.entered = threading.Event()

    async def __call__(self, *_: Any) -> str:
        self.entered.set()
        while self.left:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.left -= 1
        return "as if nothing had happened"


@pytest.mark.parametrize("swallows", [1, 5])
async def test_run_whose_node_swallows_cancellations_ends_with_timeout(principal: Principal, swallows: int) -> None:
    with script("stubborn", Stubborn(swallows)):
        run = await run_to_end(principal, "scripted", input={"do": "stubborn"})
    assert (run.status, run.error_class, run.thread.status) == ("timeout", "RunTimeout", "error")


async def test_graph_that_swallows_cancellations_while_it_is_made_ends_with_timeout(principal: Principal) -> None:
    class Factory(Stubborn):
        async def __aenter__(self) -> Any:
            from tests.runs.graphs import scripted

            await self()
            return scripted

        async def __aexit__(self, *_: object) -> None:
            pass

    with script("made slowly", lambda *_: Factory(3)):
        config = {"configurable": {"factory": "made slowly"}}
        run = await run_to_end(principal, "made", input={}, config=config)
    assert run.status == "timeout"


@pytest.fixture
def small_engine(
    principal: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[Callable[..., Engine]]:
    """An engine with one slot and one thread for nodes: `small_engine(grace=...)`."""
    started: list[Engine] = []

    def start(grace: float) -> Engine:
        settings.CONCURRENCY = 1
        settings.STOP_GRACE_SECONDS = grace
        engine = use_engine(monkeypatch, Engine())
        engine.start()
        started.append(engine)
        return engine

    yield start
    for engine in started:
        engine.drain(0)


def test_run_that_was_cancelled_is_asked_until_it_lets_go(
    principal: Principal, small_engine: Callable[..., Engine], settings: Any
) -> None:
    settings.RUN_TIME_LIMIT_SECONDS = 3600
    small_engine(grace=3600)
    node = Stubborn(5)
    with script("stubborn", node):
        run = create(principal, "scripted", input={"do": "stubborn"})
        assert node.entered.wait(30)
        run_cancel(principal, run.thread_id, run.run_id)
        assert ended(run).status == "interrupted"
    assert node.left == 0


@pytest.mark.parametrize("graph_id", ["scripted", "scripted_thread"])
def test_node_that_cannot_be_stopped_leaves_its_slot_to_others(
    principal: Principal,
    small_engine: Callable[..., Engine],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    graph_id: str,
) -> None:
    settings.RUN_TIME_LIMIT_SECONDS = 3600
    engine = small_engine(grace=0.1)
    release, entered = threading.Event(), threading.Event()
    given_up = metrics.SLOTS_GIVEN_UP._value.get()

    def stuck(*_: Any) -> Any:
        entered.set()
        return _swallow(release) if graph_id == "scripted" else release.wait(30)

    with script("stuck", stuck), caplog.at_level(logging.WARNING, "switchyard.runs"):
        run = create(principal, graph_id, input={"do": "stuck"})
        assert entered.wait(30)
        run_cancel(principal, run.thread_id, run.run_id)
        follower = create(principal, graph_id, run.thread_id, input={"do": "pass"})
        eventually(engine.has_room)
        with script("pass", lambda *_: "passed"):
            # Another thread's run gets slot and, where its node is synchronous, a thread of the pool.
            assert ended(create(principal, "scripted_thread", input={"do": "pass"})).status == "success"
            held, waits = Run.objects.get(pk=run.pk), Run.objects.get(pk=follower.pk)
            assert (held.finished_at, held.lease_owner is not None, waits.status) == (None, True, "pending")
            release.set()
            assert ended(run).status == "interrupted"
            assert ended(follower).status == "success"
    assert metrics.SLOTS_GIVEN_UP._value.get() == given_up + 1
    assert metrics.RUNS_STUCK._value.get() == 0
    eventually(lambda: engine.room() == 1)
    [line] = [record.getMessage() for record in caplog.records if "its slot is given to others" in record.message]
    assert str(run.run_id) in line
    assert "node work" in line


async def _swallow(release: threading.Event) -> str:
    while not release.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue
    return "released"


async def test_run_that_lets_go_in_time_keeps_its_slot(principal: Principal, gate: Gate, settings: Any) -> None:
    settings.STOP_GRACE_SECONDS = 3600
    given_up = metrics.SLOTS_GIVEN_UP._value.get()
    with script("pause", gate.pause):
        await run_to_end(principal, "scripted", input={"do": "pause"})
    assert metrics.SLOTS_GIVEN_UP._value.get() == given_up


async def test_stopper_asks_no_more_when_the_attempt_is_over() -> None:
    stuck: list[bool] = []
    stopper = Stopper(asyncio.get_running_loop().time() + 3600, 0.0, lambda: stuck.append(True))
    task = asyncio.create_task(asyncio.sleep(0))
    with stopper.watching(task):
        await task
    stopper.ask()
    stopper.over()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (task.cancelled(), stuck) == (False, [])
