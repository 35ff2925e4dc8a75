"""The import path of graphs.

The standard library and installed packages come first, then the project, then editable installs of others: a project
sees its own modules, whatever else was installed in its environment, and the server keeps the packages it needs. Of the
folder of Switchyard only the packages of the server can be imported, so that a project's `tests` or `manage` is found.
"""

import site
import sys
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]
# Python packages of this repository that a server imports.
OUR_MODULES = ("platform_site", "assistants", "threads", "runs", "crons", "store")


def extend(directories: Iterable[Path]) -> None:
    """Make the directories importable, in this order. Directories that are importable already move to their place.

    Python itself puts the working directory before everything, which may be the project's.
    """
    directories = list(dict.fromkeys(directories))
    sys.path[:] = [entry for entry in sys.path if Path(entry).absolute() not in directories]
    place = _after_installed_packages()
    sys.path[place:place] = map(str, directories)
    if ROOT not in directories:
        _keep_ours_apart()


def _after_installed_packages() -> int:
    """Return the place in `sys.path` behind installed packages and before what `.pth` files have added."""
    installed = {*site.getsitepackages(), site.getusersitepackages()}
    return max((index + 1 for index, entry in enumerate(sys.path) if entry in installed), default=len(sys.path))


class _OursOnly:
    """Finds in the folder of Switchyard nothing but the packages of the server."""

    def __init__(self, directory: str) -> None:
        self._finder = FileFinder(directory, (SourceFileLoader, SOURCE_SUFFIXES))

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:
        return self._finder.find_spec(name, target) if name in OUR_MODULES else None

    def invalidate_caches(self) -> None:
        self._finder.invalidate_caches()


def _finder_of(entry: str) -> _OursOnly:
    """Take over the folder of Switchyard: a hook of `sys.path_hooks`, which refuses others by ImportError."""
    if Path(entry).resolve() != ROOT:
        raise ImportError
    return _OursOnly(entry)


def _keep_ours_apart() -> None:
    if _finder_of not in sys.path_hooks:
        sys.path_hooks.insert(0, _finder_of)
        # A copy, because other threads import meanwhile: the reloader does.
        for entry in list(sys.path_importer_cache):
            if Path(entry).resolve() == ROOT:
                sys.path_importer_cache.pop(entry, None)
