"""Calls of the official client with every parameter that it has: a new parameter of the package fails until it is used.

One test drives the asynchronous and the synchronous client through the same calls.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import UnprocessableEntityError

# What every method takes: a header that the server answers with, and a parameter that it does not know.
COMMON = {"headers": {"X-Request-Id": "of-the-sdk-tests"}, "params": {"unknown-parameter": "1"}}


@dataclass
class Covered:
    """A method of the client; streams are given as lists of their parts."""

    method: Callable[..., Any]
    used: set[str] = field(default_factory=set)

    async def __call__(self, **arguments: Any) -> Any:
        return await self._call(None, arguments)

    async def first(self, count: int, **arguments: Any) -> list[Any]:
        """The first parts of a stream that does not end by itself."""
        found: list[Any] = await self._call(count, arguments)
        return found

    async def refused(self, named: str, **arguments: Any) -> None:
        """The call is answered with 422, which names what is refused."""
        # The methods that wait raise the error of their HTTP library.
        with pytest.raises((UnprocessableEntityError, httpx.HTTPStatusError), match=named):
            await self._call(None, arguments)

    async def _call(self, count: int | None, arguments: dict[str, Any]) -> Any:
        known = inspect.signature(self.method).parameters
        arguments = {**{name: value for name, value in COMMON.items() if name in known}, **arguments}
        self.used |= arguments.keys()
        first = [
            arguments.pop(name)
            for name, parameter in known.items()
            if parameter.kind is parameter.POSITIONAL_ONLY and name in arguments
        ]
        if type(getattr(self.method, "__self__", None)).__name__.startswith("Sync"):
            return await asyncio.to_thread(self._in_thread, count, first, arguments)
        answer = self.method(*first, **arguments)
        if inspect.isawaitable(answer):
            answer = await answer
        return await _taken(answer, count) if isinstance(answer, AsyncIterator) else answer

    def _in_thread(self, count: int | None, first: list[Any], arguments: dict[str, Any]) -> Any:
        answer = self.method(*first, **arguments)
        return list(islice(answer, count)) if isinstance(answer, Iterator) else answer


async def _taken(parts: AsyncIterator[Any], count: int | None) -> list[Any]:
    taken: list[Any] = []
    async for part in parts:
        taken.append(part)
        if len(taken) == count:
            break
    return taken


@contextmanager
def every_parameter(method: Callable[..., Any]) -> Iterator[Covered]:
    """The method, to be called until every one of its parameters was used."""
    covered = Covered(method)
    yield covered
    unused = set(inspect.signature(method).parameters) - covered.used
    assert not unused, f"{method.__qualname__} has parameters that no call uses: {sorted(unused)}"


def public_methods(client: type) -> Iterable[str]:
    return [name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")]
