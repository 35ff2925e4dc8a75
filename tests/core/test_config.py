"""langgraph.json: what it may say, and how a mistake in it is told."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from platform_site.core import config as config_module
from platform_site.core.config import SAMPLES, ConfigError, load_config
from tests.core.projects import clean_imports, read, write


def test_graphs_are_strings_or_objects_in_files_or_modules(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        graphs={"a": "./src/a.py:graph", "b": {"path": "pack.b:make", "description": "The second"}},
    )
    assert list(config.graphs) == ["a", "b"]
    assert (config.graphs["a"].file, config.graphs["a"].name) == (tmp_path / "src/a.py", "graph")
    assert (config.graphs["b"].module, config.graphs["b"].name) == ("pack.b", "make")
    assert config.graphs["b"].description == "The second"


def test_without_a_file_the_samples_are_served() -> None:
    config = load_config(None)
    assert config.path == SAMPLES
    assert list(config.graphs) == ["chat", "approval", "memory", "research", "slow"]
    assert config.import_paths == []


def test_dependencies_are_directories_for_the_import_path_or_packages(tmp_path: Path) -> None:
    (tmp_path / "lib" / "src").mkdir(parents=True)
    config = read(tmp_path, dependencies=[".", "./lib", "langchain-openai>=1"])
    assert config.import_paths == [tmp_path, tmp_path / "lib" / "src", tmp_path / "lib"]
    assert config.requirements == ["langchain-openai>=1"]


def test_without_dependencies_the_directory_of_the_file_is_importable(tmp_path: Path) -> None:
    assert read(tmp_path).import_paths == [tmp_path]


def test_what_pip_has_to_install_includes_the_projects_of_directories(tmp_path: Path) -> None:
    files = {"pyproject.toml": "", "lib/requirements.txt": "httpx"}
    config = read(tmp_path, files, dependencies=[".", "./lib", "anthropic"])
    assert config.install_arguments == [
        "anthropic",
        "-e",
        str(tmp_path),
        "-r",
        str(tmp_path / "lib" / "requirements.txt"),
    ]


def test_a_dependency_that_names_a_directory_like_a_package_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    assert "write './lib'" in read(tmp_path, dependencies=[".", "lib"]).warnings[0]


def test_directories_are_appended_behind_what_is_importable_already(tmp_path: Path) -> None:
    with clean_imports(tmp_path):
        first = sys.path[0]
        config = read(tmp_path)
        config.apply()
        config.apply()
        assert sys.path[0] == first
        assert sys.path[-1] == str(tmp_path)
        assert sys.path.count(str(tmp_path)) == 1


def test_env_is_an_object(tmp_path: Path) -> None:
    assert read(tmp_path, env={"A": "x", "B": 3, "C": True}).env == {"A": "x", "B": "3", "C": "true"}


def test_env_is_a_file(tmp_path: Path) -> None:
    config = read(tmp_path, {".env": "# keys\nA='x y'\nexport B=2\nC\n"}, env=".env")
    assert config.env == {"A": "x y", "B": "2"}


def test_env_does_not_override_what_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_TEST_A", "from the shell")
    monkeypatch.delenv("SWITCHYARD_TEST_B", raising=False)
    with clean_imports(tmp_path):
        read(tmp_path, env={"SWITCHYARD_TEST_A": "a", "SWITCHYARD_TEST_B": "b"}).apply()
    assert os.environ["SWITCHYARD_TEST_A"] == "from the shell"
    assert os.environ.pop("SWITCHYARD_TEST_B") == "b"


def test_reading_a_file_changes_nothing(tmp_path: Path) -> None:
    path = list(sys.path)
    read(tmp_path, env={"SWITCHYARD_TEST_C": "c"})
    assert "SWITCHYARD_TEST_C" not in os.environ
    assert sys.path == path


def test_all_sections_are_typed(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        auth={"path": "./auth.py:auth", "cache": {"cache_keys": ["authorization"], "ttl_seconds": 60}},
        store={"index": {"embed": "openai:x", "dims": 8, "fields": ["$"]}, "ttl": {"default_ttl": 60}},
        checkpointer={
            "ttl": {"strategy": "keep_latest", "default_ttl": 1.5},
            "serde": {"allowed_msgpack_modules": [["my.models", "Order"], ["a", "b", "C"]]},
        },
        http={
            "mount_prefix": "/api",
            "disable_mcp": True,
            "cors": {"allow_origins": ["https://a.example"], "allow_origin_regex": "^https://.*$"},
            "configurable_headers": {"includes": ["x-*"]},
            "logging_headers": {"excludes": ["*key*"]},
        },
        webhooks={"url": {"require_https": False}, "headers": {"X-Token": "${{ env.LG_WEBHOOK_TOKEN }}"}},
    )
    assert config.warnings == []
    assert config.auth
    assert config.auth.path == "./auth.py:auth"
    assert config.store
    assert config.store.index
    assert config.store.index.fields_ == ["$"]
    assert config.checkpointer
    assert config.checkpointer.ttl
    assert config.checkpointer.ttl.strategy == "keep_latest"
    assert config.allowed_types == {("my.models", "Order"), ("a.b", "C")}
    assert config.http.cors
    assert config.http.cors.allow_origins == ["https://a.example"]
    assert config.http.disable_mcp
    assert config.http.mount_prefix == "/api"
    assert config.webhooks.url
    assert config.webhooks.url.require_https is False


def test_pickles_need_the_operator_s_consent(tmp_path: Path, settings: Any) -> None:
    serde = {"serde": {"pickle_fallback": True}}
    refused = read(tmp_path, checkpointer=serde)
    settings.ALLOW_PICKLE = True
    allowed = read(tmp_path, checkpointer=serde)
    assert refused.warnings == [
        "`checkpointer.serde.pickle_fallback` has no effect without the setting ALLOW_PICKLE=true"
    ]
    assert (allowed.warnings, allowed.type_rules.pickles) == ([], True)


def test_the_serde_section_says_which_types_come_back(tmp_path: Path) -> None:
    every = read(tmp_path, checkpointer={"serde": {"allowed_msgpack_modules": True}})
    named = read(tmp_path, checkpointer={"serde": {"allowed_msgpack_modules": [["a", "b", "C"]]}})
    assert (every.warnings, every.type_rules.every_data_class) == ([], True)
    assert (named.type_rules.every_data_class, named.type_rules.names) == (False, frozenset({("a.b", "C")}))


def test_what_has_no_effect_is_a_warning(tmp_path: Path) -> None:
    warnings = read(tmp_path, http={"app": "./web.py:app", "mount_prefix": "/api"}).warnings
    assert warnings == ["`http.app` has no effect: routes of one's own are not available in this version of Switchyard"]


def test_headers_may_be_chosen_by_the_older_names(tmp_path: Path) -> None:
    config = read(tmp_path, http={"configurable_headers": {"include": ["x-*"], "exclude": ["x-a"]}})
    assert config.warnings == []
    assert config.http.configurable_headers
    assert config.http.configurable_headers.includes == ["x-*"]
    assert config.http.configurable_headers.excludes == ["x-a"]


def test_keys_that_concern_building_images_are_accepted(tmp_path: Path) -> None:
    config = read(
        tmp_path, python_version="3.12", dockerfile_lines=[], image_distro="wolfi", pip_config_file="x", ui={}
    )
    assert config.warnings == []


def test_an_unknown_key_is_a_warning_with_a_hint(tmp_path: Path) -> None:
    config = read(tmp_path, depedencies=["."], http={"cors": {"alow_origins": []}})
    assert config.warnings == [
        "`depedencies` is unknown and has no effect; did you mean `dependencies`?",
        "`http.cors.alow_origins` is unknown and has no effect; did you mean `http.cors.allow_origins`?",
    ]


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"graphs": {}}, "graphs", "at least 1 item"),
    ({"graphs": {"a": "agent.py"}}, "graphs.a", "path/to/file.py:name"),
    ({"graphs": {"a": 5}}, "graphs.a", "string"),
    ({"graphs": {"a": {"description": "no path"}}}, "graphs.a.path", "missing"),
    ({"graphs": []}, "graphs", "valid dictionary"),
    ({"graphs": {"a": "tests.agent:graph"}}, "graphs.a", "module of another name"),
    ({"dependencies": "."}, "dependencies", "list"),
    ({"dependencies": ["./missing"]}, "dependencies", "existing directory"),
    ({"env": "missing.env"}, "env", "existing file"),
    ({"env": ["A=1"]}, "env", "string"),
    ({"auth": {}}, "auth.path", "missing"),
    ({"auth": {"path": "auth"}}, "auth.path", "path/to/file.py:name"),
    ({"encryption": {"path": "./e.py:e"}}, "encryption", "not supported"),
    ({"store": {"index": {"embed": "x"}}}, "store.index.dims", "missing"),
    ({"store": {"index": {"embed": "x", "dims": 0}}}, "store.index.dims", "greater than 0"),
    ({"store": {"ttl": {"default_ttl": "1h"}}}, "store.ttl.default_ttl", "number"),
    ({"checkpointer": {"ttl": {"strategy": "drop"}}}, "checkpointer.ttl.strategy", "'delete' or 'keep_latest'"),
    (
        {"checkpointer": {"serde": {"allowed_msgpack_modules": [["Order"]]}}},
        "checkpointer.serde.allowed_msgpack_modules",
        "the module, then the type",
    ),
    ({"http": {"disable_mcp": "yes"}}, "http.disable_mcp", "boolean"),
    ({"http": {"mount_prefix": "api/"}}, "http.mount_prefix", "`/api`"),
    ({"http": {"cors": {"allow_origins": "*"}}}, "http.cors.allow_origins", "list"),
    ({"http": {"cors": {"allow_origin_regex": "("}}}, "http.cors.allow_origin_regex", "regular expression"),
    ({"webhooks": {"url": {"allowed_ports": [0]}}}, "webhooks.url.allowed_ports.0", "greater than or equal to 1"),
    ({"webhooks": {"headers": {"X": "${{ env.SECRET_KEY }}"}}}, "webhooks", "'LG_WEBHOOK_'"),
    ({"webhooks": {"headers": {"Webhook-ID": "x"}}}, "webhooks", "that webhooks do not have already"),
    ({"webhooks": {"headers": {"X Y": "x"}}}, "webhooks", "expected the name of a header"),
    ({"webhooks": {"headers": {"X": "a\r\nHost: b"}}}, "webhooks", "expected a value of one line"),
]


@pytest.mark.parametrize(("keys", "key", "expected"), BAD)
def test_an_error_names_the_file_the_key_and_what_was_expected(
    tmp_path: Path, keys: dict[str, Any], key: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **keys)
    message = str(caught.value)
    assert str(tmp_path / "langgraph.json") in message
    assert f"`{key}`" in message
    assert expected in message


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, auth={}, http={"disable_a2a": 1})
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "langgraph.json")


def test_broken_json_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text('{\n  "graphs": {,}\n}')
    with pytest.raises(ConfigError, match="line 2: expected valid JSON"):
        load_config(tmp_path / "langgraph.json")


def test_json_that_is_no_object_is_told(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text("[]")
    with pytest.raises(ConfigError, match="expected a JSON object with `graphs`, not a list"):
        load_config(tmp_path / "langgraph.json")


@pytest.mark.parametrize("file", ["store.py", "runs/__init__.py", "threads/agent.py"])
def test_a_module_with_a_name_of_ours_is_an_error(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="which is the name of a module of Switchyard"):
        read(tmp_path, {file: ""})


@pytest.mark.parametrize("file", ["tests/test_agent.py", "static/app.js", "store/README.md", "src/pack/store.py"])
def test_a_directory_that_is_never_imported_under_our_name_is_none(tmp_path: Path, file: str) -> None:
    assert read(tmp_path, {file: ""}).graphs


def test_null_sections_are_as_good_as_none(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, graphs={"a": "./a.py:graph"}, auth=None, http=None, webhooks=None))
    assert config.auth is None
    assert config.http.cors is None


def test_the_configuration_of_the_process_is_read_and_applied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(config_module, "_current", None)
    settings.LANGGRAPH_CONFIG = str(write(tmp_path, graphs={"a": "./a.py:graph"}))
    with clean_imports(tmp_path):
        assert config_module.config().path == tmp_path / "langgraph.json"
        assert config_module.config() is config_module.config()
        assert str(tmp_path) in sys.path
