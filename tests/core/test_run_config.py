"""The configuration that LangGraph is given is made of known keys, and the server has the last word."""

from typing import Any

import pytest
from pydantic import ValidationError

from platform_site.core.run_config import FORK_KEYS, SERVER_KEYS, RunConfig, is_reserved, langgraph_config

SERVER = {"thread_id": "ours", "langgraph_auth_user_id": "ada"}


def test_only_known_keys_are_taken() -> None:
    source = {
        "tags": ["t"],
        "recursion_limit": 7,
        "run_name": "r",
        "max_concurrency": 2,
        "metadata": {"m": 1},
        "configurable": {"c": 1},
        "thread_id": "theirs",
        "callbacks": ["theirs"],
        "run_id": "theirs",
        "__pregel_checkpointer": "theirs",
        "anything": "theirs",
    }
    assert langgraph_config([source], {}) == {
        "tags": ["t"],
        "recursion_limit": 7,
        "run_name": "r",
        "max_concurrency": 2,
        "metadata": {"m": 1},
        "configurable": {"c": 1},
    }


def test_later_sources_go_over_earlier_ones() -> None:
    first = {"tags": ["a"], "recursion_limit": 7, "configurable": {"a": 1, "b": 1}, "metadata": {"a": 1, "b": 1}}
    second = {"tags": ["b"], "recursion_limit": None, "configurable": {"b": 2}, "metadata": {"b": 2}}
    assert langgraph_config([first, None, second], {}) == {
        "tags": ["b"],
        "recursion_limit": 7,
        "configurable": {"a": 1, "b": 2},
        "metadata": {"a": 1, "b": 2},
    }


@pytest.mark.parametrize("key", [*sorted(SERVER_KEYS), *FORK_KEYS, "langgraph_auth_scheme", "__pregel_store", "__x"])
def test_no_source_sets_a_reserved_key(key: str) -> None:
    assert is_reserved(key)
    found = langgraph_config([{"configurable": {key: "theirs"}}, {"configurable": {key: "theirs"}}], SERVER)
    assert found["configurable"] == {**SERVER, "user_id": "ada"}


def test_a_user_id_that_was_given_stands() -> None:
    assert langgraph_config([{"configurable": {"user_id": "bob"}}], SERVER)["configurable"]["user_id"] == "bob"
    for nothing in ({}, {"configurable": {"user_id": None}}):
        assert langgraph_config([nothing], SERVER)["configurable"]["user_id"] == "ada"


def test_no_source_sets_a_counter_of_langgraphs_checkpoints() -> None:
    theirs = {"counters_since_delta_snapshot": "x"}
    found = langgraph_config([{"configurable": theirs, "metadata": theirs}], {})
    assert found == {"configurable": {}, "metadata": {}}


VALUES: dict[str, list[Any]] = {
    "recursion_limit": [0, -1, 1.5, 25.0, "25", True, [], {}, 1e300],
    "max_concurrency": [0, -5, 1.5, "5", False, [], {}, 2**31, 1e300],
    "metadata": [5, "x", [], True],
    "run_name": [5, [], {}, True],
    "tags": [5, "x", {}, [5], [None]],
    "configurable": [5, "x", []],
}
COORDINATES: dict[str, list[Any]] = {
    "checkpoint_map": [5, "x", [], {"": 5}, {"": None}],
    "checkpoint_id": [5, [], {}, True],
    "checkpoint_ns": [5, [], {}, True],
}
WRONG: list[tuple[dict[str, Any], str]] = [
    *(({name: value}, name) for name, values in VALUES.items() for value in values),
    *(({"configurable": {name: value}}, "configurable") for name, values in COORDINATES.items() for value in values),
]


@pytest.mark.parametrize(("config", "field"), WRONG, ids=str)
def test_a_wrong_value_is_refused_by_its_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(config)
    assert caught.value.errors()[0]["loc"][0] == field


def test_the_servers_limit_of_steps_is_named(settings: Any) -> None:
    settings.RECURSION_LIMIT_MAX = 50
    assert RunConfig.model_validate({"recursion_limit": 50}).recursion_limit == 50
    with pytest.raises(ValidationError, match=r"51 is greater than the maximum of 50, this .* RECURSION_LIMIT_MAX"):
        RunConfig.model_validate({"recursion_limit": 51})
