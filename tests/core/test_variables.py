"""The key `env` of a langgraph.json: an object, a file, or what older files have there."""

from pathlib import Path
from typing import Any

import pytest

from platform_site.core.config import ConfigError
from tests.core.projects import read


def test_it_is_an_object(tmp_path: Path) -> None:
    env = {"A": "x", "B": 3, "C": True, "D": 1.5, "E": {"f": ["ä"]}}
    assert read(tmp_path, env=env).env == {"A": "x", "B": "3", "C": "true", "D": "1.5", "E": '{"f": ["ä"]}'}


def test_it_is_a_file(tmp_path: Path) -> None:
    config = read(tmp_path, {".env": "# keys\nA='x y'\nexport B=2\nC\nD=${A}!\n"}, env=".env")
    assert config.env == {"A": "x y", "B": "2", "D": "x y!"}
    assert config.warnings == []


@pytest.mark.parametrize("env", [None, "", {}])
def test_it_may_be_empty(tmp_path: Path, env: Any) -> None:
    config = read(tmp_path, env=env)
    assert (config.env, config.warnings) == ({}, [])


def test_a_null_value_is_not_set_and_is_a_warning(tmp_path: Path) -> None:
    config = read(tmp_path, env={"A": None, "B": "x"})
    assert config.env == {"B": "x"}
    assert config.warnings == ["`env.A` is null and is not set"]


@pytest.mark.parametrize("env", [".env", "config/.env", "langgraph.json/.env"])
def test_a_file_that_is_missing_is_one_warning(tmp_path: Path, env: str) -> None:
    config = read(tmp_path, env=env)
    assert config.env == {}
    assert config.warnings == [f"`env`: there is no file {env!r}, so no variable is set"]


@pytest.mark.parametrize("example", [".env.example", ".env.sample", ".env.template", "example.env", "env.example"])
def test_the_warning_names_the_example_beside_a_missing_file(tmp_path: Path, example: str) -> None:
    (warning,) = read(tmp_path, {example: "KEY="}, env=".env").warnings
    assert warning.endswith(f"; {example} shows what belongs into it: cp {example} .env")


def test_a_list_of_names_is_the_older_form(tmp_path: Path) -> None:
    config = read(tmp_path, env=["HOME", "KEY"])
    assert config.env == {}
    assert config.warnings == [
        "`env`: a list sets nothing (HOME, KEY must be in the environment already); write an object"
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_in_the_file_is_a_warning(tmp_path: Path, encoding: str) -> None:
    (tmp_path / ".env").write_text("KEY=ä\n", encoding=encoding)
    config = read(tmp_path, env=".env")
    assert config.env == {"KEY": "ä"}
    assert ".env begins with a byte order mark" in config.warnings[0]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"KEY=\xe4\n")
    with pytest.raises(ConfigError, match=r"\.env: cannot be read .* expected lines like NAME=value in UTF-8"):
        read(tmp_path, env=".env")
    with pytest.raises(ConfigError, match="is a directory; expected lines"):
        read(tmp_path, env=".")
