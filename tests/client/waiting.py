"""Waiting for what a server does in its own time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.live import Client


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not come true in {seconds} s")
        await asyncio.sleep(0.02)


async def until_over(client: Client, thread: str, run: str, seconds: float = 30) -> str:
    """The final status of the run, once it has one."""
    status = ""

    async def is_over() -> bool:
        nonlocal status
        status = (await client.runs.get(thread, run))["status"]
        return status not in ("pending", "running")

    await until(is_over, seconds)
    return status
