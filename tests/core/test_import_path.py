"""What a graph can import: its project first, of Switchyard the server's packages alone."""

import sys
from pathlib import Path
from typing import Any

import pytest

from platform_site.core.project import import_path
from platform_site.core.project.import_path import OUR_MODULES
from platform_site.core.project.name_clashes import clash
from tests.core.projects import GRAPH, clean_imports, loaded, read, registry_of, write
from tests.live import ROOT


def project(directory: Path, files: dict[str, str], graph: str = "./agent.py:graph", **config: Any) -> Path:
    return write(directory, files, graphs={"a": graph}, **config)


LAYOUTS: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "the folder of langgraph.json": (
        {"pkg/agent.py": f"from pkg.nodes import answer\n{GRAPH}", "pkg/nodes.py": "answer = 'right'"},
        "./pkg/agent.py:graph",
        ["./pkg"],
    ),
    "a sibling of the graph's file": (
        {"app/agent.py": f"from nodes import answer\n{GRAPH}", "app/nodes.py": "answer = 'right'"},
        "./app/agent.py:graph",
        ["."],
    ),
    "a sibling, where only packages are dependencies": (
        {"app/agent.py": f"import nodes\nanswer = nodes.answer\n{GRAPH}", "app/nodes.py": "answer = 'right'"},
        "./app/agent.py:graph",
        ["langgraph"],
    ),
    "a relative sibling in a package that is a dependency": (
        {
            "pkg/__init__.py": "",
            "pkg/agent.py": f"from .nodes import answer\n{GRAPH}",
            "pkg/nodes.py": "answer = 'right'",
        },
        "./pkg/agent.py:graph",
        ["./pkg"],
    ),
    "a dependency that is a package without a project file": (
        {
            "libs/common/__init__.py": "",
            "libs/common/words.py": "answer = 'right'",
            "app/agent.py": f"from common.words import answer\n{GRAPH}",
        },
        "./app/agent.py:graph",
        ["./libs/common"],
    ),
    "a package below src, where the file's folder is no dependency": (
        {
            "src/pkg/__init__.py": "",
            "src/pkg/agent.py": f"from pkg.nodes import answer\n{GRAPH}",
            "src/pkg/nodes.py": "answer = 'right'",
        },
        "./src/pkg/agent.py:graph",
        ["langgraph"],
    ),
    "a package of a project that is a package itself": (
        {"__init__.py": "", "agent.py": f"from nodes import answer\n{GRAPH}", "nodes.py": "answer = 'right'"},
        "./agent.py:graph",
        ["."],
    ),
    "a parent directory": (
        {"../shared/nodes.py": "answer = 'right'", "agent.py": f"from nodes import answer\n{GRAPH}"},
        "./agent.py:graph",
        [".", "../shared"],
    ),
    "a module": (
        {"app/agent.py": f"from app.nodes import answer\n{GRAPH}", "app/nodes.py": "answer = 'right'"},
        "app.agent:graph",
        ["langgraph"],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_graph_imports_from(tmp_path: Path, layout: str) -> None:
    files, graph, dependencies = LAYOUTS[layout]
    (tmp_path / "project").mkdir()
    with clean_imports(tmp_path):
        config = {"graphs": {"a": graph}, "dependencies": dependencies}
        registry = registry_of(tmp_path / "project", files, **config)
        assert registry.failures == {}
        assert registry._graphs["a"].invoke({}) == {"answer": "right"}


def test_a_projects_tests_and_manage_are_found_and_ours_never(tmp_path: Path) -> None:
    files = {
        "tests/__init__.py": "",
        "tests/fakes.py": "answer = 'right'",
        "manage.py": "answer = 'mine'",
        "own.py": f"from tests.fakes import answer\nimport manage\nassert manage.answer == 'mine'\n{GRAPH}",
        "module.py": GRAPH,
    }
    path = write(tmp_path, files, graphs={"own": "./own.py:graph", "module": "tests.fakes:answer"})
    answers = loaded(path)
    assert answers["own"] == "right"
    assert "expected a compiled graph" in answers["module"]


def test_what_is_ours_beside_the_packages_of_the_server_is_not_found(tmp_path: Path) -> None:
    names = ["tests", "manage", "templates", "static", "tests.live"]
    files = {f"agent_{index}.py": f"import {name}" for index, name in enumerate(names)}
    path = write(tmp_path, files, graphs={name: f"./agent_{index}.py:graph" for index, name in enumerate(names)})
    reasons = loaded(path)
    for name in names:
        assert f"ModuleNotFoundError: No module named '{name.partition('.')[0]}'" in reasons[name]


def test_what_is_installed_comes_before_the_project(tmp_path: Path) -> None:
    """The server needs its packages: a project's `tenacity.py` must not take the place of the library."""
    text = f"import calendar, tenacity\ntenacity.retry\nanswer = calendar.month_name[1]\n{GRAPH}"
    path = project(tmp_path, {"tenacity.py": "", "calendar.py": "", "agent.py": text})
    assert loaded(path) == {"a": "January"}


def test_the_project_comes_before_editable_installs_of_others(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with clean_imports(tmp_path):
        # As a `.pth` file puts it there.
        sys.path.append(str(tmp_path / "other"))
        config = read(tmp_path / "project", {"agent.py": ""}, dependencies=["."])
        config.apply()
        config.apply()
        assert sys.path.index(str(tmp_path / "project")) < sys.path.index(str(tmp_path / "other"))
        assert sys.path.count(str(tmp_path / "project")) == 1


def test_files_with_names_of_ours_that_no_graph_imports_do_no_harm(tmp_path: Path) -> None:
    files = {"store.py": "", "runs/__init__.py": "", "threads/agent.py": "", "agent.py": f"answer = 'right'\n{GRAPH}"}
    assert loaded(project(tmp_path, files)) == {"a": "right"}


IMPORTS = {
    "agent.py:1": {"agent.py": "import store"},
    "agent.py:2": {"agent.py": "import json\nfrom store import shelf"},
    "agent.py:3": {"agent.py": "try:\n    import json\n    import store.shelves\nexcept ImportError:\n    pass"},
    "nodes.py:1": {"agent.py": "from nodes import answer", "nodes.py": "from store import shelf"},
    "deep.py:3": {
        "agent.py": "from pkg import deep",
        "pkg/__init__.py": "",
        "pkg/deep.py": "\ndef node(state):\n    import store",
    },
    "nodes.py:2": {
        "agent.py": "import pkg.agent",
        "pkg/agent.py": "from . import nodes",
        "pkg/nodes.py": "\nimport store",
    },
}


@pytest.mark.parametrize("place", IMPORTS)
def test_an_import_of_a_name_of_ours_is_found_wherever_a_graph_reaches_it(tmp_path: Path, place: str) -> None:
    config = read(tmp_path, {"store.py": "shelf = 1", **IMPORTS[place]})
    reason = clash(config.graphs["agent"], config)
    assert reason is not None
    assert f"{place} imports `store`, which is the name of a module of Switchyard; rename {tmp_path}/store.py" in reason


def test_a_module_of_our_name_is_no_graph(tmp_path: Path) -> None:
    config = read(tmp_path, {"store/agent.py": ""}, graphs={"agent": "store.agent:graph"})
    assert "store.agent:graph imports `store`" in str(clash(config.graphs["agent"], config))


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import store",
        "import typing\nif typing.TYPE_CHECKING:\n    import store\nelse:\n    import pkg",
        "from pkg import store",
        "from pkg.store import answer",
        "def broken(",
    ],
)
def test_an_import_that_only_looks_like_a_name_of_ours_does_no_harm(tmp_path: Path, text: str) -> None:
    config = read(tmp_path, {"store.py": "", "pkg/store.py": "", "agent.py": text})
    assert clash(config.graphs["agent"], config) is None


def test_a_graph_with_such_an_import_is_broken_and_the_others_serve(tmp_path: Path) -> None:
    files = {"store.py": "shelf = 1", "other.py": f"answer = 'right'\n{GRAPH}", "agent.py": "from store import shelf"}
    answers = loaded(write(tmp_path, files, graphs={"a": "./agent.py:graph", "other": "./other.py:graph"}))
    assert answers["other"] == "right"
    assert "agent.py:1 imports `store`" in answers["a"]


def test_every_package_of_the_server_is_known() -> None:
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert ours == set(OUR_MODULES)


def test_other_threads_may_import_while_ours_is_kept_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As under `serve --reload`, whose reloader imports on the main thread."""
    cache: dict[str, Any] = {str(tmp_path): None, str(ROOT): None}

    def path_while_somebody_imports(entry: str) -> Path:
        cache[f"{entry}/new"] = None
        return Path(entry)

    hooks = [hook for hook in sys.path_hooks if hook is not import_path._finder_of]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path_hooks", hooks)
        patch.setattr(sys, "path_importer_cache", cache)
        patch.setattr(import_path, "Path", path_while_somebody_imports)
        import_path._keep_ours_apart()
    assert str(ROOT) not in cache
    assert str(tmp_path) in cache
