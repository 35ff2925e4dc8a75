"""The open questions of a step in which other tasks have finished: the same in every answer."""

from typing import Any

import pytest

from tests.live import Client

# The graph, what its tasks have written by the end of the run, and the questions in the order of their tasks.
STEPS = [
    ("one_asks", ["done"], ["a?"]),
    ("asks_early", ["late"], ["a?"]),
    ("asks_late", ["done"], ["a?"]),
    ("two_ask", ["done"], ["a?", "b?"]),
    ("three_ask", [], ["a?", "b?", "c?"]),
    ("children_ask", ["done"], ["a?", "b?"]),
    ("sends", ["1 done"], ["0?", "2?"]),
]


def questions(answer: Any) -> list[str]:
    assert all(list(question) == ["value", "id", "response_schema"] for question in answer.get("__interrupt__", []))
    return [question["value"] for question in answer.get("__interrupt__", [])]


async def shown_by_thread(client: Client, thread: str) -> list[str]:
    by_task = (await client.threads.get(thread))["interrupts"]
    of_state = (await client.threads.get_state(thread))["interrupts"]
    of_thread = [question["value"] for asked in by_task.values() for question in asked]
    state = [question["value"] for question in of_state]
    # The thread's are an object by task, which has no order on PostgreSQL.
    assert sorted(of_thread) == sorted(state)
    return state


@pytest.mark.usefixtures("not_the_reference")
@pytest.mark.parametrize(("graph", "log", "asked"), STEPS)
async def test_wait_has_values_and_all_open_questions(
    other: Client, other_thread: str, graph: str, log: list[str], asked: list[str]
) -> None:
    answer: Any = await other.runs.wait(other_thread, graph, input={})
    assert (answer["log"], questions(answer)) == (log, asked)
    assert await shown_by_thread(other, other_thread) == asked


@pytest.mark.usefixtures("not_the_reference")
@pytest.mark.parametrize(("graph", "log", "asked"), STEPS)
async def test_joins_have_them_during_the_run_and_afterwards(
    other: Client, other_thread: str, graph: str, log: list[str], asked: list[str]
) -> None:
    # Joined while it waits for its time: the answer is the one that the running run gives.
    run = (await other.runs.create(other_thread, graph, input={}, after_seconds=1))["run_id"]
    during: Any = await other.runs.join(other_thread, run)
    assert (during["log"], questions(during)) == (log, asked)
    afterwards: Any = await other.runs.join(other_thread, run)
    assert (afterwards["log"], sorted(questions(afterwards))) == (log, asked)


@pytest.mark.parametrize(("graph", "log", "asked"), STEPS)
async def test_a_stateless_run_has_them(other: Client, graph: str, log: list[str], asked: list[str]) -> None:
    assert sorted(questions(await other.runs.wait(None, graph, input={}))) == asked


@pytest.mark.usefixtures("not_the_reference")
@pytest.mark.parametrize(("graph", "asked"), [(graph, asked) for graph, _, asked in STEPS if len(asked) > 1])
async def test_after_a_partial_answer_the_others_stay_open(
    other: Client, other_thread: str, graph: str, asked: list[str]
) -> None:
    await other.runs.wait(other_thread, graph, input={})
    left = list(asked)
    while left:
        first = (await other.threads.get_state(other_thread))["interrupts"][0]
        assert first["value"] == left.pop(0)
        answer: Any = await other.runs.wait(other_thread, graph, command={"resume": {first["id"]: "yes"}})
        assert f"{first['value'] if graph != 'sends' else first['value'][0]} yes" in answer["log"]
        assert questions(answer) == left
        assert await shown_by_thread(other, other_thread) == left


@pytest.mark.parametrize(
    "command", [{"update": {"log": ["by hand"]}}, {"update": {"log": ["by hand"]}, "goto": "done"}]
)
async def test_an_update_beside_a_waiting_task_leaves_its_question_open(
    other: Client, other_thread: str, command: Any
) -> None:
    await other.runs.wait(other_thread, "one_asks", input={})
    assert questions(await other.runs.wait(other_thread, "one_asks", command=command)) == ["a?"]
    assert await shown_by_thread(other, other_thread) == ["a?"]


async def test_a_run_without_input_asks_again(other: Client, other_thread: str) -> None:
    await other.runs.wait(other_thread, "two_ask", input={})
    assert questions(await other.runs.wait(other_thread, "two_ask", input=None)) == ["a?", "b?"]


async def test_the_stream_is_what_the_graph_streams(other: Client, other_thread: str) -> None:
    modes: Any = ["values", "updates"]
    parts = [part async for part in other.runs.stream(other_thread, "asks_late", input={}, stream_mode=modes)][1:]
    shown = [(part.event, part.data.get("log"), questions(part.data)) for part in parts]
    assert shown == [
        ("updates", None, []),
        ("updates", None, ["a?"]),
        ("values", [], ["a?"]),
        ("values", ["done"], []),
    ]
