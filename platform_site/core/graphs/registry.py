"""The graph registry: graphs are imported and compiled once, and every use gets its own cheap copy.

LangGraph is imported when graphs are loaded, not with this module: the server answers before that is done.
"""

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid5

from platform_site.core.config import Config, GraphSpec, config
from platform_site.core.errors import NotFound, ServiceUnavailable
from platform_site.core.graphs.loading import GraphError, describe, import_object, own_traceback
from platform_site.core.loops import graph_loop

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.pregel import Pregel
    from langgraph.store.base import BaseStore

    from platform_site.core.graphs.factories import Access, Factory

    AnyPregel = Pregel[Any, Any, Any, Any]

logger = logging.getLogger(__name__)

# Looks like one of the RFC's namespaces and is none: clients know default assistants by ids made with it.
DEFAULT_ASSISTANT_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
# The name LangGraph gives to a graph that was compiled without one.
_UNNAMED = "LangGraph"
_identities = itertools.count(1)

TypeName = tuple[str, ...]


@cache
def default_assistant_id(graph_id: str) -> UUID:
    """The fixed id of the assistant that every graph has from the start."""
    return uuid5(DEFAULT_ASSISTANT_NAMESPACE, graph_id)


class UnknownGraph(NotFound):
    """No graph of that id is configured."""

    def __init__(self, graph_id: str, ids: list[str]) -> None:
        self.graph_id, self.ids = graph_id, ids
        super().__init__(f"Graph '{graph_id}' not found. Expected one of: {sorted(ids)}")


class BrokenGraph(ServiceUnavailable):
    """The graph is configured but cannot be served.

    The reason holds the text of an exception, which may hold connection strings and keys: it is for admins only.
    """

    def __init__(self, graph_id: str, reason: str) -> None:
        self.graph_id, self.reason = graph_id, reason
        super().__init__(f"Graph '{graph_id}' could not be loaded; an admin sees why in /info")

    def __str__(self) -> str:
        return f"Graph '{self.graph_id}' could not be loaded: {self.reason}"

    def detail_for(self, *, is_admin: bool) -> str:
        return str(self) if is_admin else self.detail


class GraphRegistry:
    """The graphs of one configuration. All methods may be called from any thread and any event loop."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.ids: list[str] = list(config.graphs)
        self.failures: dict[str, str] = {}
        self._graphs: dict[str, AnyPregel] = {}
        self._factories: dict[str, Factory] = {}
        self._allowlists: dict[str, frozenset[TypeName]] = {}
        self._identities: dict[str, int] = {}
        self._schemas: dict[str, dict[str, Any]] = {}
        self._warned: set[str] = set()
        self._done = {graph_id: threading.Event() for graph_id in self.ids}
        self._lock = threading.Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether every graph was loaded or has failed."""
        return all(done.is_set() for done in self._done.values())

    def spec(self, graph_id: str) -> GraphSpec:
        """Where the graph comes from. Raises UnknownGraph."""
        self._known(graph_id)
        return self._config.graphs[graph_id]

    def load(self) -> None:
        """Import all graphs. Those that fail are in `failures`, with the reason; the others are not affected."""
        with self._lock:
            self._load_all()

    def require(self, graph_id: str) -> None:
        """Return when the graph can be used, waiting until it is loaded. Raises UnknownGraph or BrokenGraph."""
        self._known(graph_id)
        self._loaded(graph_id)
        self._working(graph_id)

    def names(self) -> dict[str, str]:
        """Return the names of the graphs that could be loaded: the one a graph was compiled with, else its id."""
        compiled = {graph_id: graph.name for graph_id, graph in self._graphs.items()}
        return {graph_id: graph_id for graph_id in self._factories} | compiled

    def require_not_broken(self, graph_id: str) -> None:
        """Raise BrokenGraph for a graph that is known to be broken. Never waits for one that is not loaded yet."""
        self._working(graph_id)

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` until every graph was loaded or has failed; return whether they have."""
        end = time.monotonic() + seconds
        return all(done.wait(max(0.0, end - time.monotonic())) for done in self._done.values())

    def state(self, graph_id: str) -> Literal["loading", "ready", "broken"]:
        """Return how the graph is doing. Raises UnknownGraph."""
        self._known(graph_id)
        if graph_id in self.failures:
            return "broken"
        return "ready" if self._done[graph_id].is_set() else "loading"

    async def wait_loaded(self) -> None:
        """Return when every graph was loaded or has failed."""
        if not self.is_loaded:
            await asyncio.to_thread(self.load)

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        config: "RunnableConfig",
        *,
        checkpointer: "BaseCheckpointSaver[Any] | None",
        store: "BaseStore | None",
        access: "Access",
        context: Any = None,
    ) -> AsyncIterator["AnyPregel"]:
        """A copy of the graph for one use, with this saver and store.

        The saver is extended by the types that the graph's schemas name, also of graphs a factory makes. A factory is
        called for each use and cleaned up at the end of the block: a run's on the current loop, any other on
        `graph_loop`, which is the loop of the runs as well. Raises UnknownGraph or BrokenGraph.
        """
        self._known(graph_id)
        if not self._done[graph_id].is_set():
            await asyncio.to_thread(self._loaded, graph_id)
        self._working(graph_id)
        if graph := self._graphs.get(graph_id):
            yield self._copy(graph, checkpointer, store, self._allowlists[graph_id])
            return
        factory = self._factories[graph_id]
        loop = None if access == "run" or graph_loop().is_current else graph_loop()
        async with factory.make(config, access=access, store=store, context=context, loop=loop) as made:
            try:
                graph = _compiled(made, graph_id)
            except GraphError as error:
                raise BrokenGraph(graph_id, describe(error, self.spec(graph_id), self._config)) from error
            self._warn_of_own_persistence(graph_id, graph)
            allowlist = self._remember(graph_id, graph)
            yield self._copy(graph, checkpointer, store, allowlist)

    def allowlist(self, graph_id: str) -> frozenset[TypeName]:
        """(module, name) of the types that the graph's checkpoints may hold; never waits.

        For a graph that is not loaded yet, or a factory not called yet, only the types allowed in `langgraph.json`:
        `open` adds the graph's own to the saver it is given.
        """
        return self._allowlists.get(graph_id, self._config.allowed_types)

    def identity(self, graph_id: str) -> int | None:
        """Return the number of the graph object that reads states, or None if there is none that lasts.

        No other graph of this process has the number. A factory may make another graph each time, and a state with
        delta channels is made of more than its own checkpoint. Never waits for a graph that is not loaded yet.
        """
        return self._identities.get(graph_id)

    async def schemas(self, graph_id: str, config: "RunnableConfig") -> dict[str, Any]:
        """The graph's id and its five JSON schemas."""
        from platform_site.core.graphs.schemas import graph_schemas

        if graph_id in self._schemas:
            return self._schemas[graph_id]
        async with self._inspect(graph_id, config) as graph:
            schemas = {"graph_id": graph_id, **await asyncio.to_thread(graph_schemas, graph)}
        if graph_id in self._graphs:
            self._schemas[graph_id] = schemas
        return schemas

    async def drawing(self, graph_id: str, config: "RunnableConfig", xray: bool | int = False) -> dict[str, Any]:
        """The graph's nodes and edges; `xray` shows what is inside subgraphs, a number to that depth."""
        from platform_site.core.graphs.drawing import graph_drawing

        async with self._inspect(graph_id, config) as graph:
            drawing = graph_drawing(graph, config, xray)
            # A remote graph draws itself, with a client that belongs to the loop of the runs.
            return await (graph_loop().run(drawing) if _has_remote(graph) else drawing)

    async def subgraphs(
        self, graph_id: str, config: "RunnableConfig", namespace: str | None = None, recurse: bool = False
    ) -> dict[str, Any]:
        """The five schemas of every subgraph by its namespace: `child`, and with `recurse` also `child|grandchild`.

        With a `namespace` those of this one only, however deep it is.
        """
        from langgraph.pregel import Pregel

        from platform_site.core.graphs.schemas import graph_schemas

        async with self._inspect(graph_id, config) as graph:
            found = graph.get_subgraphs(namespace=namespace, recurse=recurse or namespace is not None)
            return {
                name: await asyncio.to_thread(graph_schemas, child)
                for name, child in found
                if isinstance(child, Pregel)
            }

    def _inspect(self, graph_id: str, config: "RunnableConfig") -> Any:
        return self.open(graph_id, config, checkpointer=None, store=None, access="inspect")

    def _known(self, graph_id: str) -> None:
        if graph_id not in self._done:
            raise UnknownGraph(graph_id, self.ids)

    def _working(self, graph_id: str) -> None:
        if graph_id in self.failures:
            raise BrokenGraph(graph_id, self.failures[graph_id])

    def _loaded(self, graph_id: str) -> None:
        done = self._done[graph_id]
        while not done.is_set():
            if self._lock.acquire(blocking=False):
                try:
                    self._load_all()
                finally:
                    self._lock.release()
            else:
                # Somebody is loading: this graph may be there before the others are.
                done.wait(timeout=1)

    def _load_all(self) -> None:
        for graph_id, spec in self._config.graphs.items():
            if self._done[graph_id].is_set():
                continue
            try:
                self._load_one(graph_id, spec)
            except (Exception, SystemExit) as error:
                self._failed(graph_id, spec, error)
            finally:
                self._done[graph_id].set()

    def _failed(self, graph_id: str, spec: GraphSpec, error: BaseException) -> None:
        reason = describe(error, spec, self._config)
        # A GraphError says all there is to say. Graphs of one file fail in the same way: one traceback is enough.
        cause = reason.removeprefix(spec.path)
        is_told = isinstance(error, GraphError) or any(told.endswith(cause) for told in self.failures.values())
        self.failures[graph_id] = reason
        # What the server and the import system did before is the same for every graph, and helps nobody.
        raised = None if is_told else (type(error), error, own_traceback(error, self._config))
        logger.error("graph %s could not be loaded: %s", graph_id, reason, exc_info=raised)

    def _load_one(self, graph_id: str, spec: GraphSpec) -> None:
        from langgraph.channels.delta import DeltaChannel
        from langgraph.graph import StateGraph
        from langgraph.pregel import Pregel

        from platform_site.core.graphs.factories import factory

        found = import_object(spec, self._config)
        if isinstance(found, (Pregel, StateGraph)):
            graph = _compiled(found, graph_id)
            if refusal := _own_persistence(graph):
                raise GraphError(refusal)
            self._remember(graph_id, graph)
            self._graphs[graph_id] = graph
            if not any(isinstance(channel, DeltaChannel) for channel in graph.channels.values()):
                self._identities[graph_id] = next(_identities)
        elif callable(found):
            self._factories[graph_id] = factory(found)
        else:
            raise _no_graph(found)

    def _warn_of_own_persistence(self, graph_id: str, graph: "AnyPregel") -> None:
        """Log once a graph that the server gives another store or checkpointer than its factory did.

        Such factories run on the reference server, where theirs is replaced without a word.
        """
        if graph_id not in self._warned and (sentence := _own_persistence(graph)):
            self._warned.add(graph_id)
            logger.warning("%s: graph %s: %s", self.spec(graph_id).path, graph_id, sentence)

    def _remember(self, graph_id: str, graph: "AnyPregel") -> frozenset[TypeName]:
        own = getattr(graph, "_serde_allowlist", None) or set()
        nested: set[TypeName] = set()
        for _, child in graph.get_subgraphs(recurse=True):
            nested |= getattr(child, "_serde_allowlist", None) or set()
        allowlist = frozenset(own | nested | self._config.allowed_types)
        self._allowlists[graph_id] = allowlist
        return allowlist

    @staticmethod
    def _copy(graph: "AnyPregel", checkpointer: Any, store: Any, allowlist: frozenset[TypeName]) -> "AnyPregel":
        copy = graph_copy(graph, checkpointer=checkpointer, store=store)
        copy._serde_allowlist = set(allowlist)
        return copy


def graph_copy(graph: "AnyPregel", **changes: Any) -> "AnyPregel":
    """Return a copy with other attributes. It keeps what compiling has computed, which `Pregel.copy` leaves behind.

    Without these attributes, types of the project would come back from checkpoints as dictionaries.
    """
    copy = graph.copy(update=changes)
    for kept in ("_serde_allowlist", "_output_mapper", "_state_mapper"):
        setattr(copy, kept, getattr(graph, kept))
    return copy


def _compiled(found: Any, graph_id: str) -> "AnyPregel":
    """The graph itself or the builder compiled, under the graph's id unless it has a name of its own."""
    from langgraph.graph import StateGraph
    from langgraph.pregel import Pregel

    if isinstance(found, StateGraph):
        return found.compile(name=graph_id)
    if not isinstance(found, Pregel):
        raise _no_graph(found)
    if found.name != _UNNAMED:
        return found
    return graph_copy(found, name=graph_id)


def _has_remote(graph: "AnyPregel") -> bool:
    """Return whether a part of the graph, however deep, is a graph that this process does not execute itself."""
    from langgraph.pregel import Pregel

    return any(not isinstance(child, Pregel) for _, child in graph.get_subgraphs(recurse=True))


def _own_persistence(graph: "AnyPregel") -> str | None:
    """Return a sentence on the store or checkpointer object that the graph was compiled with, or None without one.

    The server replaces both by its own, so what the graph keeps there would be lost. Subgraphs do not count: LangGraph
    gives them what their parent has, with and without a server.
    """
    for name in ("store", "checkpointer"):
        own = getattr(graph, name)
        # A checkpointer may be True or False.
        if own is not None and not isinstance(own, bool):
            kind = f"{type(own).__module__}.{type(own).__qualname__}"
            return (
                f"the graph is compiled with a {name} of its own ({kind}), which the server would replace by its own "
                f"{name}; compile the graph without `{name}=`"
            )
    return None


def _no_graph(found: Any) -> GraphError:
    return GraphError(
        f"expected a compiled graph, a StateGraph, an entrypoint, or a function that makes one, not {type(found)}"
    )


_registry: GraphRegistry | None = None
_registry_lock = threading.Lock()


def registry() -> GraphRegistry:
    """The registry of this process, of the configuration it serves. Raises ConfigError."""
    global _registry
    if _registry is None:
        with _registry_lock:
            if _registry is None:
                _registry = GraphRegistry(config())
    return _registry
