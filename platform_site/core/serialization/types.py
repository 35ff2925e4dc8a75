"""Which classes are rebuilt when a checkpoint is read.

Only data classes: dataclasses, Pydantic models, enums, named tuples, attrs classes and msgspec structs. A checkpoint
names a class by its module and qualified name. Whoever can write to the database can write any name, so a class is
rebuilt only if the project defines it, or if a schema of the graph or `langgraph.json` names it.
"""

import ast
import dataclasses
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Collection, Iterator
from enum import Enum
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel

from platform_site.core.project.import_path import OUR_MODULES, ROOT

Kind = Literal["attrs", "dataclass", "enum", "model", "model1", "named tuple", "struct"]
TypeName = tuple[str, ...]

# Directories that hold what others wrote, wherever they are in a project.
_INSTALLED = frozenset({"site-packages", "dist-packages", "__pypackages__"})
# Modules of bases that are too general: a schema that names such a base does not allow its subclasses.
_ROOTS = frozenset({"builtins", "enum", "pydantic", "typing"})


class TypeRefused(Exception):
    """A class is not rebuilt. The message is a clause that says why."""


@lru_cache(maxsize=4096)
def kind_of(cls: type) -> Kind | None:
    """Return which kind of data class this is, or None if it is none."""
    if issubclass(cls, Enum):
        return "enum"
    if issubclass(cls, BaseModel):
        return "model"
    # Not imported for the question: Pydantic's first version takes a while, and Python 3.14 does not have it.
    base = getattr(sys.modules.get("pydantic.v1.main"), "BaseModel", None)
    if base is not None and issubclass(cls, base):
        return "model1"
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return "named tuple"
    if dataclasses.is_dataclass(cls):
        return "dataclass"
    if hasattr(cls, "__attrs_attrs__"):
        return "attrs"
    return "struct" if hasattr(cls, "__struct_fields__") else None


@dataclasses.dataclass(frozen=True)
class TypeRules:
    """What `langgraph.json` says of all graphs: where the project is, and what else is allowed."""

    # The folder of `langgraph.json`, those of its dependencies and of its graphs.
    directories: tuple[Path, ...] = ()
    # (module, name) of further types.
    names: frozenset[TypeName] = frozenset()
    # (module, name) of types in checkpoints that old versions of LangGraph have written as JSON.
    json_names: frozenset[TypeName] = frozenset()
    # Data classes of every module, installed ones included.
    every_data_class: bool = False
    # Values that have no other form are pickled, and pickles are read.
    pickles: bool = False

    def owns(self, module_name: str) -> bool:
        """Return whether an imported module is a file of the project."""
        file = getattr(sys.modules.get(module_name), "__file__", None)
        return file is not None and self.holds(Path(file))

    def holds(self, file: Path) -> bool:
        """Return whether the file is the project's own: in one of its directories and in no environment there."""
        return any(_is_own(directory, file) for directory in self.directories)

    def defines(self, module_name: str, qualified_name: str) -> bool:
        """Return whether a file of the project, which is not run for the question, defines the class."""
        parts = module_name.split(".")
        if not all(part.isidentifier() for part in parts) or not self._finds_own(parts[0]):
            return False
        for directory in self.directories:
            place = directory.joinpath(*parts)
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                if file.is_file() and self.holds(file):
                    return qualified_name in _classes_in(file, file.stat().st_mtime_ns)
        return False

    def _finds_own(self, top: str) -> bool:
        """Return whether the import path finds a module of the project under this name."""
        if top in sys.modules:
            places = list(getattr(sys.modules[top], "__path__", []))
        else:
            try:
                spec = importlib.util.find_spec(top)
            except (ImportError, ValueError):
                return False
            if spec is None:
                return False
            places = list(spec.submodule_search_locations or ([spec.origin] if spec.origin else []))
        return bool(places) and self.holds(Path(places[0]) / "any.py" if Path(places[0]).is_dir() else Path(places[0]))


@lru_cache(maxsize=4096)
def _is_own(directory: Path, file: Path) -> bool:
    for path in (file, file.resolve()):
        if not path.is_relative_to(directory):
            continue
        parts = path.relative_to(directory).parts
        if _INSTALLED.intersection(parts):
            return False
        above = [directory.joinpath(*parts[:depth]) for depth in range(1, len(parts))]
        if any((place / "pyvenv.cfg").is_file() for place in above):
            return False
    resolved = file.resolve()
    if not resolved.is_relative_to(directory):
        return False
    # A project around them, in somebody's home directory for one, owns neither Python nor Switchyard.
    if any(library.is_relative_to(directory) and resolved.is_relative_to(library) for library in _python()):
        return False
    ours = ROOT.is_relative_to(directory) and resolved.is_relative_to(ROOT)
    return not (ours and resolved.relative_to(ROOT).parts[0] in OUR_MODULES)


@cache
def _python() -> frozenset[Path]:
    """Return where the standard library is."""
    return frozenset(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


@lru_cache(maxsize=512)
def _classes_in(file: Path, changed: int) -> frozenset[str]:
    """Return the qualified names of the classes that the file defines outside of functions."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(_class_names(tree.body, ""))


def _class_names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield prefix + statement.name
            yield from _class_names(statement.body, f"{prefix}{statement.name}.")


class AllowedTypes:
    """The classes that the checkpoints of one graph may bring back. May be asked from any thread."""

    def __init__(self, names: Collection[TypeName], rules: TypeRules) -> None:
        self.names = frozenset(names)
        self.rules = rules
        # Counts what was learnt from the fields of the project's classes.
        self.generation = 0
        self._learnt: set[TypeName] = set()
        self._found: dict[tuple[str, str], type] = {}
        self._task_types: tuple[int, frozenset[TypeName]] = (0, frozenset())

    def widened(self, names: Collection[TypeName]) -> "AllowedTypes":
        """Return these rules with more names, or this object if all the names are allowed already."""
        return self if self.names.issuperset(names) else AllowedTypes(self.names.union(names), self.rules)

    def find(self, module_name: str, qualified_name: str) -> type:
        """Return the class. Raises `TypeRefused`, which says why it is not rebuilt."""
        key = module_name, qualified_name
        if (known := self._found.get(key)) is not None:
            return known
        found = self._find(module_name, qualified_name)
        self._learn(found)
        self._found[key] = found
        return found

    def _find(self, module_name: str, qualified_name: str) -> type:
        if (module_name, qualified_name) in _safe():
            return _safe_class(module_name, qualified_name)
        module = self._module(module_name, qualified_name)
        found = _class_in(module, qualified_name)
        if found is None:
            raise TypeRefused(
                f"module {module_name} has no class {qualified_name}"
                + ("" if "<locals>" not in qualified_name else ": a class inside a function cannot be found again")
            )
        if kind_of(found) is None:
            raise TypeRefused("it is no dataclass, Pydantic model, enum or named tuple")
        if not self._allows(found):
            raise TypeRefused("it is neither a type of the project nor named by a schema of the graph")
        return found

    def _module(self, module_name: str, qualified_name: str) -> ModuleType:
        if (module := sys.modules.get(module_name)) is not None:
            return module
        named = self._is_named(module_name, qualified_name.rpartition(".")[2])
        if not (named or self._is_every(module_name) or self.rules.defines(module_name, qualified_name)):
            raise TypeRefused(f"the project has no class {qualified_name} in a module {module_name}")
        try:
            return importlib.import_module(module_name)
        except Exception as error:
            raise TypeRefused(f"module {module_name} cannot be imported ({type(error).__name__}: {error})") from error

    def _is_named(self, module_name: str, name: str) -> bool:
        key = module_name, name
        return key in self.names or key in self.rules.names or key in self._learnt

    def _is_every(self, module_name: str) -> bool:
        return self.rules.every_data_class and module_name.partition(".")[0] not in OUR_MODULES

    def _allows(self, cls: type) -> bool:
        if self._is_every(cls.__module__) or self.rules.owns(cls.__module__) or self._names(cls):
            return True
        return (cls.__module__, cls.__name__) in self._types_of_tasks()

    def _names(self, cls: type) -> bool:
        """Return whether the class, a parametrized form of it, or a base that says something is allowed by name."""
        for base in cls.__mro__:
            if base is not cls and base.__module__.partition(".")[0] in _ROOTS:
                continue
            key = base.__module__, base.__name__
            if self._is_named(*key) or self._is_named(base.__module__, base.__qualname__) or key in _safe():
                return True
        return False

    def _learn(self, cls: type) -> None:
        """Allow the types that the fields of an allowed class name."""
        from langgraph._internal._serde import collect_allowlist_from_schemas

        if (cls.__module__, cls.__name__) in _safe():
            return
        new = collect_allowlist_from_schemas(schemas=[cls]) - self._learnt - self.names
        if new:
            self._learnt |= new
            self.generation += 1

    def _types_of_tasks(self) -> frozenset[TypeName]:
        """Return what the tasks of the project's modules say that they return."""
        count, types = self._task_types
        if count != len(sys.modules):
            types = _types_of_tasks(self.rules)
            self._task_types = len(sys.modules), types
        return types


def _class_in(module: ModuleType, qualified_name: str) -> type | None:
    """Return the class that the module itself defines under this name: no alias, and nothing made on demand."""
    found: Any = module
    for part in qualified_name.split("."):
        found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
    if not isinstance(found, type):
        return None
    return found if (found.__module__, found.__qualname__) == (module.__name__, qualified_name) else None


def _safe() -> frozenset[TypeName]:
    from langgraph.checkpoint.serde import _msgpack

    return _msgpack.SAFE_MSGPACK_TYPES


def _safe_class(module_name: str, name: str) -> type:
    found: type = getattr(importlib.import_module(module_name), name)
    return found


def _types_of_tasks(rules: TypeRules) -> frozenset[TypeName]:
    from langgraph._internal._serde import collect_allowlist_from_schemas
    from langgraph.func import _TaskFunction
    from typing_extensions import get_type_hints

    returned = []
    for name, module in list(sys.modules.items()):
        if not rules.owns(name):
            continue
        for value in list(vars(module).values()):
            if isinstance(value, _TaskFunction):
                try:
                    returned.append(get_type_hints(value.func).get("return"))
                except Exception:
                    # Names that exist for the type checker only.
                    continue
    return frozenset(collect_allowlist_from_schemas(schemas=[hint for hint in returned if hint is not None]))
