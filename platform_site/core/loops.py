"""Event loops on threads of their own, so that a badly written graph cannot stop the HTTP server."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
logger = logging.getLogger("switchyard.loops")


class BackgroundLoop:
    """An event loop that runs on a daemon thread from `start` to `stop`."""

    def __init__(self, name: str, executor: Callable[[], ThreadPoolExecutor] | None = None) -> None:
        self.name = name
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._executor = executor
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._ready = threading.Event()
        self._stopping = False

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        if self._executor is not None:
            self.loop.set_default_executor(self._executor())
        self.loop.call_soon(self._ready.set)
        while not self._stopping:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # A node that calls `sys.exit` ends its own run, not everybody's.
                logger.warning("a task on the %s loop asked the process to exit; it goes on", self.name)

    def stop(self) -> None:
        """Stop the loop; tasks that still run on it are dropped."""
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on this loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    @property
    def is_current(self) -> bool:
        """Whether the code that asks runs on this loop."""
        return asyncio.get_running_loop() is self.loop

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this loop and await its result on the caller's."""
        return await asyncio.wrap_future(self.submit(coroutine))


@cache
def state_loop() -> BackgroundLoop:
    """Return the loop on which thread states are read, where no node of a run can block the reading."""
    loop = BackgroundLoop("state")
    loop.start()
    return loop


_graphs: BackgroundLoop | None = None


def graph_loop() -> BackgroundLoop:
    """Return the one loop of this process on which asynchronous code of the project is called.

    What such code keeps in its modules (clients, pools, locks) belongs to the loop on which it was first used. The one
    loop is that of the runs; in a process that executes none it is the state loop.
    """
    return _graphs or state_loop()


def call_graphs_on(loop: BackgroundLoop | None) -> None:
    """Make this loop the one of `graph_loop`, None for the state loop."""
    global _graphs
    _graphs = loop


@asynccontextmanager
async def entered_on(loop: BackgroundLoop, making: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context manager on another loop, in one task there; the block runs on the current loop.

    An exception of the block is raised in that task, too, so that the context manager sees it.
    """
    made: Future[T] = Future()
    over: Future[None] = Future()
    holding = asyncio.wrap_future(loop.submit(_hold(making, made, over)))
    try:
        value = await asyncio.wrap_future(made)
    except BaseException:
        holding.cancel()
        raise
    try:
        yield value
    except BaseException as error:
        over.set_exception(error)
        # What leaving raises instead takes the place of the block's exception.
        await holding
        raise
    over.set_result(None)
    await holding


async def _hold(making: AbstractAsyncContextManager[T], made: Future[T], over: Future[None]) -> None:
    try:
        async with making as value:
            made.set_result(value)
            await asyncio.wrap_future(over)
    except BaseException as error:
        if made.done():
            raise
        made.set_exception(error)
