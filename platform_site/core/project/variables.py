"""Variables that `langgraph.json` sets: the key `env`, as an object, as the name of a file, or in its older form."""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from platform_site.core.project import sections as sections
from platform_site.core.project.reading import ConfigError, complaints, json_object, kind, read_text

# How projects name the file that shows which variables they need; `{}` is the name that `env` gives.
_EXAMPLES = ("{}.example", "{}.sample", "{}.template", "{}.dist", "example{}", "env.example")


def variables(path: Path, env: str | Mapping[str, Any] | list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that `env` of the file at `path` asks for, and warnings. Raises ConfigError."""
    if isinstance(env, str):
        return _from_file(path.parent, env)
    if isinstance(env, list):
        listed = ", ".join(env) or "nothing"
        return {}, [f"`env`: a list sets nothing ({listed} must be in the environment already); write an object"]
    nulls = [name for name, value in env.items() if value is None]
    warnings = [f"`env.{name}` is null and is not set" for name in nulls]
    return {name: _text(value) for name, value in env.items() if value is not None}, warnings


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _from_file(directory: Path, name: str) -> tuple[dict[str, str], list[str]]:
    if not name.strip():
        return {}, []
    from dotenv import dotenv_values

    file = directory / name
    try:
        text, warnings = read_text(file, "lines like NAME=value")
    except FileNotFoundError:
        return {}, [f"`env`: there is no file {name!r}, so no variable is set{_hint(file)}"]
    found = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in found.items() if value is not None}, warnings


def _hint(file: Path) -> str:
    for pattern in _EXAMPLES:
        example = file.with_name(pattern.format(file.name))
        if example.is_file():
            return f"; {example.name} shows what belongs into it: cp {example.name} {file.name}"
    return ""


def assistant_configs(place: str, text: str, graph_ids: Iterable[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the configs of system assistants by graph, checked but as they were written, and warnings.

    `text` is the value of LANGGRAPH_CONFIG, `place` is where it stands. Raises ConfigError.
    """
    if not text.strip():
        return {}, []
    written = json_object(place, text, "each graph's id with a config")
    found: dict[str, dict[str, Any]] = {}
    warnings = []
    for graph_id, config in written.items():
        if graph_id not in graph_ids:
            warnings.append(f"{place}: there is no graph {graph_id!r}, so its config has no effect")
        elif not isinstance(config, dict):
            raise ConfigError(f"{place}: `{graph_id}`: expected a config, a JSON object, not {kind(config)}")
        else:
            _check(f"{place}: `{graph_id}`", config)
            found[graph_id] = config
    return found, warnings


def _check(place: str, config: dict[str, Any]) -> None:
    try:
        sections.AssistantConfig.model_validate(config)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{place}: {line}" for line in complaints(error))) from None
