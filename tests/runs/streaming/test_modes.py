"""What a graph streams, as the events of the wire."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.types import Interrupt

from platform_site.core.graphs.output import Output
from runs.streaming.modes import EventEncoder, graph_modes
from tests.runs.conftest import loads


def events(asked: list[str], *chunks: tuple[tuple[str, ...], str, Any]) -> list[tuple[str, Any]]:
    encoder = EventEncoder(asked, subgraphs=True)
    return [(name, loads(data)) for chunk in chunks for name, data in encoder.events(*chunk)]


@pytest.mark.parametrize(
    ("asked", "modes"),
    [
        (["updates"], ["values", "updates"]),
        (["values"], ["values"]),
        (["messages-tuple"], ["values", "messages"]),
        (["messages", "messages-tuple"], ["values", "messages"]),
        (["events"], ["values"]),
        (["debug", "tasks"], ["values", "tasks", "debug"]),
    ],
)
def test_modes_that_the_graph_streams(asked: list[str], modes: list[str]) -> None:
    # Values always: the outcome needs them.
    assert graph_modes(asked) == modes


def test_values_that_nobody_asked_for_are_kept_and_not_sent() -> None:
    encoder = EventEncoder(["updates"], subgraphs=False)
    assert list(encoder.events((), "values", {"x": 1})) == []
    assert (encoder.has_values, encoder.outcome) == (True, b'{"x":1}')


def test_outcome_is_the_roots_last_values() -> None:
    encoder = EventEncoder(["values"], subgraphs=True)
    for namespace, value in (((), 1), ((), 2), (("child:1",), 3)):
        list(encoder.events(namespace, "values", value))
    assert encoder.outcome == b"2"


def question(number: int) -> Interrupt:
    return Interrupt(value=f"{number}?", id=str(number))


def outcome_of(*values: Any, output: Output | None = None, asked: tuple[str, ...] = ("values",)) -> Any:
    encoder = EventEncoder(asked, subgraphs=False)
    encoder.output = output or Output()
    for chunk in values:
        list(encoder.events((), "values", chunk))
    return loads(encoder.outcome)


@pytest.mark.parametrize("asked", [("values",), ("updates",)])
def test_outcome_has_the_questions_of_all_tasks_and_what_the_others_have_written(asked: tuple[str, ...]) -> None:
    found = outcome_of(
        {"log": []},
        {"log": [], "__interrupt__": (question(1),)},
        {"log": [], "__interrupt__": (question(2),)},
        {"log": ["done"]},
        asked=asked,
    )
    assert found["log"] == ["done"]
    assert [asked["value"] for asked in found["__interrupt__"]] == ["1?", "2?"]


def test_outcome_of_an_interrupt_alone_is_the_interrupt() -> None:
    # What a graph streams whose output is one channel.
    assert [asked["value"] for asked in outcome_of({"__interrupt__": (question(1),)})["__interrupt__"]] == ["1?"]


def test_outcome_without_any_values_is_an_empty_object() -> None:
    assert outcome_of() == {}


def test_outcome_is_cut_to_the_output_where_whole_values_were_streamed() -> None:
    whole = {"answer": 42, "secret": 1}
    assert outcome_of(whole, output=Output(["answer"]), asked=("values", "events")) == {"answer": 42}


def test_events_of_subgraphs_have_their_namespace() -> None:
    assert events(["updates"], (("a:1", "b:2"), "updates", {"n": None})) == [("updates|a:1|b:2", {"n": None})]


def chunk(text: str, **options: Any) -> tuple[AIMessageChunk, dict[str, Any]]:
    return AIMessageChunk(content=text, id="m", **options), {"langgraph_node": "talk"}


def test_messages_accumulate() -> None:
    found = events(["messages"], ((), "messages", chunk("Hel")), ((), "messages", chunk("lo")))
    assert [name for name, _ in found] == ["messages/metadata", "messages/partial", "messages/partial"]
    assert found[0][1] == {"m": {"metadata": {"langgraph_node": "talk"}}}
    assert [(data[0]["type"], data[0]["content"]) for _, data in found[1:]] == [("ai", "Hel"), ("ai", "Hello")]


def test_message_that_comes_whole_is_complete() -> None:
    found = events(["messages"], ((), "messages", (AIMessage("Hello", id="m"), {})))
    assert [name for name, _ in found] == ["messages/metadata", "messages/complete"]


def test_messages_have_no_namespace_in_their_names() -> None:
    found = events(["messages"], (("child:1",), "messages", chunk("x")))
    assert [name for name, _ in found] == ["messages/metadata", "messages/partial"]


def test_message_tuples_are_deltas() -> None:
    found = events(["messages-tuple"], (("a:1",), "messages", chunk("Hel")), ((), "messages", chunk("lo")))
    assert [name for name, _ in found] == ["messages|a:1", "messages"]
    assert [(data[0]["type"], data[0]["content"]) for _, data in found] == [
        ("AIMessageChunk", "Hel"),
        ("AIMessageChunk", "lo"),
    ]


def test_tuples_win_where_both_forms_are_asked_for() -> None:
    assert [name for name, _ in events(["messages", "messages-tuple"], ((), "messages", chunk("x")))] == ["messages"]


CONFIG = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c", "__pregel_x": object()}}
SHOWN = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}}


def test_checkpoints_do_not_show_langgraphs_own_keys() -> None:
    payload = {"config": CONFIG, "parent_config": None, "values": {}}
    assert events(["checkpoints"], ((), "checkpoints", payload)) == [
        ("checkpoints", {"config": SHOWN, "parent_config": None, "values": {}})
    ]


def test_debug_checkpoint_names_checkpoint_and_parent() -> None:
    payload = {"config": CONFIG, "parent_config": None}
    [(_, event)] = events(["debug"], ((), "debug", {"type": "checkpoint", "payload": payload}))
    assert event["payload"]["checkpoint"] == SHOWN["configurable"]
    assert event["payload"]["parent_checkpoint"] is None
