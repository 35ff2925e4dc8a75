"""What nodes see as `runtime.context`, from every way to start a run."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client

from tests import live
from tests.client.conftest import OTHER_CONFIG
from tests.client.waiting import until
from tests.live import Client

DEFAULTS = {"tone": "kind", "level": 3}
MISSING = "missing 1 required positional argument: 'user'"


@pytest.mark.parametrize(
    ("graph", "seen"),
    [
        ("context_data", ["Data", DEFAULTS]),
        ("context_model", ["Model", DEFAULTS]),
        ("context_made", ["Data", DEFAULTS]),
        ("context_made_for", ["Data", DEFAULTS]),
        ("context_without", None),
        ("context_made_without", None),
    ],
)
async def test_without_a_context_the_defaults_of_the_schema_apply(other: Client, graph: str, seen: Any) -> None:
    assert (await other.runs.wait(None, graph, input={}))["seen"] == seen
    assert (await other.runs.wait(None, graph, input={}, context={}))["seen"] == seen


@pytest.mark.usefixtures("not_the_reference")
async def test_a_typed_dictionary_is_an_empty_mapping_without_a_context(other: Client) -> None:
    assert (await other.runs.wait(None, "context_typed", input={}))["seen"] == {}


@pytest.mark.usefixtures("not_the_reference")
async def test_a_graph_without_a_context_has_its_store(other: Client) -> None:
    assert (await other.runs.wait(None, "context_remembering", input={}))["seen"] == {"context": {}}


@pytest.mark.parametrize(
    ("graph", "seen"),
    [
        ("context_data", ["Data", DEFAULTS | {"tone": "dry"}]),
        ("context_model", ["Model", DEFAULTS | {"tone": "dry"}]),
        ("context_typed", {"tone": "dry"}),
        ("context_without", {"tone": "dry", "other": 1}),
        ("context_made", ["Data", DEFAULTS | {"tone": "dry"}]),
        ("context_made_without", {"tone": "dry", "other": 1}),
    ],
)
async def test_a_context_is_seen_as_the_schema_takes_it(other: Client, graph: str, seen: Any) -> None:
    given = {"tone": "dry", "other": 1}
    assert (await other.runs.wait(None, graph, input={}, context=given))["seen"] == seen
    assert (await other.runs.wait(None, graph, input={}, config={"configurable": given}))["seen"] == seen


@pytest.mark.parametrize("given", [{}, {"other": 1}])
async def test_a_missing_required_value_fails_the_run_with_a_sentence(other: Client, given: dict[str, Any]) -> None:
    for graph in ("context_required", "context_made_required"):
        failed = await other.runs.wait(None, graph, input={}, context=given, raise_error=False)
        assert failed["__error__"]["error"] == "TypeError"
        assert MISSING in failed["__error__"]["message"]
    failed = await other.runs.wait(None, "context_required_model", input={}, context=given, raise_error=False)
    assert failed["__error__"]["error"] == "ValidationError"
    assert "user\n  Field required" in failed["__error__"]["message"]


async def test_a_wrong_value_fails_the_run_with_a_sentence(other: Client) -> None:
    failed = await other.runs.wait(None, "context_model", input={}, context={"level": "high"}, raise_error=False)
    assert "Input should be a valid integer" in failed["__error__"]["message"]


async def test_a_subgraph_sees_the_context_of_the_run(other: Client) -> None:
    for given in ({}, {"tone": "dry"}):
        seen = await other.runs.wait(None, "context_above", input={}, context=given)
        assert seen["seen"] == seen["below"] == ["Data", DEFAULTS | given]


async def test_an_entrypoint_sees_it(other: Client) -> None:
    assert await other.runs.wait(None, "context_function", input={"x": 1}) == {"seen": ["Data", DEFAULTS]}


async def test_context_of_assistant_and_run_are_merged(other: Client) -> None:
    assistant = (await other.assistants.create("context_data", context={"tone": "dry"}))["assistant_id"]
    assert (await other.runs.wait(None, assistant, input={}))["seen"] == ["Data", {"tone": "dry", "level": 3}]
    merged = await other.runs.wait(None, assistant, input={}, context={"level": 9})
    assert merged["seen"] == ["Data", {"tone": "dry", "level": 9}]


async def test_a_resumed_run_sees_its_own_context(other: Client) -> None:
    for given in ({}, {"tone": "dry"}):
        thread = (await other.threads.create())["thread_id"]
        await other.runs.wait(thread, "context_asking", input={}, context={"level": 1})
        resumed = await other.runs.wait(thread, "context_asking", command={"resume": "yes"}, context=given)
        assert resumed["seen"] == ["Data", DEFAULTS | given]


async def test_a_remote_graph_passes_it_on(other_server: Any) -> None:
    remote: Any = RemoteGraph("context_data", url=other_server.url)
    assert (await remote.ainvoke({"below": 0}))["seen"] == ["Data", DEFAULTS]
    assert (await remote.ainvoke({"below": 0}, context={"tone": "dry"}))["seen"] == ["Data", DEFAULTS | {"tone": "dry"}]


async def test_a_crons_run_sees_it(other: Client) -> None:
    assistant = (await other.assistants.create("context_data", name=str(uuid4())))["assistant_id"]
    for given in ({}, {"tone": "dry"}):
        thread = (await other.threads.create())["thread_id"]
        cron = await other.crons.create_for_thread(
            thread,
            assistant,
            schedule="* * * * * *",
            input={},
            context=given,
            end_time=datetime.now(UTC) + timedelta(minutes=5),
        )

        async def is_over(thread: str = thread) -> bool:
            return (await other.threads.get(thread))["values"] is not None

        await until(is_over)
        await other.crons.delete(cron["cron_id"])
        assert (await other.threads.get(thread))["values"]["seen"] == ["Data", DEFAULTS | given]


@pytest.fixture
async def fresh(start_in_mode: Callable[..., live.LiveServer]) -> AsyncIterator[Client]:
    """A client of a server that has called no factory yet."""
    server = start_in_mode(OTHER_CONFIG, shared=False)
    async with get_client(url=server.url) as client:
        yield client


async def test_a_factory_sees_it_on_the_first_run_after_a_start(fresh: Client) -> None:
    seen = await fresh.runs.wait(None, "context_made_for", input={}, context={"tone": "dry"})
    assert seen == {"factory": ["Data", DEFAULTS | {"tone": "dry"}], "seen": ["Data", DEFAULTS | {"tone": "dry"}]}
    made = await fresh.runs.wait(None, "context_made", input={}, context={"level": 1})
    assert made["seen"] == ["Data", DEFAULTS | {"level": 1}]
    without = await fresh.runs.wait(None, "context_made_without", input={}, context={"any": [1]})
    assert without["seen"] == {"any": [1]}
