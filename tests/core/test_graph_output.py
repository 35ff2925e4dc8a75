"""What clients see of a graph's state."""

from typing import Any

import orjson
import pytest
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from platform_site.core.graphs.output import Output, questions_of


class State(TypedDict, total=False):
    question: str
    answer: str


class Answer(TypedDict, total=False):
    answer: str


def graph(**schemas: Any) -> Any:
    return StateGraph(State, **schemas).add_node("node", lambda state: {}).add_edge(START, "node").compile()


@entrypoint()
def function(value: Any) -> Any:
    return value


def test_the_output_schema_names_what_is_shown() -> None:
    assert Output.of(graph(output_schema=Answer)).keys == ("answer",)


@pytest.mark.parametrize("made", [graph(), graph(output_schema=State), function], ids=["none", "whole", "entrypoint"])
def test_a_graph_whose_output_is_its_state_shows_all(made: Any) -> None:
    assert Output.of(made) == Output()


def test_values_are_cut_to_the_output() -> None:
    output = Output(["answer", "note"])
    assert output.shown({"question": "?", "answer": 42}) == {"answer": 42}
    assert orjson.loads(output.shown_json(b'{"question":"?","answer":42}')) == {"answer": 42}
    assert (output.shown(None), output.shown([1])) == (None, [1])


def test_an_answer_has_the_open_interrupts_beside_the_values() -> None:
    asked = questions_of({"task": [{"id": "i", "value": "sure?"}], "other": [{"id": "j", "value": 2}]})
    shown = orjson.loads(Output(["answer"]).answer({"question": "?", "answer": 42}, asked))
    assert shown == {
        "answer": 42,
        "__interrupt__": [
            {"value": "sure?", "id": "i", "response_schema": None},
            {"value": 2, "id": "j", "response_schema": None},
        ],
    }


@pytest.mark.parametrize("values", ["text", [1], None, 5])
def test_interrupts_are_not_lost_where_the_values_are_no_object(values: Any) -> None:
    asked = questions_of({"task": [{"id": "i", "value": "sure?"}]})
    assert orjson.loads(Output().answer(values, asked)) == {"__interrupt__": asked}
    assert orjson.loads(Output().answer(values, [])) == values
