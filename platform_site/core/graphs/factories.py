"""Graphs that are made for every use: functions that take the run's config and/or the server's runtime.

A factory may be synchronous or asynchronous and may give the graph, a builder, or a context manager around either.
"""

import asyncio
import contextlib
import functools
import inspect
import re
import typing
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime, _ExecutionRuntime, _ReadRuntime

from platform_site.core.graphs.context import factory_context
from platform_site.core.graphs.loading import GraphError
from platform_site.core.loops import BackgroundLoop, entered_on

Access = Literal["run", "update", "read", "inspect"]

_ACCESS_CONTEXTS: dict[Access, AccessContext] = {
    "run": "threads.create_run",
    "update": "threads.update",
    "read": "threads.read",
    "inspect": "assistants.read",
}
_CONFIG_NAMES = ("config", "cfg", "runnable_config")
_RUNTIME_NAMES = ("runtime", "server_runtime")
_RUNTIME_TYPES = re.compile(r"\b(ServerRuntime|_ExecutionRuntime|_ReadRuntime|Runtime)\b")


@dataclass(frozen=True)
class Factory:
    """A function that makes a graph, and what it asks for: parameter name -> what is passed."""

    function: Callable[..., Any]
    arguments: dict[str, Literal["config", "runtime"]]
    # The context type named by `ServerRuntime[Context]`.
    context_type: Any = None

    @contextlib.asynccontextmanager
    async def make(
        self,
        config: RunnableConfig,
        *,
        access: Access,
        store: BaseStore | None,
        context: Any,
        loop: BackgroundLoop | None = None,
    ) -> AsyncIterator[Any]:
        """Yield what the function gives. A context manager is entered, and left at the end of the block.

        Asynchronous code is called on `loop`, or on the current loop if `loop` is None. Synchronous code is called in a
        thread of the current loop, so it waits for no other loop.
        """
        given = {"config": config, "runtime": None}
        if "runtime" in self.arguments.values():
            given["runtime"] = self._runtime(config, access, store, context)
        values = {name: given[what] for name, what in self.arguments.items()}
        positional = [values.pop(name) for name in self._positional_only() if name in values]
        calling = functools.partial(self.function, *positional, **values)
        function = inspect.unwrap(self.function)
        if not (inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)):
            # It may read files or call services: never on a loop that runs other graphs.
            made = await asyncio.to_thread(_without_stop_iteration, calling)
            calling = functools.partial(_itself, made)
            if not (inspect.isawaitable(made) or isinstance(made, contextlib.AbstractAsyncContextManager)):
                loop = None
        making = _entered_at_once(calling)
        async with making if loop is None else entered_on(loop, making) as graph:
            yield graph

    def _positional_only(self) -> list[str]:
        parameters = inspect.signature(self.function).parameters.values()
        return [item.name for item in parameters if item.kind is inspect.Parameter.POSITIONAL_ONLY]

    def _runtime(self, config: RunnableConfig, access: Access, store: BaseStore | None, context: Any) -> Any:
        user = (config.get("configurable") or {}).get("langgraph_auth_user")
        # A factory that only shows its structure may still touch the store: an empty one answers.
        store = store if store is not None else InMemoryStore()
        if access != "run":
            return _ReadRuntime(access_context=_ACCESS_CONTEXTS[access], user=user, store=store)
        if isinstance(context, Mapping):
            context = factory_context(self.context_type, context)
        return _ExecutionRuntime(access_context=_ACCESS_CONTEXTS[access], user=user, store=store, context=context)


def _without_stop_iteration(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        # No future can carry it: whoever waits for this thread would wait for ever.
        raise RuntimeError("the function that makes the graph raised StopIteration") from error


def factory(function: Callable[..., Any]) -> Factory:
    """The factory that `function` is. Raises GraphError for parameters that nothing can be passed for.

    A parameter is recognised by its annotation, then by its name; of the others the first gets the config and the
    second the runtime, unless they have defaults.
    """
    target: Any = function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
    hints = _hints(inspect.unwrap(target))
    arguments: dict[str, Literal["config", "runtime"]] = {}
    context_type = None
    unknown = []
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        # A class without a signature, such as a TypedDict.
        raise GraphError(f"expected a graph or a function that makes one, not {function!r}") from None
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        what = _wanted(parameter.name, hints.get(parameter.name, parameter.annotation))
        if what:
            arguments[parameter.name] = what
            context_type = context_type or _context_type(hints.get(parameter.name))
        elif parameter.default is inspect.Parameter.empty:
            unknown.append(parameter.name)
    left: list[Literal["config", "runtime"]] = [
        what for what in typing.get_args(Literal["config", "runtime"]) if what not in arguments.values()
    ]
    if len(unknown) > len(left):
        raise GraphError(
            f"the function has parameters that nothing can be passed for: {', '.join(unknown)}; expected at most "
            "`config: RunnableConfig` and `runtime: ServerRuntime`"
        )
    return Factory(function, arguments | dict(zip(unknown, left, strict=False)), context_type)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:
        # Names that exist for the type checker only: the annotations stay strings.
        return dict(getattr(function, "__annotations__", {}))


def _wanted(name: str, annotation: Any) -> Literal["config", "runtime"] | None:
    text = annotation if isinstance(annotation, str) else _type_text(annotation)
    if _RUNTIME_TYPES.search(text):
        return "runtime"
    if text in ("dict", "Dict", "Mapping") or "RunnableConfig" in text:
        return "config"
    if name in _RUNTIME_NAMES:
        return "runtime"
    return "config" if name in _CONFIG_NAMES else None


def _type_text(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    if annotation is ServerRuntime or typing.get_origin(annotation) is ServerRuntime:
        return "ServerRuntime"
    if typing.get_origin(annotation) in (dict, Mapping):
        return "dict"
    return getattr(annotation, "__name__", None) or str(annotation)


def _context_type(annotation: Any) -> Any:
    if typing.get_origin(annotation) is ServerRuntime:
        return next(iter(typing.get_args(annotation)), None)
    return None


def _itself(made: Any) -> Any:
    return made


@contextlib.asynccontextmanager
async def _entered_at_once(calling: Callable[[], Any]) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:
        yield await _entered(calling(), stack)


async def _entered(made: Any, stack: contextlib.AsyncExitStack) -> Any:
    if inspect.isasyncgen(made) or inspect.isgenerator(made):
        raise GraphError(
            "the function yields the graph but is no context manager; expected it under "
            "`@contextlib.asynccontextmanager` or `@contextlib.contextmanager`"
        )
    if inspect.isawaitable(made):
        return await _entered(await made, stack)
    if isinstance(made, contextlib.AbstractAsyncContextManager):
        return await stack.enter_async_context(made)
    if isinstance(made, contextlib.AbstractContextManager):
        return await _enter_in_thread(made, stack)
    return made


async def _enter_in_thread(manager: contextlib.AbstractContextManager[Any], stack: contextlib.AsyncExitStack) -> Any:
    value = await asyncio.to_thread(manager.__enter__)

    async def leave(*error: Any) -> bool | None:
        return await asyncio.to_thread(manager.__exit__, *error)

    stack.push_async_exit(leave)
    return value
