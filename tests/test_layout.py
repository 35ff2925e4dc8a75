"""The layout that `docs/architecture.md` describes: who may import whom, what lies at the top, how long files are."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layout import (
    CORE,
    NESTED_APPS,
    RESOURCE_APPS,
    ROOT,
    circles,
    imports_of,
    module_graph,
    module_of,
    room_graph,
    sources,
)

# From the ground up: a layer may import what stands before it.
LAYERS = ["core", "access", "threads", "assistants", "runs", "webhooks", "crons", "store", "roof"]
MAY_IMPORT = {
    "core": set(),
    "access": {"core"},
    "threads": {"core", "access"},
    "store": {"core", "access"},
    "assistants": {"core", "access", "threads"},
    "runs": {"core", "access", "threads", "assistants"},
    # Runs and crons tell it and ask it by hooks (`runs/hooks.py`).
    "webhooks": {"core", "access", "threads", "assistants", "runs"},
    "crons": {"core", "access", "threads", "assistants", "runs"},
    "roof": set(LAYERS),
}
# Modules that stand on the roof of their app: they may use any service.
ROOF_MODULES = {"api", "pages", "urls", "admin"}
TOP_LEVEL = {
    *RESOURCE_APPS,
    "platform_site", "templates", "static", "tests", "docs", "manage.py", "pyproject.toml", "constraints.txt",
    "README.md", "LICENSE", "Makefile", "Dockerfile", "compose.yaml", "langgraph.json", ".ci", ".gitignore",
    ".dockerignore",
}  # fmt: skip
MAX_LINES = 450


def layer_of(module: str) -> str | None:
    """The layer that a module belongs to; None for what is not ours."""
    parts = module.split(".")
    if parts[0] in RESOURCE_APPS:
        return "roof" if len(parts) > 1 and parts[1] in ROOF_MODULES else parts[0]
    if parts[0] != "platform_site":
        return None
    if len(parts) > 1 and parts[1] in ("core", *NESTED_APPS):
        return "roof" if len(parts) > 2 and parts[2] in ROOF_MODULES else parts[1]
    # Settings, wiring, console, system, gateways, samples and commands.
    return "roof"


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    layer = layer_of(module_of(path))
    assert layer is not None
    if layer == "roof":
        return
    upward = {
        imported
        for imported in imports_of(path)
        if (target := layer_of(imported)) and target != layer and target not in MAY_IMPORT[layer]
    }
    assert not upward, f"{layer} must not import {sorted(upward)}"


# The rooms of the ground floor, from the ground up: a room may import those before it. What lies beside them in `core`
# may be imported by all.
ROOMS = [
    "telemetry", "redis", "project", "serialization", "database", "graphs", "checkpoints", "items", "background",
    "events", "http", "loopback",
]  # fmt: skip
AT_THE_TOP = {
    "config", "environment", "errors", "error_texts", "wire", "json_forms", "validation", "ids", "hooks", "loops",
    "run_config", "scope", "quotas",
}  # fmt: skip


def test_no_import_runs_in_a_circle() -> None:
    assert circles(module_graph()) == []


def test_a_circle_of_imports_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room)]) | AT_THE_TOP
    assert room_graph()[room] <= allowed


def test_the_ground_floor_has_these_rooms_and_no_others() -> None:
    names = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names - {"__init__"} == {*ROOMS, *AT_THE_TOP}


# What the roof of the project itself holds: all that Django looks for, and nothing else.
FOR_DJANGO = {"__init__", "api", "api_urls", "asgi", "celery", "settings", "urls"}


def test_the_project_holds_only_what_django_looks_for() -> None:
    assert {path.stem for path in (ROOT / "platform_site").glob("*.py")} == FOR_DJANGO


def test_only_the_roof_imports_views() -> None:
    for path in sources():
        if layer_of(module_of(path)) == "roof":
            continue
        apps = (*RESOURCE_APPS, *(f"platform_site.{app}" for app in NESTED_APPS))
        views = {
            name
            for name in imports_of(path)
            if name.startswith(tuple(f"{app}." for app in apps)) and layer_of(name) == "roof"
        }
        assert not views, f"{path.relative_to(ROOT)} imports {views}"


# What a graph or a caller reaches threads and items with, and who may ask for it: everybody else asks a `Scope`.
HANDED_OUT = {
    "saver_for_run": {"platform_site/core/scope.py"},
    "memory_saver": {"platform_site/core/scope.py"},
    # Without a thread: the store's own operations.
    "store_for": {"platform_site/core/scope.py", "store/operations.py"},
    # Readers of a thread's stream, and what is told them between runs.
    "feed_of": {"platform_site/core/scope.py", "runs/streaming/thread_stream.py"},
}


def calls_of(path: Path) -> Iterator[str]:
    """The names of the functions and methods that a file calls; `checkpoints().saver` for those of a call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_savers_stores_and_feeds_are_handed_out_in_one_place() -> None:
    for path in sources():
        place = str(path.relative_to(ROOT))
        called = set(calls_of(path))
        for name, allowed in HANDED_OUT.items():
            if any(call.rpartition(".")[2] == name for call in called):
                assert place in allowed, f"{place} calls {name}: ask a Scope"
        if "checkpoints().saver" in called:
            assert place == "platform_site/core/scope.py", f"{place} takes a saver of every thread: ask a Scope"


def test_the_places_that_hand_out_are_there() -> None:
    scope = {call.rpartition(".")[2] for call in calls_of(ROOT / "platform_site/core/scope.py")}
    assert HANDED_OUT.keys() | {"saver"} <= scope


def test_the_top_level_is_fixed() -> None:
    tracked = {path.split("/")[0] for path in _git_files()}
    assert tracked <= TOP_LEVEL, f"not part of the layout: {sorted(tracked - TOP_LEVEL)}"


def _git_files() -> list[str]:
    """The files of the repository; of an unpacked archive, all that a bare tree has."""
    import subprocess

    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return listed.stdout.rstrip("\0").split("\0")
    own = {".venv", ".switchyard", ".git", "staticfiles", "build"}
    return [path.name for path in ROOT.iterdir() if path.name not in own and "cache" not in path.name]


def test_every_resource_app_has_the_same_inner_shape() -> None:
    for app in sorted(RESOURCE_APPS):
        if (ROOT / app / "models.py").exists():
            _assert_shape(ROOT / app, {"schemas", "api"})


def test_nested_apps_have_it_too_but_no_operations_of_the_api() -> None:
    for app in NESTED_APPS:
        _assert_shape(ROOT / "platform_site" / app, set())


def _assert_shape(app: Path, more: set[str]) -> None:
    files = {path.stem for path in app.iterdir()}
    wanted = {"models", "services", "selectors", "admin", *more}
    if (ROOT / "templates" / app.name).exists():
        wanted |= {"pages", "urls"}
    assert wanted <= files, f"{app.name} lacks {sorted(wanted - files)}"


@pytest.mark.parametrize(
    "path", [*sources(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_files_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_nothing_is_called_utils() -> None:
    assert not [path for path in sources() if path.stem in ("utils", "helpers", "misc", "common")]
