"""`LANGGRAPH_CONFIG`: the configs of system assistants by graph. Where it may stand, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from platform_site.core import config as config_module
from platform_site.core.config import Config, ConfigError
from tests.core.projects import clean_imports, read, write

AGENT = {"tags": ["x"], "recursion_limit": 7, "configurable": {"a": 1}, "other": {"b": 2}}
CONFIGS = {"agent": AGENT}


@pytest.mark.parametrize("value", [CONFIGS, json.dumps(CONFIGS)])
def test_the_file_may_hold_it_as_text_or_as_an_object(tmp_path: Path, value: Any) -> None:
    config = read(tmp_path, env={"LANGGRAPH_CONFIG": value})
    assert config.assistant_configs == CONFIGS
    assert config.warnings == []


def test_a_file_of_variables_may_hold_it(tmp_path: Path) -> None:
    config = read(tmp_path, {".env": f"LANGGRAPH_CONFIG='{json.dumps(CONFIGS)}'\n"}, env=".env")
    assert config.assistant_configs == CONFIGS


@pytest.mark.parametrize("env", [{}, {"LANGGRAPH_CONFIG": ""}, {"OTHER": "1"}])
def test_there_need_not_be_one(tmp_path: Path, env: dict[str, str]) -> None:
    assert read(tmp_path, env=env).assistant_configs == {}


def test_a_graph_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    config = read(tmp_path, env={"LANGGRAPH_CONFIG": {"gone": {"tags": []}, **CONFIGS}})
    assert config.assistant_configs == CONFIGS
    assert "there is no graph 'gone'" in config.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("./langgraph.json", "expected a JSON object, each graph's id with a config"),
        ("[1]", "expected a JSON object, each graph's id with a config, not a list"),
        ("{", "expected a JSON object"),
        ('{"agent": 5}', "`agent`: expected a config, a JSON object, not a number"),
        ('{"agent": {"tags": "x"}}', "`agent`: `tags`: expected a valid list"),
        ('{"agent": {"recursion_limit": 0}}', "`recursion_limit`: expected greater than or equal to 1"),
        ('{"agent": {"recursion_limit": 10001}}', "`recursion_limit`: 10001 is greater than the maximum of 10000"),
        ('{"agent": {"max_concurrency": -5}}', "`max_concurrency`: expected greater than or equal to 1"),
        ('{"agent": {"metadata": 5}}', "`metadata`: expected a valid dictionary"),
        ('{"agent": {"run_name": 5}}', "`run_name`: expected a valid string"),
        ('{"agent": {"configurable": {"checkpoint_map": 5}}}', "`configurable.checkpoint_map` must be an object of"),
        ('{"agent": {"configurable": []}}', "`configurable`: expected a valid dictionary"),
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
    settings.ASSISTANT_CONFIGS = text
    env = {"LANGGRAPH_CONFIG": CONFIGS}
    settings.LANGGRAPH_CONFIG = str(write(tmp_path, graphs={"agent": "./a.py:graph"}, env=env))
    with clean_imports(tmp_path):
        return config_module.config()


def test_the_environment_counts_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    used = of_the_process(tmp_path, monkeypatch, settings, '{"agent": {"tags":["y"]}}')
    assert used.assistant_configs == {"agent": {"tags": ["y"]}}


def test_what_is_wrong_in_the_environment_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    with pytest.raises(ConfigError, match="the environment variable LANGGRAPH_CONFIG: `agent`: `tags`"):
        of_the_process(tmp_path, monkeypatch, settings, '{"agent": {"tags":5}}')
