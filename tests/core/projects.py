"""Projects of users, written to a directory: files, and a `langgraph.json` over them."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platform_site.core.config import Config, load_config
from platform_site.core.graphs.registry import GraphRegistry
from tests.live import ROOT


def write(directory: Path, files: dict[str, str] | None = None, **config: Any) -> Path:
    """Write the files and the langgraph.json with the keys `config`; its path."""
    for name, text in (files or {}).items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    path = directory / "langgraph.json"
    path.write_text(json.dumps(config))
    return path


def read(directory: Path, files: dict[str, str] | None = None, **config: Any) -> Config:
    """The configuration of such a project; one graph in agent.py unless `graphs` says otherwise."""
    return load_config(write(directory, files, **({"graphs": {"agent": "./agent.py:graph"}} | config)))


def registry_of(directory: Path, files: dict[str, str], **config: Any) -> GraphRegistry:
    """The loaded registry of such a project, its directories on the import path."""
    loaded = read(directory, files, **config)
    loaded.apply()
    registry = GraphRegistry(loaded)
    registry.load()
    return registry


@contextmanager
def clean_imports(directory: Path) -> Iterator[None]:
    """At the end, forget what was imported from `directory` and what was put on the import path."""
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", [])]
            if any(Path(place).is_relative_to(directory) for place in places):
                del sys.modules[name]


# A graph whose one node answers `answer`, which the file has made before.
GRAPH = """
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    answer: str

graph = StateGraph(State).add_node("work", lambda state: {"answer": answer}).add_edge(START, "work").compile()
"""

_LOAD = """
import json, sys
sys.path.insert(0, sys.argv[2])
import django
django.setup()
from pathlib import Path
from platform_site.core.config import load_config
from platform_site.core.graphs.registry import GraphRegistry
config = load_config(Path(sys.argv[1]))
config.apply()
registry = GraphRegistry(config)
registry.load()
answers = {graph_id: graph.invoke({}).get("answer") for graph_id, graph in registry._graphs.items()}
print(json.dumps({**answers, **registry.failures}))
"""


def loaded(path: Path, *, python: Path | None = None) -> dict[str, str]:
    """Load the graphs in a process of its own that has imported nothing of a test.

    Returns what each graph answers, or why it could not be loaded.
    """
    environment = {"DJANGO_SETTINGS_MODULE": "platform_site.settings", "DATA_DIR": str(path.parent / "data")}
    done = subprocess.run(
        # Without the working directory on the import path, as under `manage.py`.
        [str(python or sys.executable), "-P", "-c", _LOAD, str(path), str(ROOT)],
        cwd=path.parent,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers
