"""The layout of the product as its imports show it: `python -m tests.layout` prints rooms, files, and who imports whom.

A *room* is a package of the ground floor (`platform_site/core/events`), a package of the roof, or a resource app.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESOURCE_APPS = ("threads", "assistants", "runs", "crons", "store")
# Apps with layers of their own that lie under `platform_site`; all else there is ground floor or roof.
NESTED_APPS = ("access", "webhooks")
CORE = ROOT / "platform_site/core"

Graph = Mapping[str, set[str]]


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file of the product, but not generated migrations."""
    packages = ("platform_site", *sorted(RESOURCE_APPS))
    found = (path for package in packages for path in sorted((ROOT / package).rglob("*.py")))
    return tuple(path for path in found if "migrations" not in path.parts)


def module_of(path: Path) -> str:
    """Return the dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, anywhere in it; imports for type checking are no imports."""
    tree = ast.parse(path.read_text())
    ignored = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [start, node.module]))
            # `from runs import services` imports runs.services.
            yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def module_graph() -> dict[str, set[str]]:
    """Return the modules of the product, each with those of the product that it imports."""
    modules = {module_of(path): path for path in sources()}

    def target(name: str) -> str | None:
        return name if name in modules else parent if (parent := name.rpartition(".")[0]) in modules else None

    return {
        module: {found for name in imports_of(path) if (found := target(name)) and found != module}
        for module, path in modules.items()
    }


def room_of(module: str) -> str:
    """Return the room of a module; a module at the top of the ground floor is a room of its own."""
    parts = module.split(".")
    if parts[:2] == ["platform_site", "core"]:
        return ".".join(parts[2:3]) or "core"
    return ".".join(parts[:2]) if parts[0] == "platform_site" else parts[0]


def room_graph() -> dict[str, set[str]]:
    """Return the rooms, each with those that it imports."""
    rooms: dict[str, set[str]] = {}
    for module, imported in module_graph().items():
        room = rooms.setdefault(room_of(module), set())
        room.update(room_of(name) for name in imported)
    return {room: imported - {room} for room, imported in rooms.items()}


def circles(graph: Graph) -> list[list[str]]:
    """Return every group of names that import one another, directly or by way of others (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[len(stack) - len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in order:
            visit(name)
    return found


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main() -> None:
    """Print the rooms."""
    lines = {module_of(path): len(path.read_text().splitlines()) for path in sources()}
    graph = room_graph()
    rows = [("room", "files", "lines", "largest file", "imports")]
    for room in sorted(graph):
        modules = [module for module in lines if room_of(module) == room]
        largest = max(modules, key=lambda module: lines[module])
        rows.append(
            (
                room,
                str(len(modules)),
                str(sum(lines[module] for module in modules)),
                f"{largest.rpartition('.')[2]} ({lines[largest]})",
                " ".join(sorted(graph[room])),
            )
        )
    print(_table(rows))
    found = circles(module_graph())
    print(f"\ncircles of imports: {len(found)}")
    for circle in found:
        print("  " + " -> ".join(circle))


if __name__ == "__main__":
    main()
