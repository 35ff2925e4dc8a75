"""`LANGGRAPH_CONFIG` as a default config of runs: where it may stand, and what is refused at the start."""

import json
from pathlib import Path
from typing import Any

import pytest

from platform_site.core import config as config_module
from platform_site.core.config import Config, ConfigError
from tests.core.projects import clean_imports, read, write

DEFAULTS = {"tags": ["x"], "recursion_limit": 7, "configurable": {"a": 1}, "context": {"b": 2}}


def test_the_file_may_hold_it(tmp_path: Path) -> None:
    config = read(tmp_path, env={"LANGGRAPH_CONFIG": json.dumps(DEFAULTS)})
    assert config.run_defaults == DEFAULTS


def test_a_file_of_variables_may_hold_it(tmp_path: Path) -> None:
    config = read(tmp_path, {".env": f"LANGGRAPH_CONFIG='{json.dumps(DEFAULTS)}'\n"}, env=".env")
    assert config.run_defaults == DEFAULTS


@pytest.mark.parametrize("env", [{}, {"LANGGRAPH_CONFIG": ""}, {"OTHER": "1"}])
def test_there_need_not_be_one(tmp_path: Path, env: dict[str, str]) -> None:
    assert read(tmp_path, env=env).run_defaults == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("./langgraph.json", "expected a JSON object, the default config of runs"),
        ("[1]", "expected a JSON object, the default config of runs, not a list"),
        ('{"tags": "x"}', "`tags`: expected a valid list"),
        ('{"recursion_limit": 0}', "`recursion_limit`: expected greater than or equal to 1"),
        ('{"recursion_limit": 10001}', "`recursion_limit`: 10001 is greater than the maximum of 10000"),
        ('{"max_concurrency": -5}', "`max_concurrency`: expected greater than or equal to 1"),
        ('{"metadata": 5}', "`metadata`: expected a valid dictionary"),
        ('{"run_name": 5}', "`run_name`: expected a valid string"),
        ('{"configurable": {"checkpoint_map": 5}}', "`configurable.checkpoint_map` must be an object of strings"),
        ('{"configurable": []}', "`configurable`: expected a valid dictionary"),
        ("{", "expected a JSON object"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, env={"LANGGRAPH_CONFIG": text})
    assert "langgraph.json: `env.LANGGRAPH_CONFIG`" in str(caught.value)
    assert message in str(caught.value)


def of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, text: str) -> Config:
    monkeypatch.setattr(config_module, "_current", None)
    monkeypatch.setenv("LANGGRAPH_CONFIG", text)
    settings.RUN_DEFAULTS = text
    env = {"LANGGRAPH_CONFIG": json.dumps(DEFAULTS)}
    settings.LANGGRAPH_CONFIG = str(write(tmp_path, graphs={"a": "./a.py:graph"}, env=env))
    with clean_imports(tmp_path):
        return config_module.config()


def test_the_environment_counts_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    assert of_the_process(tmp_path, monkeypatch, settings, '{"tags":["y"]}').run_defaults == {"tags": ["y"]}


def test_what_is_wrong_in_the_environment_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    with pytest.raises(ConfigError, match="the environment variable LANGGRAPH_CONFIG: `tags`"):
        of_the_process(tmp_path, monkeypatch, settings, '{"tags":5}')
