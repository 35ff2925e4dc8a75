"""Loops beside one another: which one calls graphs, and context managers that are entered on another loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from platform_site.core import loops
from platform_site.core.loops import BackgroundLoop, call_graphs_on, entered_on, graph_loop, state_loop


@pytest.fixture
def other() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop("other")
    loop.start()
    yield loop
    loop.stop()


class Resource:
    """Keeps where it was entered and left, and what it saw."""

    def __init__(self, *, enters: BaseException | None = None, leaves: BaseException | None = None) -> None:
        self._enters, self._leaves = enters, leaves
        self.threads: list[str] = []
        self.tasks: list[asyncio.Task[None] | None] = []
        self.seen: BaseException | None = None
        self.is_left = threading.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        self._note()
        if self._enters:
            raise self._enters
        try:
            yield "made"
        except BaseException as error:
            self.seen = error
            raise
        finally:
            self._note()
            self.is_left.set()
            if self._leaves:
                raise self._leaves

    def _note(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.tasks.append(asyncio.current_task())


async def test_entered_and_left_on_the_other_loop_in_one_task(other: BackgroundLoop) -> None:
    resource = Resource()
    async with entered_on(other, resource.open()) as made:
        assert made == "made"
    assert resource.threads == ["other", "other"]
    assert resource.tasks[0] is resource.tasks[1]


async def test_error_while_entering_reaches_the_block(other: BackgroundLoop) -> None:
    with pytest.raises(ValueError, match="no way in"):
        async with entered_on(other, Resource(enters=ValueError("no way in")).open()):
            pytest.fail("the block ran")


async def test_error_while_leaving_reaches_the_block(other: BackgroundLoop) -> None:
    with pytest.raises(ValueError, match="no way out"):
        async with entered_on(other, Resource(leaves=ValueError("no way out")).open()):
            pass


async def test_error_of_the_block_is_seen_by_the_context_manager(other: BackgroundLoop) -> None:
    resource, error = Resource(), RuntimeError("in the block")
    with pytest.raises(RuntimeError, match="in the block"):
        async with entered_on(other, resource.open()):
            raise error
    assert resource.seen is error


async def test_cancelled_block_leaves_the_context_manager(other: BackgroundLoop) -> None:
    resource, is_in = Resource(), asyncio.Event()

    async def stay() -> None:
        async with entered_on(other, resource.open()):
            is_in.set()
            await asyncio.Event().wait()

    staying = asyncio.create_task(stay())
    await is_in.wait()
    staying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staying
    assert resource.is_left.is_set()


async def test_cancelled_while_entering_ends_what_is_entered(other: BackgroundLoop) -> None:
    begun, ended = threading.Event(), threading.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.set()

    async def enter() -> None:
        async with entered_on(other, slow()):
            pytest.fail("it was never entered")

    entering = asyncio.create_task(enter())
    await asyncio.to_thread(begun.wait)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await asyncio.to_thread(ended.wait)


def test_graphs_are_called_on_the_state_loop_where_no_run_is_executed(
    other: BackgroundLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "_graphs", None)
    assert graph_loop() is state_loop()
    call_graphs_on(other)
    assert graph_loop() is other
