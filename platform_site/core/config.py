"""`langgraph.json` as one typed object.

`load_config` reads and checks a file and changes nothing; `config()` is the one this process serves, applied: its
variables are in the environment and its directories on the import path.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from platform_site.core.project import import_path
from platform_site.core.project import sections as sections
from platform_site.core.project.notes import is_local, notes
from platform_site.core.project.reading import ConfigError, complaints, json_object, parse
from platform_site.core.project.variables import assistant_configs, variables

if TYPE_CHECKING:
    from platform_site.core.serialization.types import TypeRules

__all__ = ["Config", "ConfigError", "GraphSpec", "config", "load_config", "spec_of"]

SAMPLES = import_path.ROOT / "platform_site" / "samples" / "langgraph.json"


@dataclass(frozen=True)
class GraphSpec:
    """Where one graph is found: in a file or in a module, under a name."""

    id: str
    path: str
    name: str
    file: Path | None = None
    module: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Config:
    """One `langgraph.json`: paths are absolute, variables are read."""

    path: Path
    directory: Path
    graphs: dict[str, GraphSpec]
    dependencies: list[str] = field(default_factory=list)
    # Directories that become importable, in order: the dependencies, each after its `src`, and that of the file.
    import_paths: list[Path] = field(default_factory=list)
    # Directories after these on the path: that of each graph's file, and the one in which its package begins.
    graph_paths: list[Path] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    auth: sections.Auth | None = None
    store: sections.Store | None = None
    checkpointer: sections.Checkpointer | None = None
    http: sections.Http = field(default_factory=sections.Http)
    webhooks: sections.Webhooks = field(default_factory=sections.Webhooks)
    # The configs of the system assistants, by graph: LANGGRAPH_CONFIG, as it was written.
    assistant_configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What an author should know about the file before it is served, as sentences.
    warnings: list[str] = field(default_factory=list)

    @property
    def allowed_types(self) -> frozenset[tuple[str, ...]]:
        """(module, name) of the types that `checkpointer.serde` allows in checkpoints of every graph."""
        serde = self.checkpointer.serde if self.checkpointer else None
        return serde.allowed_types if serde else frozenset()

    @property
    def allows_pickles(self) -> bool:
        """Whether checkpoints may hold pickles: both the file and the operator's setting must say so."""
        from django.conf import settings

        serde = self.checkpointer.serde if self.checkpointer else None
        return serde is not None and serde.pickle_fallback and settings.ALLOW_PICKLE

    @cached_property
    def type_rules(self) -> "TypeRules":
        """Which classes the checkpoints of all graphs may bring back."""
        from platform_site.core.serialization.types import TypeRules

        serde = self.checkpointer.serde if self.checkpointer else None
        directories = (self.directory, *self.import_paths, *self.graph_paths)
        return TypeRules(
            directories=tuple(dict.fromkeys(directory.resolve() for directory in directories)),
            names=self.allowed_types,
            json_names=serde.allowed_json_types if serde is not None else frozenset(),
            every_data_class=serde is not None and serde.allowed_msgpack_modules is True,
            pickles=self.allows_pickles,
        )

    def apply(self) -> None:
        """Set the variables that are not set yet and make the directories importable."""
        for name, value in self.env.items():
            os.environ.setdefault(name, value)
        import_path.extend([*self.import_paths, *self.graph_paths])


def load_config(path: Path | None) -> Config:
    """Read and check a `langgraph.json`; None is the one of the sample graphs. Raises ConfigError."""
    path = (path or SAMPLES).absolute()
    written, warnings = parse(path)
    directory = path.parent
    dependencies, missing = _local(directory, written.dependencies)
    import_paths = [] if path == SAMPLES else _import_paths(directory, dependencies)
    env, of_env = variables(path, written.env)
    graphs = {graph_id: spec_of(path, graph_id, entry) for graph_id, entry in written.graphs.items()}
    place = f"{path}: `env.LANGGRAPH_CONFIG`"
    configs, of_configs = assistant_configs(place, env.get("LANGGRAPH_CONFIG", ""), graphs)
    without_effect = [*notes(directory, written), *_without_effect(written)]
    return Config(
        path=path,
        directory=directory,
        graphs=graphs,
        dependencies=written.dependencies,
        import_paths=import_paths,
        graph_paths=_graph_paths(graphs, import_paths),
        env=env,
        auth=written.auth,
        store=written.store,
        checkpointer=written.checkpointer,
        http=written.http or sections.Http(),
        webhooks=written.webhooks or sections.Webhooks(),
        assistant_configs=configs,
        warnings=[*warnings, *without_effect, *missing, *of_env, *of_configs],
    )


_lock = threading.Lock()
_current: Config | None = None


def config() -> Config:
    """Return the configuration that this process serves. `settings.LANGGRAPH_CONFIG` is read and applied once."""
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                from django.conf import settings

                loaded = load_config(Path(settings.LANGGRAPH_CONFIG) if settings.LANGGRAPH_CONFIG else None)
                if settings.ASSISTANT_CONFIGS:
                    loaded = _with_assistant_configs(loaded, settings.ASSISTANT_CONFIGS)
                if settings.LANGGRAPH_WEBHOOKS:
                    loaded = replace(loaded, webhooks=_webhooks(settings.LANGGRAPH_WEBHOOKS))
                loaded.apply()
                _current = loaded
    return _current


def _local(directory: Path, dependencies: list[str]) -> tuple[list[Path], list[str]]:
    """Return the directories among the dependencies, and a warning for each that is not there."""
    found, missing = [], []
    for entry in filter(is_local, dependencies):
        place = (directory / entry.partition("[")[0]).resolve()
        if place.is_dir():
            found.append(place)
        elif not place.is_file():
            missing.append(f"`dependencies`: there is no directory {entry!r} ({place}), so nothing is imported from it")
    return found, missing


def _import_paths(directory: Path, dependencies: list[Path]) -> list[Path]:
    """Return the directories that become importable: those named, each after its `src` folder, and the file's own.

    A dependency that is itself a package, with no project file that says how it is installed, is importable by its
    name: the directory above it is on the path, too.
    """
    paths: list[Path] = []
    for dependency in dependencies:
        source = dependency / "src"
        if source.is_dir() and not (source / "__init__.py").exists():
            paths.append(source)
        paths.append(dependency)
        if _is_bare_package(dependency):
            paths.append(dependency.parent)
    return list(dict.fromkeys([*paths, directory.resolve()]))


def _is_bare_package(directory: Path) -> bool:
    is_installable = any((directory / name).is_file() for name in ("pyproject.toml", "setup.py"))
    return (directory / "__init__.py").is_file() and not is_installable


def _graph_paths(graphs: dict[str, GraphSpec], import_paths: list[Path]) -> list[Path]:
    paths: list[Path] = []
    for spec in graphs.values():
        if spec.file is not None:
            paths += [_beginning(spec.file.parent, import_paths), spec.file.parent]
    return [place for place in dict.fromkeys(paths) if place not in import_paths and place.is_dir()]


def _beginning(directory: Path, import_paths: list[Path]) -> Path:
    """Return the directory from which the package is imported that `directory` is in, but none above a project."""
    while (directory / "__init__.py").exists() and directory not in import_paths:
        directory = directory.parent
    return directory


def spec_of(path: Path, graph_id: str, entry: str | sections.Graph) -> GraphSpec:
    """Return where the configuration at `path` finds what `entry` names. Raises `ConfigError` for a blank id."""
    if not graph_id.strip():
        raise ConfigError(f"{path}: `graphs`: expected a name for every graph, not {graph_id!r}")
    reference = entry if isinstance(entry, str) else entry.path
    description = None if isinstance(entry, str) else entry.description
    place, _, name = reference.rpartition(":")
    is_file = "/" in place or "\\" in place or Path(place).suffix in (".py", ".ts", ".js", ".mts", ".mjs", ".tsx")
    if is_file:
        file = (path.parent / place.replace("\\", "/")).resolve()
        return GraphSpec(id=graph_id, path=reference, name=name, file=file, description=description)
    return GraphSpec(id=graph_id, path=reference, name=name, module=place, description=description)


def _with_assistant_configs(config: Config, text: str) -> Config:
    """Return the configuration with LANGGRAPH_CONFIG of the process, which counts before the file's."""
    configs, warnings = assistant_configs("the environment variable LANGGRAPH_CONFIG", text, config.graphs)
    return replace(config, assistant_configs=configs, warnings=[*config.warnings, *warnings])


def _webhooks(text: str) -> sections.Webhooks:
    """Return the section `webhooks` from the environment: it takes the place of the file's."""
    place = "the environment variable LANGGRAPH_WEBHOOKS"
    try:
        return sections.Webhooks.model_validate(json_object(place, text, "the section `webhooks`"))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{place}: {line}" for line in complaints(error))) from None


def _without_effect(written: sections.File) -> Iterator[str]:
    from django.conf import settings

    serde = written.checkpointer.serde if written.checkpointer else None
    if serde and serde.pickle_fallback and not settings.ALLOW_PICKLE:
        yield "`checkpointer.serde.pickle_fallback` has no effect without the setting ALLOW_PICKLE=true"
