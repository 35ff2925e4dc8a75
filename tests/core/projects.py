"""Projects of users, written to a directory: files, and a `langgraph.json` over them."""

import json
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platform_site.core.config import Config, load_config
from platform_site.core.graphs import GraphRegistry


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
