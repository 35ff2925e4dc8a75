"""What a run is started with, and what a client cannot decide."""

from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, Field

from platform_site.access.principal import Principal
from platform_site.core.errors import BadRequest, Unprocessable
from runs.configuration import Configured, RunPlan, plan_run, without_mirror
from runs.engine.claim import Claim
from runs.engine.start import attempt_config
from runs.schemas import RunCreate
from tests.runs.conftest import run_to_end
from tests.runs.graphs import script

RUN, THREAD, ASSISTANT = uuid4(), uuid4(), uuid4()


def plan(
    body: dict[str, Any] | None = None,
    thread_metadata: dict[str, Any] | None = None,
    last_config: dict[str, Any] | None = None,
    **assistant: Any,
) -> RunPlan:
    configured = {"config": {}, "context": {}, "metadata": {}} | assistant
    return plan_run(
        Principal(workspace_id=1, identity="ada", user={"identity": "ada"}, permissions=("read",)),
        RunCreate(assistant_id="log", **(body or {})),
        Configured(ASSISTANT, "log", **configured),
        run_id=RUN,
        thread_id=THREAD,
        thread_metadata=thread_metadata or {},
        last_config=last_config or {},
        request_id="r",
        temporary=False,
    )


SERVER = {
    "langgraph_auth_user": {"identity": "ada"},
    "langgraph_auth_user_id": "ada",
    "langgraph_auth_permissions": ["read"],
    "langgraph_request_id": "r",
    "run_id": str(RUN),
    "thread_id": str(THREAD),
    "graph_id": "log",
    "assistant_id": str(ASSISTANT),
    "user_id": "ada",
}


def configurable(found: RunPlan) -> dict[str, Any]:
    """The configurable without what every run has."""
    return {key: value for key, value in found.kwargs["config"]["configurable"].items() if key not in SERVER}


def test_every_run_has_the_servers_keys() -> None:
    assert plan().kwargs["config"]["configurable"] == SERVER


@pytest.mark.parametrize("key", sorted(SERVER.keys() - {"user_id"}))
def test_no_client_sets_a_key_of_the_server(key: str) -> None:
    for body in ({"config": {"configurable": {key: "theirs"}}}, {"context": {key: "theirs"}}):
        assert plan(body).kwargs["config"]["configurable"] == SERVER
    assert plan(config={"configurable": {key: "theirs"}}).kwargs["config"]["configurable"] == SERVER
    found = plan({"config": {"configurable": {key: "theirs"}}})
    assert found.thread_config["configurable"] == found.run_config["configurable"] == {}


def test_a_user_id_is_given_by_request_thread_and_assistant_in_this_order() -> None:
    request = {"config": {"configurable": {"user_id": "of the request"}}}
    thread, assistant = {"user_id": "of the thread"}, {"user_id": "of the assistant"}

    def user_id(body: dict[str, Any], in_thread: dict[str, Any], in_assistant: dict[str, Any]) -> Any:
        found = plan(body, last_config=in_thread, config={"configurable": in_assistant})
        return found.kwargs["config"]["configurable"]["user_id"]

    assert user_id(request, thread, assistant) == "of the request"
    assert user_id({}, thread, assistant) == "of the thread"
    assert user_id({}, {}, assistant) == "of the assistant"
    assert user_id({}, {}, {}) == "ada"


def test_a_thread_keeps_what_assistant_and_request_gave_and_nothing_of_the_caller() -> None:
    found = plan(
        {"config": {"configurable": {"a": 1}, "tags": ["mine"]}},
        config={"configurable": {"a": 0, "b": 2}, "recursion_limit": 7},
    )
    kept = {key: value for key, value in found.run_config.items() if key != "metadata"}
    assert kept == {"configurable": {"a": 1, "b": 2}, "tags": ["mine"], "recursion_limit": 7}
    assert found.thread_config == {"configurable": {}, "tags": ["mine"]}


def test_a_thread_remembers_the_user_id_of_a_request_and_not_that_of_an_assistant() -> None:
    of_assistant = {"configurable": {"user_id": "of the assistant"}}
    assert "user_id" not in plan(config=of_assistant).run_config
    given = plan({"config": {"configurable": {"user_id": "bob"}}}, config=of_assistant).run_config
    assert (given["user_id"], given["configurable"]["user_id"]) == ("bob", "bob")
    later = plan(last_config=given, config=of_assistant)
    assert (later.run_config["user_id"], later.run_config["configurable"]["user_id"]) == ("bob", "bob")


def test_keys_of_the_assistants_config_that_langgraph_does_not_know_are_left_out() -> None:
    found = plan(config={"thread_id": "theirs", "callbacks": [], "anything": 1, "tags": ["t"]})
    assert found.kwargs["config"].keys() == {"tags", "metadata", "configurable"}


@pytest.mark.parametrize("key", ["__pregel_resuming", "__pregel_checkpointer", "__anything"])
def test_no_client_steers_langgraph(key: str) -> None:
    found = plan({"config": {"configurable": {key: True}}}, config={"configurable": {key: True}})
    assert configurable(found) == {}
    assert found.thread_config["configurable"] == found.run_config["configurable"] == {}
    assert configurable(plan({"context": {key: True}})) == {}


def test_request_goes_before_the_assistant_key_by_key() -> None:
    found = plan({"config": {"configurable": {"a": 1, "b": 2}}}, config={"configurable": {"b": 0, "c": 3}})
    assert configurable(found) == {"a": 1, "b": 2, "c": 3}


def test_tags_replace_and_the_recursion_limit_is_inherited() -> None:
    found = plan({"config": {"tags": ["mine"]}}, config={"tags": ["theirs"], "recursion_limit": 7})
    assert (found.kwargs["config"]["tags"], found.kwargs["config"]["recursion_limit"]) == (["mine"], 7)


def test_context_goes_before_the_assistants_key_by_key() -> None:
    assert plan({"context": {"a": 1}}, context={"a": 0, "b": 2}).kwargs["context"] == {"a": 1, "b": 2}


def test_context_alone_stands_for_configurable_too_and_the_reverse() -> None:
    assert configurable(plan({"context": {"a": 1}})) == {"a": 1}
    assert plan({"config": {"configurable": {"a": 1}}}).kwargs["context"] == {"a": 1}


def test_a_mirrored_key_stays_under_the_name_that_the_context_schema_takes() -> None:
    class Schema(BaseModel):
        user: str = Field(alias="userId")

    given = {"userId": "ada", "user": "bob", "other": 1}
    kept = without_mirror({"configurable": given}, {"mirrored": sorted(given)}, Schema)
    assert kept == {"configurable": {"userId": "ada"}}


def test_both_are_refused() -> None:
    with pytest.raises(BadRequest):
        plan({"context": {"a": 1}, "config": {"configurable": {"b": 1}}})


def test_metadata_of_all_are_there() -> None:
    found = plan(
        {"metadata": {"run": 1}, "config": {"metadata": {"config": 1}}},
        {"thread": 1},
        metadata={"assistant": 1},
        config={"metadata": {"standing": 1, "config": 0}},
    )
    expected = {"run": 1, "config": 1, "thread": 1, "assistant": 1, "standing": 1, "assistant_id": str(ASSISTANT)}
    assert found.metadata == found.kwargs["config"]["metadata"] == expected


@pytest.mark.parametrize(
    ("body", "durability", "during"),
    [
        ({}, "async", True),
        ({"durability": "sync"}, "sync", True),
        ({"checkpoint_during": False}, "exit", False),
        ({"checkpoint_during": True}, "async", True),
        ({"checkpoint_during": False, "durability": "sync"}, "sync", True),
    ],
)
def test_durability(body: dict[str, Any], durability: str, during: bool) -> None:
    kwargs = plan(body).kwargs
    assert (kwargs["durability"], kwargs["checkpoint_during"]) == (durability, during)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"checkpoint_id": "c"}, {"checkpoint_id": "c"}),
        ({"checkpoint": {"checkpoint_id": "c", "checkpoint_ns": "n"}}, {"checkpoint_id": "c", "checkpoint_ns": "n"}),
        ({"checkpoint": {"checkpoint_id": "c", "checkpoint_ns": ""}}, {"checkpoint_id": "c"}),
        ({"checkpoint": {"thread_id": str(uuid4()), "checkpoint_id": "c"}}, {"checkpoint_id": "c"}),
        ({"config": {"configurable": {"checkpoint_id": "c"}}}, {"checkpoint_id": "c"}),
        ({"config": {"configurable": {"checkpoint_id": "d"}}, "checkpoint_id": "c"}, {"checkpoint_id": "c"}),
        ({"config": {"configurable": {"checkpoint_map": {"": "c"}}}}, {"checkpoint_map": {"": "c"}}),
        ({"context": {"checkpoint_id": "c"}}, {}),
    ],
)
def test_fork_point(body: dict[str, Any], expected: dict[str, Any]) -> None:
    found = plan(body)
    assert configurable(found) == expected
    assert found.kwargs["config"]["configurable"]["thread_id"] == str(THREAD)


def test_only_a_request_names_the_checkpoint_to_begin_at() -> None:
    place = {"checkpoint_id": "c", "checkpoint_ns": "n", "checkpoint_map": {"": "c"}}
    assert configurable(plan(config={"configurable": place})) == {}
    assert configurable(plan(last_config={"configurable": place})) == {}


def test_an_assistant_beyond_the_servers_limit_is_refused_by_its_field(settings: Any) -> None:
    settings.RECURSION_LIMIT_MAX = 50
    with pytest.raises(Unprocessable) as caught:
        plan(config={"recursion_limit": 51})
    for part in (f"The config of assistant {ASSISTANT}", "maximum of 50", 'On instance["config"]["recursion_limit"]'):
        assert part in caught.value.detail


@pytest.mark.parametrize("wrong", [{"metadata": 5}, {"max_concurrency": -5}, {"run_name": 5}, {"recursion_limit": "1"}])
def test_an_assistant_that_was_stored_with_a_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unprocessable):
        plan(config=wrong)


def test_attempt_tells_run_thread_and_graph_whatever_the_client_says(principal: Principal) -> None:
    from runs.models import Run
    from tests.runs.conftest import claim, create

    theirs = {"run_id": "x", "thread_id": "x", "graph_id": "x", "run_attempt": 9}
    run = create(principal, metadata=theirs, config={"metadata": theirs})
    claimed: Claim = claim(run)
    config = attempt_config(claimed)
    assert {key: config["metadata"][key] for key in theirs} == {
        "run_id": str(run.run_id),
        "thread_id": str(run.thread_id),
        "graph_id": "log",
        "run_attempt": 1,
    }
    assert Run.objects.get(pk=run.pk).metadata["run_id"] == "x"


async def test_node_sees_its_configuration(principal: Principal) -> None:
    seen: dict[str, Any] = {}

    def look(state: Any, config: Any) -> None:
        seen.update(config["configurable"])

    with script("look", look):
        run = await run_to_end(principal, "scripted", input={"do": "look"}, config={"configurable": {"mine": 1}})
    assert (seen["mine"], seen["run_id"], seen["thread_id"]) == (1, str(run.run_id), str(run.thread_id))
    assert seen["user_id"] == ""
