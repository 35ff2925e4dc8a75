"""Importing what `graphs` of a `langgraph.json` names.

A file is imported under the name by which the user's own code imports it, so that a type has one identity however it
was reached. Only where that name is taken (a file `calendar.py`) it gets one made of its path. Both are the same after
every start, so types in checkpoints are found again.
"""

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import FunctionType, ModuleType, TracebackType
from typing import Any

from platform_site.core.config import Config, GraphSpec
from platform_site.core.error_texts import MOST_CAUSES, innermost, text_of
from platform_site.core.project.name_clashes import clash

# Endings of JavaScript and TypeScript files.
SCRIPTS = (".ts", ".js", ".mts", ".mjs", ".cts", ".cjs", ".tsx", ".jsx")


class GraphError(Exception):
    """A graph that cannot be served, with a reason for its author."""


def import_object(spec: GraphSpec, config: Config) -> Any:
    """The object that `spec` names. Raises GraphError; an exception of the user's own code passes through."""
    if reason := clash(spec, config):
        raise GraphError(reason)
    module = _import_file(spec.file, config) if spec.file else importlib.import_module(spec.module or "")
    try:
        return getattr(module, spec.name)
    except AttributeError:
        known = ", ".join(_names_to_choose_from(module, spec.name)) or "nothing"
        raise GraphError(f"{module.__file__} has no `{spec.name}`; it defines {known}") from None


def _names_to_choose_from(module: ModuleType, wanted: str) -> list[str]:
    """Return what the module makes itself, and what else has a name like the wanted one: not all that it imports."""
    names = [name for name in vars(module) if not name.startswith("_")]
    alike = difflib.get_close_matches(wanted, names)
    return [name for name in names if name in alike or _is_made_in(module, vars(module)[name])]


def _is_made_in(module: ModuleType, value: Any) -> bool:
    if isinstance(value, (type, FunctionType)):
        return value.__module__ == module.__name__
    return not isinstance(value, ModuleType)


def describe(error: BaseException, spec: GraphSpec, config: Config) -> str:
    """Return one paragraph on why the graph could not be loaded: the exception and the user's line that led to it.

    An exception group is told by its innermost exceptions, each with its own line.
    """
    if isinstance(error, GraphError):
        return f"{spec.path}: {error}"
    told = []
    for cause in innermost(error)[:MOST_CAUSES]:
        # An exception that was made and never raised has no line of its own.
        place = place_of(cause, config) or place_of(error, config)
        message = text_of(cause).strip() or "no message"
        told.append(f"{type(cause).__name__}: {message}" + (f" ({place})" if place else ""))
    return f"{spec.path}: {'; '.join(told)}"


def place_of(error: BaseException, config: Config) -> str | None:
    """Return `file:line` of the last line of the user's own code that the exception came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename, config)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None


def own_traceback(error: BaseException, config: Config) -> TracebackType | None:
    """Return the traceback from the first line of the user's own code on, the whole one if there is none."""
    part = error.__traceback__
    while part is not None and not _is_users(part.tb_frame.f_code.co_filename, config):
        part = part.tb_next
    return part or error.__traceback__


def _is_users(filename: str, config: Config) -> bool:
    path = Path(filename)
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    return any(
        path.is_relative_to(place.resolve()) for place in (config.directory, *config.import_paths, *config.graph_paths)
    )


def _import_file(file: Path, config: Config) -> ModuleType:
    if file.suffix in SCRIPTS:
        raise GraphError("only Python graphs are served, and this is a file of JavaScript or TypeScript")
    if file.suffix != ".py":
        raise GraphError("only Python graphs are served; expected a path that ends in .py")
    if not file.is_file():
        raise GraphError(f"there is no file {file}")
    name = _dotted_name(file, config)
    if name:
        module = importlib.import_module(name)
        if _is_from(module, file):
            return module
    return _import_under_own_name(file, config)


def _dotted_name(file: Path, config: Config) -> str | None:
    """The name by which the import path finds `file`, None if it does not or finds something else under it."""
    directory = _beginning(file, config)
    if directory is None:
        return None
    parts = file.relative_to(directory).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    if not parts or not all(part.isidentifier() for part in parts):
        return None
    top = parts[0]
    if len(parts) == 1 and top in sys.modules:
        return top if _is_from(sys.modules[top], file) else None
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    places = [Path(place).resolve() for place in found.submodule_search_locations or ()]
    if places:
        return ".".join(parts) if places[0] == (directory / top).resolve() else None
    return top if found.origin and Path(found.origin).resolve() == file else None


def _beginning(file: Path, config: Config) -> Path | None:
    """Return the directory at which imports of `file` begin: the deepest outside of packages. None if none holds it."""
    for places in (config.import_paths, config.graph_paths):
        above = [place for place in places if file.is_relative_to(place) and not (place / "__init__.py").exists()]
        if above:
            return max(above, key=lambda path: len(path.parts))
    inside = [place for place in (*config.import_paths, *config.graph_paths) if file.is_relative_to(place)]
    return max(inside, key=lambda path: len(path.parts), default=None)


def _is_from(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() == file


def _import_under_own_name(file: Path, config: Config) -> ModuleType:
    relative = file.relative_to(config.directory) if file.is_relative_to(config.directory) else file
    digest = hashlib.sha256(relative.as_posix().encode()).hexdigest()[:8]
    name = f"graph_file_{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}_{digest}"
    module = sys.modules.get(name)
    if module is not None and _is_from(module, file):
        return module
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise GraphError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Before its code runs: dataclasses and annotations look their module up while they are made.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
