"""Graphs that cannot be served: what is said of them, and that the others are not affected."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from platform_site.core.graphs.registry import BrokenGraph, UnknownGraph
from tests.core.projects import clean_imports, registry_of
from tests.core.test_graphs import BUILDER, one, said


@pytest.fixture(autouse=True)
def _clean_imports(tmp_path: Path) -> Iterator[None]:
    with clean_imports(tmp_path):
        yield


BROKEN = {
    "raises": ("x = 1\nraise ValueError('no key')", "ValueError: no key", "bad.py:2"),
    "exits": ("import sys\nsys.exit('bye')", "SystemExit: bye", "bad.py:2"),
    "syntax": ("def graph(:\n", "SyntaxError", "bad.py:1"),
    "import": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'", "bad.py:1"),
    "no such name": ("other = 1", "has no `graph`; it defines other", ""),
    "no graph": ("graph = 5", "expected a compiled graph, a StateGraph, an entrypoint, or a function", ""),
    "a schema": (
        "from typing import TypedDict\nclass graph(TypedDict):\n    words: list[str]",
        "expected a graph or a function that makes one, not <class 'bad.graph'>",
        "",
    ),
    "strange parameters": ("def graph(a, b, c): ...", "nothing can be passed for: a, b, c", ""),
    "a group of exceptions": (
        "raise ExceptionGroup('two', [ExceptionGroup('inner', [ValueError('no key')]), KeyError('HOST')])",
        "./bad.py:graph: ValueError: no key (",
        "KeyError: 'HOST' (",
    ),
    "an exception without words": (
        "class Rude(Exception):\n    def __str__(self): raise RuntimeError('no words')\nraise Rude()",
        "Rude: The text of this exception cannot be made",
        "bad.py:3",
    ),
    "a fault in a file beside it": ("import beside", "NameError: name 'nothing' is not defined", "beside.py:1"),
    "a store of its own": (
        "from building import *\nfrom langgraph.store.memory import InMemoryStore\n"
        "graph = builder_of('hi').compile(store=InMemoryStore())",
        "compiled with a store of its own (langgraph.store.memory.InMemoryStore)",
        "compile the graph without `store=`",
    ),
    "a checkpointer of its own": (
        "from building import *\nfrom langgraph.checkpoint.memory import InMemorySaver\n"
        "graph = builder_of('hi').compile(checkpointer=InMemorySaver())",
        "compiled with a checkpointer of its own (langgraph.checkpoint.memory.InMemorySaver)",
        "compile the graph without `checkpointer=`",
    ),
    "an entrypoint with a store of its own": (
        "from langgraph.func import entrypoint\nfrom langgraph.store.memory import InMemoryStore\n"
        "@entrypoint(store=InMemoryStore())\ndef graph(word: str) -> str: return word",
        "compiled with a store of its own",
        "",
    ),
    "does not compile": (
        "from langgraph.graph import StateGraph\ngraph = StateGraph(dict)",
        "Graph must have an entrypoint",
        "",
    ),
}


@pytest.mark.parametrize(("source", "reason", "place"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_graph_is_told_and_does_not_take_the_others_down(
    tmp_path: Path, source: str, reason: str, place: str
) -> None:
    files = {"building.py": BUILDER, "good.py": "from building import *\ngraph = builder_of('hi')", "bad.py": source}
    files["beside.py"] = "nothing"
    registry = registry_of(tmp_path, files, graphs={"bad": "./bad.py:graph", "good": "./good.py:graph"})
    assert list(registry.failures) == ["bad"]
    assert reason in registry.failures["bad"]
    assert place in registry.failures["bad"]
    assert registry.failures["bad"].startswith("./bad.py:graph")
    assert await said(registry, graph_id="good") == "hi"
    with pytest.raises(BrokenGraph, match="could not be loaded"):
        registry.require("bad")
    with pytest.raises(BrokenGraph):
        await said(registry, graph_id="bad")


@pytest.mark.parametrize("value", [True, False, None])
async def test_a_checkpointer_that_is_no_object_is_fine(tmp_path: Path, value: bool | None) -> None:
    registry = one(tmp_path, f"graph = builder_of('hi').compile(checkpointer={value})")
    assert registry.failures == {}
    assert await said(registry, {"thread_id": "1"}, checkpointer=InMemorySaver()) == "hi"


async def test_subgraphs_may_have_what_their_parent_replaces(tmp_path: Path) -> None:
    registry = one(
        tmp_path,
        """
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
below = builder_of('hi').compile(checkpointer=InMemorySaver(), store=InMemoryStore())
graph = StateGraph(State).add_node("below", below).add_edge(START, "below")
""",
    )
    assert registry.failures == {}
    assert await said(registry) == "hi"


async def test_the_store_that_a_factory_compiled_in_is_replaced_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = one(
        tmp_path,
        """
from langgraph.store.memory import InMemoryStore
def graph(): return builder_of('hi').compile(store=InMemoryStore())
""",
    )
    store = InMemoryStore()
    for _ in range(2):
        async with registry.open("agent", {}, checkpointer=None, store=store, access="run") as graph:
            assert graph.store is store
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "graph agent: the graph is compiled with a store of its own" in warnings[0]


async def test_what_a_factory_makes_and_is_no_graph_breaks_that_use(tmp_path: Path) -> None:
    registry = one(tmp_path, "def graph(): return 5")
    with pytest.raises(BrokenGraph, match="expected a compiled graph"):
        await said(registry)


def test_the_log_has_the_traceback_of_a_graph_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one(tmp_path, "raise ValueError('no key')")
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "graph agent could not be loaded: ./agent.py:graph: ValueError: no key (" in record.getMessage()
    assert record.exc_info is not None


def test_the_logged_traceback_begins_in_the_projects_own_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one(tmp_path, "import json\njson.loads('{')")
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info
    assert record.exc_info[2]
    files = [Path(frame.filename).name for frame in traceback.extract_tb(record.exc_info[2])]
    assert files[0] == "agent.py"
    assert files[1:] == ["__init__.py", "decoder.py", "decoder.py"]


def test_a_missing_name_is_answered_with_what_the_file_makes_and_not_what_it_imports(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path,
        {
            "elsewhere.py": "def make_grapf(): ...\ndef helper(): ...",
            "agent.py": "import os\nfrom typing import TypedDict\nfrom elsewhere import helper, make_grapf\n"
            "class State(TypedDict): ...\nagent = 1",
        },
        graphs={"bad": "./agent.py:make_graph"},
    )
    assert registry.failures["bad"].endswith("agent.py has no `make_graph`; it defines make_grapf, State, agent")


@pytest.mark.parametrize(
    ("path", "reason"), [("./missing.py:graph", "there is no file"), ("./agent.ts:graph", "only Python graphs")]
)
def test_a_file_that_cannot_be_imported_is_a_broken_graph(tmp_path: Path, path: str, reason: str) -> None:
    registry = registry_of(tmp_path, {"agent.ts": ""}, graphs={"bad": path})
    assert reason in registry.failures["bad"]


async def test_a_factory_that_yields_without_being_a_context_manager_is_told(tmp_path: Path) -> None:
    registry = one(tmp_path, "async def graph(): yield builder_of('hi')")
    with pytest.raises(Exception, match="asynccontextmanager"):
        await said(registry)


def test_a_graph_that_is_not_configured_is_unknown(tmp_path: Path) -> None:
    registry = one(tmp_path, "graph = builder_of('hi')")
    with pytest.raises(UnknownGraph, match=r"Graph 'nope' not found. Expected one of: \['agent'\]"):
        registry.require("nope")


def test_a_graph_that_failed_is_known_to_be_broken(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path,
        {"building.py": BUILDER, "good.py": "from building import *\ngraph = builder_of('hi')"},
        graphs={"bad": "./bad.py:graph", "good": "./good.py:graph"},
    )
    assert registry.wait(0)
    assert (registry.state("bad"), registry.state("good")) == ("broken", "ready")
    with pytest.raises(BrokenGraph):
        registry.require_not_broken("bad")
