"""LANGGRAPH_WEBHOOKS: the section `webhooks` of langgraph.json from the environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platform_site.core import config as config_module
from platform_site.core.config import ConfigError, config
from tests.core.projects import clean_imports, write


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Any]:
    monkeypatch.setattr(config_module, "_current", None)
    (tmp_path / "a.py").write_text("")
    settings.LANGGRAPH_CONFIG = str(write(tmp_path, graphs={"a": "./a.py:graph"}, webhooks={"headers": {"X": "file"}}))
    settings.ASSISTANT_CONFIGS = ""
    with clean_imports(tmp_path):
        yield settings


def test_environment_takes_the_place_of_the_file(served: Any) -> None:
    served.LANGGRAPH_WEBHOOKS = '{"url": {"disable_loopback": false}}'
    section = config().webhooks
    assert section.url is not None
    assert section.url.disable_loopback is False
    assert section.headers == {}


def test_without_it_the_file_counts(served: Any) -> None:
    served.LANGGRAPH_WEBHOOKS = ""
    assert config().webhooks.headers == {"X": "file"}


@pytest.mark.parametrize("text", ["x", "[]", '{"url": 5}', '{"headers": {"Host": "x"}}'])
def test_what_is_wrong_is_named(served: Any, text: str) -> None:
    served.LANGGRAPH_WEBHOOKS = text
    with pytest.raises(ConfigError, match="the environment variable LANGGRAPH_WEBHOOKS: "):
        config()
