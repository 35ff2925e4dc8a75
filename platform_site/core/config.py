"""`langgraph.json` as one typed object.

`load_config` reads and checks a file and changes nothing; `config()` is the one this process serves, applied: its
variables are in the environment and its directories on the import path.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from platform_site.core import config_sections as sections

if TYPE_CHECKING:
    from platform_site.core.checkpoint_types import TypeRules

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "platform_site" / "samples" / "langgraph.json"

# Python packages of this repository: a user's module of the same name could never be imported.
OUR_MODULES = ("platform_site", "assistants", "threads", "runs", "crons", "store")
# Names of ours that hold nothing a server imports. A user may have them, but not a graph inside them by module path.
OUR_OTHER_NAMES = ("templates", "static", "tests")

# Keys that say how an image is built or how other tools behave: accepted, without effect here.
BUILD_KEYS = {
    "$schema",
    "_INTERNAL_docker_tag",
    "api_version",
    "base_image",
    "dockerfile_lines",
    "image_distro",
    "keep_pkg_tools",
    "node_version",
    "pip_config_file",
    "pip_installer",
    "python_version",
    "source",
    "ui",
    "ui_config",
}


class ConfigError(Exception):
    """`langgraph.json` cannot be served. The message names the file, the key and what was expected."""


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
    # Directories appended to the import path, in order.
    import_paths: list[Path] = field(default_factory=list)
    # Packages among the dependencies, as pip writes them: `langchain-openai>=1`.
    requirements: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    auth: sections.Auth | None = None
    store: sections.Store | None = None
    checkpointer: sections.Checkpointer | None = None
    http: sections.Http = field(default_factory=sections.Http)
    webhooks: sections.Webhooks = field(default_factory=sections.Webhooks)
    # The configuration below that of every assistant: LANGGRAPH_CONFIG, as it was written.
    run_defaults: dict[str, Any] = field(default_factory=dict)
    # What the file says that has no effect here, as sentences.
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def install_arguments(self) -> list[str]:
        """Arguments for `pip install` that make every dependency importable, directories with a project included."""
        arguments = list(self.requirements)
        for entry in self.dependencies:
            directory = self.directory / entry
            if not _is_local(entry):
                continue
            if (directory / "requirements.txt").is_file():
                arguments += ["-r", str(directory / "requirements.txt")]
            if (directory / "pyproject.toml").is_file() or (directory / "setup.py").is_file():
                arguments += ["-e", str(directory)]
        return arguments

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
        from platform_site.core.checkpoint_types import type_rules

        return type_rules(self)

    def apply(self) -> None:
        """Set the variables that are not set yet and append the directories to the import path."""
        for name, value in self.env.items():
            os.environ.setdefault(name, value)
        for directory in self.import_paths:
            if str(directory) not in sys.path:
                sys.path.append(str(directory))


def load_config(path: Path | None) -> Config:
    """Read and check a `langgraph.json`; None is the one of the sample graphs. Raises ConfigError."""
    path = (path or SAMPLES).absolute()
    written = _parse(path)
    directory = path.parent
    local = [entry for entry in written.dependencies if _is_local(entry)]
    import_paths = _import_paths(path, local)
    env = _variables(path, written.env)
    config = Config(
        path=path,
        directory=directory,
        graphs={graph_id: spec_of(path, graph_id, entry) for graph_id, entry in written.graphs.items()},
        dependencies=written.dependencies,
        import_paths=import_paths,
        requirements=[entry for entry in written.dependencies if entry not in local],
        env=env,
        auth=written.auth,
        store=written.store,
        checkpointer=written.checkpointer,
        http=written.http or sections.Http(),
        webhooks=written.webhooks or sections.Webhooks(),
        run_defaults=_run_defaults(f"{path}: `env.LANGGRAPH_CONFIG`", env.get("LANGGRAPH_CONFIG", "")),
        warnings=[*_unknown_keys(written), *_without_effect(directory, written)],
    )
    _refuse_collisions(config)
    return config


_lock = threading.Lock()
_current: Config | None = None


def config() -> Config:
    """The configuration this process serves, from `settings.LANGGRAPH_CONFIG`, read and applied once."""
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                from django.conf import settings

                loaded = load_config(Path(settings.LANGGRAPH_CONFIG) if settings.LANGGRAPH_CONFIG else None)
                if settings.RUN_DEFAULTS:
                    # As with every variable, the environment of the process counts before the file's.
                    defaults = _run_defaults("the environment variable LANGGRAPH_CONFIG", settings.RUN_DEFAULTS)
                    loaded = replace(loaded, run_defaults=defaults)
                if settings.LANGGRAPH_WEBHOOKS:
                    loaded = replace(loaded, webhooks=_webhooks(settings.LANGGRAPH_WEBHOOKS))
                for warning in loaded.warnings:
                    logger.warning("%s: %s", loaded.path, warning)
                loaded.apply()
                _current = loaded
    return _current


def _parse(path: Path) -> sections.File:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; expected the path of a langgraph.json") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a JSON file in UTF-8") from None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}: expected valid JSON ({error.msg})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a JSON object with `graphs`, not {_kind(data)}")
    if data.get("encryption"):
        # Going on without it would write in clear what its owner wants encrypted.
        raise ConfigError(f"{path}: `encryption`: custom encryption is not supported; expected a file without this key")
    try:
        return sections.File.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _complaints(error))) from None


def _complaints(error: ValidationError) -> Iterator[str]:
    seen = set()
    for item in error.errors():
        # Branches of a union ("str", "Graph") are no keys of the file.
        parts = [str(part) for part in item["loc"] if not _is_branch(part)]
        key = ".".join(parts) or "the file"
        if item["type"] == "missing":
            line = f"`{key}` is missing"
        else:
            text = item["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
            got = _shown(item["input"])
            line = f"`{key}`: {text[:1].lower()}{text[1:]}"
            if not text.startswith(got):
                line += f", not {got}"
        if line not in seen:
            seen.add(line)
            yield line


def _is_branch(part: int | str) -> bool:
    return isinstance(part, str) and (
        part in ("str", "int", "float", "bool", "Graph") or part.startswith(("dict[", "list[", "function-"))
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else _kind(value)


def _is_local(entry: str) -> bool:
    return entry.startswith(".") or os.path.isabs(entry)


def _import_paths(path: Path, local: list[str]) -> list[Path]:
    """Directories that become importable: those named, each after its `src` folder."""
    paths: list[Path] = []
    for entry in local:
        directory = (path.parent / entry).resolve()
        if not directory.is_dir():
            raise ConfigError(f"{path}: `dependencies`: expected an existing directory, not {entry!r} ({directory})")
        source = directory / "src"
        if source.is_dir() and not (source / "__init__.py").exists():
            paths.append(source)
        paths.append(directory)
    return list(dict.fromkeys(paths))


def spec_of(path: Path, graph_id: str, entry: str | sections.Graph) -> GraphSpec:
    """Where the configuration at `path` finds what `entry` names. Raises `ConfigError` for a blank id."""
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


def _variables(path: Path, env: str | Mapping[str, str | int | float | bool]) -> dict[str, str]:
    if isinstance(env, Mapping):
        return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in env.items()}
    if not env:
        return {}
    from dotenv import dotenv_values

    file = path.parent / env
    if not file.is_file():
        raise ConfigError(f"{path}: `env`: expected an object or the path of an existing file, not {env!r} ({file})")
    return {name: value for name, value in dotenv_values(file).items() if value is not None}


def _run_defaults(place: str, text: str) -> dict[str, Any]:
    """The default configuration of runs, checked, but as it was written. `place` is where it stands."""
    if not text.strip():
        return {}
    written = _object(place, text, "the default config of runs")
    try:
        sections.RunDefaults.model_validate(written)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{place}: {line}" for line in _complaints(error))) from None
    return written


def _webhooks(text: str) -> sections.Webhooks:
    """The section `webhooks` from the environment: it takes the place of the file's."""
    place = "the environment variable LANGGRAPH_WEBHOOKS"
    try:
        return sections.Webhooks.model_validate(_object(place, text, "the section `webhooks`"))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{place}: {line}" for line in _complaints(error))) from None


def _object(place: str, text: str, what: str) -> dict[str, Any]:
    try:
        written = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{place}: expected a JSON object, {what} ({error.msg})") from None
    if not isinstance(written, dict):
        raise ConfigError(f"{place}: expected a JSON object, {what}, not {_kind(written)}")
    return written


def _refuse_collisions(config: Config) -> None:
    for directory in config.import_paths:
        if directory == ROOT:
            continue
        for name in OUR_MODULES:
            for place in (directory / f"{name}.py", directory / name):
                if _is_module(place):
                    raise ConfigError(
                        f"{config.path}: `dependencies`: {place} would be imported as `{name}`, which is the name of a "
                        f"module of Switchyard; expected another name (also taken: {', '.join(OUR_MODULES)})"
                    )
    for graph_id, spec in config.graphs.items():
        top = (spec.module or "").partition(".")[0]
        if top in OUR_OTHER_NAMES:
            raise ConfigError(
                f"{config.path}: `graphs.{graph_id}`: `{top}` is the name of a directory of Switchyard; expected a "
                f"module of another name, or a path like `./{top}/file.py:{spec.name}`"
            )


def _is_module(place: Path) -> bool:
    return place.is_file() if place.suffix == ".py" else place.is_dir() and any(place.glob("*.py"))


def _unknown_keys(section: sections.Section, prefix: str = "") -> Iterator[str]:
    known = {info.alias or name: name for name, info in type(section).model_fields.items()}
    for key in section.model_extra or {}:
        if not prefix and key in BUILD_KEYS:
            continue
        matches = get_close_matches(key, known, n=1)
        hint = f"; did you mean `{prefix}{matches[0]}`?" if matches else ""
        yield f"`{prefix}{key}` is unknown and has no effect{hint}"
    for key, name in known.items():
        value = getattr(section, name)
        if isinstance(value, sections.Section):
            yield from _unknown_keys(value, f"{prefix}{key}.")


def _without_effect(directory: Path, written: sections.File) -> Iterator[str]:
    from django.conf import settings

    for key in ("app", "middleware_order", "enable_custom_route_auth"):
        if written.http and key in written.http.model_fields_set:
            yield f"`http.{key}` has no effect: routes of one's own are not available in this version of Switchyard"
    for entry in written.dependencies:
        if not _is_local(entry) and (directory / entry).is_dir():
            yield f"`dependencies`: {entry!r} is read as the name of a package; write './{entry}' for the directory"
    serde = written.checkpointer.serde if written.checkpointer else None
    if serde and serde.pickle_fallback and not settings.ALLOW_PICKLE:
        yield "`checkpointer.serde.pickle_fallback` has no effect without the setting ALLOW_PICKLE=true"
