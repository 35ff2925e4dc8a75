"""Event loops on threads of their own, so that a badly written graph cannot stop the HTTP server."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
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

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this loop and await its result on the caller's."""
        return await asyncio.wrap_future(self.submit(coroutine))


@cache
def state_loop() -> BackgroundLoop:
    """The loop for reading and changing thread state, where no node of a run can block it."""
    loop = BackgroundLoop("state")
    loop.start()
    return loop
