"""The graph registry: every way of writing a graph down, and what a use of it gets."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from platform_site.core.graphs.registry import GraphRegistry, default_assistant_id
from tests.core.projects import clean_imports, read, registry_of

BUILDER = """
    from typing import Any, TypedDict
    from langgraph.graph import END, START, StateGraph

    class State(TypedDict, total=False):
        said: Any

    def builder_of(word):
        async def say(state: State):
            return {"said": word}
        return StateGraph(State).add_node("say", say).add_edge(START, "say").add_edge("say", END)
"""


@pytest.fixture(autouse=True)
def _clean_imports(tmp_path: Path) -> Iterator[None]:
    with clean_imports(tmp_path):
        yield


def one(tmp_path: Path, source: str, **config: Any) -> GraphRegistry:
    """A registry with the one graph `agent`, defined by `source` after the builder above."""
    return registry_of(tmp_path, {"building.py": BUILDER, "agent.py": "from building import *\n" + source}, **config)


async def said(
    registry: GraphRegistry, configurable: dict[str, Any] | None = None, graph_id: str = "agent", **kwargs: Any
) -> Any:
    config: Any = {"configurable": configurable or {}}
    options: dict[str, Any] = {"checkpointer": None, "store": None, "access": "run"} | kwargs
    async with registry.open(graph_id, config, **options) as graph:
        return (await graph.ainvoke({"said": ""}, config))["said"]


FORMS = {
    "compiled graph": "graph = builder_of('hi').compile()",
    "builder": "graph = builder_of('hi')",
    "factory without parameters": "def graph(): return builder_of('hi').compile()",
    "factory that takes the config": """
def graph(config): return builder_of(config['configurable']['word'])
""",
    "factory that takes the config by annotation": """
from langchain_core.runnables import RunnableConfig
def graph(anything: RunnableConfig): return builder_of(anything['configurable']['word'])
""",
    "factory whose annotation exists for the type checker only": """
def graph(anything: "RunnableConfig"): return builder_of(anything['configurable']['word'])
""",
    "factory that takes the config by position": """
def graph(x): return builder_of(x['configurable']['word'])
""",
    "factory that takes the runtime": """
from langgraph_sdk.runtime import ServerRuntime
def graph(server: ServerRuntime): return builder_of('hi' if server.access_context == 'threads.create_run' else 'no')
""",
    "factory that takes runtime and config": """
from langgraph_sdk.runtime import ServerRuntime
def graph(runtime, config): return builder_of(config['configurable']['word'] if runtime.execution_runtime else 'no')
""",
    "factory with other parameters that have defaults": """
def graph(config, model='x'): return builder_of('hi' if model == 'x' else 'no')
""",
    "asynchronous factory": "async def graph(config): return builder_of('hi')",
    "context manager": """
import contextlib
@contextlib.contextmanager
def graph(config): yield builder_of('hi').compile()
""",
    "asynchronous context manager": """
import contextlib
@contextlib.asynccontextmanager
async def graph(config): yield builder_of('hi').compile()
""",
    "function that gives a context manager": """
import contextlib
@contextlib.asynccontextmanager
async def inner(): yield builder_of('hi')
def graph(): return inner()
""",
    "object that can be called": """
class Maker:
    def __call__(self, config): return builder_of('hi')
graph = Maker()
""",
}


@pytest.mark.parametrize("source", FORMS.values(), ids=FORMS)
async def test_a_graph_may_be_written_as(tmp_path: Path, source: str) -> None:
    registry = one(tmp_path, source)
    assert registry.failures == {}
    assert await said(registry, {"word": "hi"}) == "hi"


async def test_a_functional_entrypoint_is_a_graph(tmp_path: Path) -> None:
    registry = one(
        tmp_path,
        """
from langgraph.func import entrypoint
@entrypoint()
async def graph(word: str, previous: str = None) -> str:
    return (previous or '') + word
""",
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    async with registry.open("agent", config, checkpointer=InMemorySaver(), store=None, access="run") as graph:
        assert [await graph.ainvoke("a", config), await graph.ainvoke("b", config)] == ["a", "ab"]


async def test_a_graph_may_be_named_by_its_module(tmp_path: Path) -> None:
    files = {"pack/building.py": BUILDER, "pack/agent.py": "from .building import *\ngraph = builder_of('hi')"}
    registry = registry_of(tmp_path, files, graphs={"agent": "pack.agent:graph"})
    assert await said(registry) == "hi"


async def test_a_context_manager_is_left_when_the_use_ends(tmp_path: Path) -> None:
    registry = one(
        tmp_path,
        """
import contextlib
log = []
@contextlib.asynccontextmanager
async def graph():
    log.append('in')
    try:
        yield builder_of('hi')
    finally:
        log.append('out')
""",
    )
    log = sys.modules["agent"].log
    assert log == []
    await said(registry)
    assert log == ["in", "out"]
    with pytest.raises(RuntimeError):
        async with registry.open("agent", {}, checkpointer=None, store=None, access="run"):
            raise RuntimeError
    assert log == ["in", "out", "in", "out"]


async def test_a_synchronous_factory_runs_off_the_loop(tmp_path: Path) -> None:
    registry = one(
        tmp_path,
        "import threading\ndef graph(): return builder_of(threading.current_thread() is threading.main_thread())",
    )
    assert await said(registry) is False


async def test_the_runtime_of_a_run_has_user_store_and_typed_context(tmp_path: Path) -> None:
    registry = one(
        tmp_path,
        """
from dataclasses import dataclass
from langgraph_sdk.runtime import ServerRuntime
@dataclass
class Settings:
    tone: str = 'kind'
def graph(runtime: ServerRuntime[Settings]):
    return builder_of([runtime.user['identity'], runtime.store is not None, runtime.execution_runtime.context])
""",
    )
    result = await said(
        registry, {"langgraph_auth_user": {"identity": "ann"}}, store=InMemoryStore(), context={"tone": "curt"}
    )
    assert result[:2] == ["ann", True]
    assert result[2].tone == "curt"


@pytest.mark.parametrize(
    ("access", "seen"),
    [("update", "threads.update"), ("read", "threads.read"), ("inspect", "assistants.read")],
)
async def test_the_runtime_says_what_the_graph_is_needed_for(tmp_path: Path, access: str, seen: str) -> None:
    registry = one(
        tmp_path,
        """
from langgraph_sdk.runtime import ServerRuntime
def graph(runtime: ServerRuntime):
    assert runtime.execution_runtime is None and runtime.store is not None
    return builder_of(runtime.access_context)
""",
    )
    assert await said(registry, access=access) == seen


async def test_a_graph_is_compiled_once_and_copied_for_every_use(tmp_path: Path) -> None:
    registry = one(tmp_path, "graph = builder_of('hi')")
    saver, store = InMemorySaver(), InMemoryStore()
    async with (
        registry.open("agent", {}, checkpointer=saver, store=store, access="run") as first,
        registry.open("agent", {}, checkpointer=None, store=None, access="run") as second,
    ):
        assert first is not second
        assert first.nodes["say"] is second.nodes["say"]
        assert (first.checkpointer, first.store) == (saver, store)
        assert (second.checkpointer, second.store) == (None, None)


async def test_a_graph_without_a_name_is_called_by_its_id(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path,
        {"building.py": BUILDER, "agent.py": "from building import *\na = builder_of(1).compile()\n"
         "b = builder_of(1).compile(name='own')\nc = builder_of(1)"},
        graphs={name: f"./agent.py:{name}" for name in "abc"},
    )  # fmt: skip
    names = []
    for graph_id in "abc":
        async with registry.open(graph_id, {}, checkpointer=None, store=None, access="run") as graph:
            names.append(graph.name)
    assert names == ["a", "own", "c"]


# --- Importing -----------------------------------------------------------------------------------


def test_a_file_is_imported_under_the_name_the_users_own_code_has_for_it(tmp_path: Path) -> None:
    files = {
        "src/shop/building.py": BUILDER,
        "src/shop/agent.py": "from shop.building import *\nimport shop.other\ngraph = builder_of('hi')",
        "src/shop/other.py": "from shop import agent",
    }
    registry = registry_of(tmp_path, files, graphs={"agent": "./src/shop/agent.py:graph"})
    assert registry.failures == {}
    assert Path(sys.modules["shop.agent"].__file__ or "") == tmp_path / "src/shop/agent.py"


async def test_a_file_with_the_name_of_another_module_is_imported_all_the_same(tmp_path: Path) -> None:
    import calendar

    files = {"building.py": BUILDER, "calendar.py": "from building import *\ngraph = builder_of('hi')"}
    registry = registry_of(tmp_path, files, graphs={"agent": "./calendar.py:graph"})
    assert await said(registry) == "hi"
    assert sys.modules["calendar"] is calendar
    [name] = [name for name in sys.modules if name.startswith("graph_file_calendar_")]
    assert Path(sys.modules[name].__file__ or "") == tmp_path / "calendar.py"


async def test_a_file_outside_the_import_path_is_imported(tmp_path: Path) -> None:
    files = {"lib/building.py": BUILDER, "my-graphs/agent.py": "from building import *\ngraph = builder_of('hi')"}
    registry = registry_of(tmp_path, files, graphs={"agent": "./my-graphs/agent.py:graph"}, dependencies=["./lib"])
    assert await said(registry) == "hi"


def test_two_graphs_of_one_file_share_its_module(tmp_path: Path) -> None:
    source = "from building import *\nimport builtins\na = b = builder_of('hi')\ncount = []\n"
    files = {"building.py": BUILDER, "my-agent.py": source}
    registry = registry_of(tmp_path, files, graphs={"a": "./my-agent.py:a", "b": "./my-agent.py:b"})
    assert registry.failures == {}
    assert len([name for name in sys.modules if name.startswith("graph_file_my_agent_")]) == 1


# --- Loading in the background -------------------------------------------------------------------


def test_the_ids_are_known_before_anything_is_imported(tmp_path: Path) -> None:
    registry = GraphRegistry(read(tmp_path, graphs={"b": "./b.py:graph", "a": "./a.py:graph"}))
    assert registry.ids == ["b", "a"]
    assert not registry.is_loaded
    assert not registry.wait(0)
    assert registry.state("b") == "loading"
    registry.require_not_broken("b")


async def test_a_use_waits_for_its_own_graph_only(tmp_path: Path) -> None:
    gate = threading.Event()
    sys.modules["gate_of_test"] = gate  # type: ignore[assignment]
    files = {
        "building.py": BUILDER,
        "quick.py": "from building import *\ngraph = builder_of('hi')",
        "late.py": "import gate_of_test\ngate_of_test.wait(10)\nfrom building import *\ngraph = builder_of('late')",
    }
    config = read(tmp_path, files, graphs={"quick": "./quick.py:graph", "late": "./late.py:graph"})
    config.apply()
    registry = GraphRegistry(config)
    loading = threading.Thread(target=registry.load)
    loading.start()
    try:
        assert await said(registry, graph_id="quick") == "hi"
        assert not registry.is_loaded
    finally:
        gate.set()
        loading.join()
        del sys.modules["gate_of_test"]
    assert await said(registry, graph_id="late") == "late"


async def test_a_use_loads_the_graphs_if_nobody_has(tmp_path: Path) -> None:
    config = read(tmp_path, {"building.py": BUILDER, "agent.py": "from building import *\ngraph = builder_of('hi')"})
    config.apply()
    registry = GraphRegistry(config)
    assert await said(registry) == "hi"
    await registry.wait_loaded()
    assert registry.is_loaded


def test_the_default_assistant_of_a_graph_has_a_fixed_id() -> None:
    assert str(default_assistant_id("echo")) == "046b5dc7-2108-582c-9c6c-31d556d138f0"


def test_a_graph_object_that_lasts_has_a_number_of_its_own(tmp_path: Path) -> None:
    registry, again = (one(tmp_path, "graph = builder_of('hi').compile()") for _ in range(2))
    numbers = {registry.identity("agent"), again.identity("agent")}
    assert len(numbers) == 2
    assert None not in numbers


DELTAS = """
from typing import Annotated
from langgraph.channels.delta import DeltaChannel
class Deltas(TypedDict):
    log: Annotated[list, DeltaChannel(lambda log, more: [*log, *[entry for one in more for entry in one]])]
graph = StateGraph(Deltas).add_node("say", lambda state: {}).add_edge(START, "say").compile()
"""


@pytest.mark.parametrize(
    "source", ["def graph(): return builder_of('hi').compile()", DELTAS], ids=["factory", "deltas"]
)
def test_a_graph_whose_states_hang_on_more_than_a_checkpoint_has_no_number(tmp_path: Path, source: str) -> None:
    registry = one(tmp_path, source)
    assert registry.failures == {}
    assert registry.identity("agent") is None
