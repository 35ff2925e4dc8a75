"""Names that a project and the server both have, and whether a graph imports one of them.

The server's packages are imported before any graph is, so a project's `store.py` can never be imported under that name.
Most projects with such a file never try to: only the imports that a graph's files reach count.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from platform_site.core.project.import_path import OUR_MODULES, ROOT

if TYPE_CHECKING:
    from platform_site.core.config import Config, GraphSpec


def clash(spec: "GraphSpec", config: "Config") -> str | None:
    """Return why the graph cannot be imported beside the server's packages, None if it can. Runs none of its code."""
    places = [place for place in (*config.import_paths, *config.graph_paths) if place != ROOT]
    taken = {name: found[0] for name in OUR_MODULES for place in places if (found := _files(place, [name]))}
    if not taken:
        return None
    if spec.module and (name := spec.module.partition(".")[0]) in taken:
        return _sentence(spec.path, name, taken[name])
    waiting = [spec.file] if spec.file else [file for place in places for file in _files(place, _parts(spec.module))]
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        for line, level, parts in _imports(file):
            if level == 0 and parts[0] in taken:
                return _sentence(f"{file}:{line}", parts[0], taken[parts[0]])
            above = places if level == 0 else [file.parents[level - 1]]
            waiting += [found for place in above for found in _files(place, parts)]
    return None


def _sentence(importer: str, name: str, file: Path) -> str:
    return (
        f"{importer} imports `{name}`, which is the name of a module of Switchyard; rename "
        f"{file.parent if file.name == '__init__.py' else file} "
        f"(also taken: {', '.join(other for other in OUR_MODULES if other != name)})"
    )


def _parts(module: str | None) -> list[str]:
    return (module or "").split(".")


def _files(place: Path, parts: list[str]) -> list[Path]:
    """Return the files below `place` that run when `parts` is imported: modules, and packages on the way to them."""
    found = []
    for part in filter(None, parts):
        module, package = place / f"{part}.py", place / part
        if package.is_dir() and any(package.glob("*.py")):
            found.append(package / "__init__.py")
        elif module.is_file():
            found.append(module)
        elif not package.is_dir():
            break
        place = package
    return found


def _imports(file: Path) -> Iterator[tuple[int, int, list[str]]]:
    """Yield line, level (0 is absolute) and dotted parts of everything that the file imports when it runs."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        # Importing it says what is wrong.
        return
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _is_for_type_checkers(node.test):
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = node.module.split(".") if node.module else []
            yield from ((node.lineno, node.level, [*above, alias.name]) for alias in node.names)
        else:
            waiting += ast.iter_child_nodes(node)


def _is_for_type_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
