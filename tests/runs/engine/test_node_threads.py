"""The pool of synchronous nodes knows whose work runs in it."""

import contextvars
import threading
from collections.abc import Iterator

import pytest

from platform_site.access.principal import Principal
from runs.cancel import run_cancel
from runs.engine.engine import Engine
from runs.engine.node_threads import NodeThreads, Work, current_work
from runs.models import Run
from tests.runs.conftest import Gate, create, ended, eventually
from tests.runs.graphs import script


@pytest.fixture
def pool(gate: Gate) -> Iterator[NodeThreads]:
    with NodeThreads(1) as made:
        yield made
        gate.open.set()


def submit_for(work: Work, pool: NodeThreads, *calls: object) -> list[object]:
    def submit() -> list[object]:
        current_work.set(work)
        return [pool.submit(call) for call in calls]  # type: ignore[arg-type]

    return contextvars.copy_context().run(submit)


def test_idle_at_once_without_calls() -> None:
    called = threading.Event()
    Work().when_idle(called.set)
    assert called.is_set()


def test_idle_when_the_last_call_has_returned(pool: NodeThreads, gate: Gate) -> None:
    work, called = Work(), threading.Event()
    submit_for(work, pool, gate.wait, lambda: None)
    work.when_idle(called.set)
    assert not called.is_set()
    gate.open.set()
    assert called.wait(10)


def test_call_that_was_cancelled_before_it_began_counts_no_more(pool: NodeThreads, gate: Gate) -> None:
    busy, work, called = Work(), Work(), threading.Event()
    submit_for(busy, pool, gate.wait)
    [waiting] = submit_for(work, pool, lambda: None)
    work.when_idle(called.set)
    assert waiting.cancel()  # type: ignore[attr-defined]
    assert called.is_set()


def test_calls_of_others_do_not_count(pool: NodeThreads, gate: Gate) -> None:
    work, called = Work(), threading.Event()
    submit_for(Work(), pool, gate.wait)
    work.when_idle(called.set)
    assert called.is_set()


def test_call_that_the_pool_refuses_does_not_count() -> None:
    pool, work, called = NodeThreads(1), Work(), threading.Event()
    pool.shutdown()
    with pytest.raises(RuntimeError):
        submit_for(work, pool, lambda: None)
    work.when_idle(called.set)
    assert called.is_set()


def test_cancelled_attempt_keeps_its_thread_until_its_synchronous_node_returns(
    principal: Principal, engine: Engine, gate: Gate
) -> None:
    with script("wait", gate.wait):
        run = create(principal, "scripted_thread", input={"do": "wait"})
        assert gate.reached.wait(10)
        following = create(principal, "log", run.thread_id, input={"log": []})
        run_cancel(principal, run.thread_id, run.run_id)
        eventually(lambda: engine._attempts[run.run_id].stopped_by)
        assert Run.objects.get(pk=run.pk).lease_owner is not None
        assert Run.objects.get(pk=following.pk).status == "pending"
        gate.open.set()
        assert ended(run).status == "interrupted"
        assert ended(following).status == "success"
