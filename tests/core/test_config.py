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


@pytest.mark.parametrize("dependencies", [["./lib"], ["langchain-openai>=1"], []])
def test_the_directory_of_the_file_is_importable_after_the_dependencies(
    tmp_path: Path, dependencies: list[str]
) -> None:
    (tmp_path / "lib").mkdir()
    paths = read(tmp_path, dependencies=dependencies).import_paths
    assert paths == [*([tmp_path / "lib"] if "./lib" in dependencies else []), tmp_path]


def test_without_dependencies_the_directory_of_the_file_is_importable(tmp_path: Path) -> None:
    assert read(tmp_path).import_paths == [tmp_path]


def test_a_dependency_that_names_a_directory_like_a_package_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    assert "write './lib'" in read(tmp_path, dependencies=[".", "lib"]).warnings[0]


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


def test_keys_that_concern_building_images_are_named_in_one_line(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        python_version="3.10",
        dockerfile_lines=["RUN true"],
        image_distro="wolfi",
        pip_config_file="x",
        pip_installer="uv",
        base_image="x",
        api_version="0.1",
        keep_pkg_tools=True,
        node_version="20",
        source={"kind": "uv", "root": "."},
    )
    (warning,) = config.warnings
    assert warning == (
        "`api_version`, `base_image`, `dockerfile_lines`, `image_distro`, `keep_pkg_tools`, `node_version`, "
        "`pip_config_file`, `pip_installer`, `python_version`, `source` have no effect: "
        "used only when an image is built"
    )


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"ui": {"card": "./card.tsx"}, "ui_config": {"shared": ["react"]}}, "`ui`, `ui_config` have no effect"),
        ({"priority": {"path": "./p.py:p"}}, "`priority` has no effect"),
        ({"checkpointer": {"path": "./c.py:make"}}, "`checkpointer.path` has no effect: checkpoints are kept in the"),
        ({"store": {"path": "./s.py:make"}}, "`store.path` has no effect: items are kept in the database"),
        ({"http": {"enable_custom_route_auth": True}}, "`http.enable_custom_route_auth` has no effect"),
        ({"graphs": {"a": {"path": "./a.py:g", "descripton": "x"}}}, "did you mean `graphs.a.description`?"),
        ({"webhooks": {"url": {"allow": 1}}}, "`webhooks.url.allow` is unknown"),
    ],
)
def test_a_key_without_effect_is_named(tmp_path: Path, keys: dict[str, Any], named: str) -> None:
    (warning,) = read(tmp_path, **keys).warnings
    assert named in warning


OURS = "{}.{}".format(*sys.version_info)


@pytest.mark.parametrize(
    "keys",
    [
        {"python_version": OURS},
        {"$schema": "https://langgra.ph/schema.json"},
        {"dockerfile_lines": [], "keep_pkg_tools": False, "http": {"enable_custom_route_auth": False}},
        {"base_image": None, "ui": None, "http": {"app": None}, "checkpointer": {"path": None}},
    ],
)
def test_a_key_that_asks_for_nothing_more_is_no_warning(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert read(tmp_path, **keys).warnings == []


def test_a_newer_python_than_ours_is_said(tmp_path: Path) -> None:
    newer = f"{sys.version_info[0]}.{sys.version_info[1] + 1}"
    (warning,) = read(tmp_path, python_version=newer).warnings
    assert warning.startswith(f"`python_version` is {newer}, but this is Python {OURS}")
    assert f"PYTHON=python{newer}" in warning


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
    ({"dependencies": "."}, "dependencies", "list"),
    ({"env": 5}, "env", "string"),
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


def test_a_directory_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory; expected a JSON file"):
        load_config(tmp_path)


def test_broken_json_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text('{\n  "graphs": {,}\n}')
    with pytest.raises(ConfigError, match="line 2: expected valid JSON"):
        load_config(tmp_path / "langgraph.json")


def test_json_that_is_no_object_is_told(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text("[]")
    with pytest.raises(ConfigError, match="expected a JSON object with `graphs`, not a list"):
        load_config(tmp_path / "langgraph.json")


def test_a_dependency_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    config = read(tmp_path, dependencies=["./missing", "."])
    (warning,) = config.warnings
    assert f"there is no directory './missing' ({tmp_path / 'missing'})" in warning
    assert config.import_paths == [tmp_path]


def test_a_null_is_as_good_as_no_key(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        dependencies=None,
        env=None,
        auth=None,
        store={"ttl": {"refresh_on_read": None}, "index": None},
        checkpointer={"ttl": {"strategy": None}, "serde": None},
        http={"disable_mcp": None, "mount_prefix": None, "cors": {"max_age": None}},
        webhooks={"env_prefix": None, "headers": None},
    )
    assert config.warnings == []
    assert config.import_paths == [tmp_path]
    assert config.store
    assert config.store.ttl
    assert config.store.ttl.refresh_on_read is True
    assert config.http.cors
    assert config.http.cors.max_age == 600


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_a_warning(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "langgraph.json"
    path.write_text('{"graphs": {"ä": "./a.py:graph"}}', encoding=encoding)
    config = load_config(path)
    assert list(config.graphs) == ["ä"]
    assert "langgraph.json begins with a byte order mark" in config.warnings[0]


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"ä": "./a.py:graph"}}', encoding="latin-1")
    with pytest.raises(ConfigError, match="expected a JSON file in UTF-8"):
        load_config(tmp_path / "langgraph.json")


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
