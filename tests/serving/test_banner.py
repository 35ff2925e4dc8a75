"""What the banner of `serve` says of the graphs."""

import json
from pathlib import Path

import httpx
import pytest

from platform_site.core.config import load_config
from platform_site.core.graphs.registry import GraphRegistry
from platform_site.management.commands.serve import about_graphs
from tests.serving.conftest import Launch, wait_log, write_graph


def project(directory: Path, graphs: dict[str, str], files: dict[str, str]) -> Path:
    """A project with the graph `g` of `write_graph`, these files, and these graphs."""
    config = write_graph(directory)
    for name, text in files.items():
        (directory / name).write_text(text)
    config.write_text(json.dumps({"graphs": graphs}))
    return config


def test_a_broken_graph_is_marked_with_reason_file_and_line(launch: Launch, tmp_path: Path) -> None:
    bad = "import os\nraise RuntimeError('half\\nwritten \\x1b[2J')\n"
    config = project(tmp_path / "project", {"g": "./graph.py:graph", "bad": "./bad.py:graph"}, {"bad.py": bad})
    server = launch(config)
    wait_log(server, r"Access .*\n")
    assert "Switchyard is ready." in server.log
    assert f"  Graphs     g   ({config})\n" in server.log
    [line] = [line for line in server.log.splitlines() if line.startswith("  Broken")]
    place = f"{tmp_path / 'project' / 'bad.py'}:2"
    assert line == f"  Broken     bad: ./bad.py:graph: RuntimeError: half written \\x1b[2J ({place})"


def test_a_server_of_which_no_graph_can_be_served_says_so(launch: Launch, tmp_path: Path) -> None:
    server = launch(project(tmp_path / "project", {"bad": "./bad.py:graph"}, {"bad.py": "import nowhere_at_all"}))
    wait_log(server, r"Access .*\n")
    assert "Switchyard is running, but none of its graphs can be served." in server.log
    assert "Switchyard is ready." not in server.log
    assert "  Graphs     none   (" in server.log
    body = {"assistant_id": "bad", "input": {}}
    answer = httpx.post(server.url + "/runs/wait", json=body, timeout=60)
    assert answer.status_code == 503
    assert "No module named 'nowhere_at_all'" in answer.json()["detail"]


def test_a_project_of_javascript_graphs_is_told_that_python_is_served(launch: Launch, tmp_path: Path) -> None:
    graphs = {"a": "./a.ts:graph", "b": "./b.mjs:graph"}
    server = launch(project(tmp_path / "project", graphs, {"a.ts": "", "b.mjs": ""}))
    wait_log(server, r"Access .*\n")
    assert "it serves Python graphs only" in server.log
    assert "  Broken     a: ./a.ts:graph: only Python graphs are served" in server.log


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_graph_that_takes_long_is_announced_as_loading(is_loaded: bool) -> None:
    registry = GraphRegistry(load_config(None))
    if is_loaded:
        registry.load()
    [line] = about_graphs(registry)
    assert ("chat (loading)" in line) is not is_loaded
