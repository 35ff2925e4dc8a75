"""Interrupts, answers and other commands through the official client."""

import pytest

from tests.client.streams import collect, data
from tests.live import Client


@pytest.fixture
async def asked(client: Client, thread: str) -> str:
    """A thread that waits for approval."""
    await client.runs.wait(thread, "approval", input={"request": "r"})
    return thread


async def test_wait_returns_the_interrupt(client: Client, thread: str) -> None:
    values = await client.runs.wait(thread, "approval", input={"request": "r"})
    assert [found["value"] for found in values["__interrupt__"]] == [{"question": "approve?", "request": "r"}]
    assert values["request"] == "r"


@pytest.mark.usefixtures("not_the_reference")
async def test_late_join_returns_values_and_interrupt(client: Client, asked: str) -> None:
    run = (await client.runs.list(asked))[0]
    values = await client.runs.join(asked, run["run_id"])
    assert values["request"] == "r"
    assert [found["value"]["question"] for found in values["__interrupt__"]] == ["approve?"]


async def test_interrupted_thread_waits_and_its_run_succeeded(client: Client, asked: str) -> None:
    assert (await client.threads.get(asked))["status"] == "interrupted"
    assert [run["status"] for run in await client.runs.list(asked)] == ["success"]


async def test_interrupts_are_shown_by_task(client: Client, asked: str) -> None:
    state = await client.threads.get_state(asked)
    task = state["tasks"][0]
    expected = [{"id": state["interrupts"][0]["id"], "value": {"question": "approve?", "request": "r"}}]
    assert (await client.threads.get(asked))["interrupts"] == {task["id"]: expected}
    assert task["interrupts"] == expected


async def test_answer_is_what_interrupt_returns(client: Client, asked: str) -> None:
    values = await client.runs.wait(asked, "approval", command={"resume": {"ok": [1, "two"]}})
    assert values == {"request": "r", "decision": {"ok": [1, "two"]}, "done": True}


async def test_answered_thread_is_idle_without_interrupts(client: Client, asked: str) -> None:
    await client.runs.wait(asked, "approval", command={"resume": "yes"})
    thread = await client.threads.get(asked)
    assert (thread["status"], thread["interrupts"]) == ("idle", {})


async def test_answer_can_name_its_interrupt(client: Client, asked: str) -> None:
    interrupt_id = (await client.threads.get_state(asked))["interrupts"][0]["id"]
    values = await client.runs.wait(asked, "approval", command={"resume": {interrupt_id: "yes"}})
    assert values["decision"] == "yes"


async def test_false_is_an_answer(client: Client, asked: str) -> None:
    values = await client.runs.wait(asked, "approval", command={"resume": False})
    assert (values["decision"], values["done"]) == (False, True)


async def test_answer_without_a_question_changes_nothing(client: Client, thread: str) -> None:
    before = await client.runs.wait(thread, "counter", input={"count": 1})
    assert await client.runs.wait(thread, "counter", command={"resume": "yes"}) == before


async def test_stream_sends_the_interrupt_in_updates_and_values(client: Client, thread: str) -> None:
    parts = await collect(
        client.runs.stream(thread, "approval", input={"request": "r"}, stream_mode=["updates", "values"])
    )
    assert list(data(parts, "updates")[-1]) == ["__interrupt__"]
    assert data(parts, "values")[-1]["__interrupt__"] == data(parts, "updates")[-1]["__interrupt__"]


async def test_interrupt_before_stops_and_goes_on_with_no_input(client: Client, thread: str) -> None:
    stopped = await client.runs.wait(thread, "counter", input={"count": 1}, interrupt_before=["double"])
    assert stopped == {"count": 2, "log": ["inc"]}
    assert (await client.threads.get(thread))["status"] == "interrupted"
    assert await client.runs.wait(thread, "counter", input=None) == {"count": 4, "log": ["inc", "double"]}


async def test_interrupt_after_stops_behind_the_node(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"count": 1}, interrupt_after=["inc"])
    assert (await client.threads.get_state(thread))["next"] == ["double"]


async def test_interrupt_before_every_node(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"count": 1}, interrupt_before="*")
    assert (await client.threads.get_state(thread))["next"] == ["inc"]


async def test_static_interrupt_on_an_unknown_node_is_ignored(client: Client, thread: str) -> None:
    values = await client.runs.wait(thread, "counter", input={"count": 1}, interrupt_before=["nope"])
    assert values["count"] == 4


async def test_update_command_changes_the_state_and_runs_nothing(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"count": 1})
    values = await client.runs.wait(thread, "counter", command={"update": {"count": 10, "note": "n"}})
    assert values == {"count": 14, "log": ["inc", "double"], "note": "n"}


async def test_goto_command_runs_a_node(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"count": 1})
    values = await client.runs.wait(thread, "counter", command={"goto": "double"})
    assert values == {"count": 8, "log": ["inc", "double", "double"]}


async def test_goto_with_input_sees_only_that_input(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"count": 1})
    goto = {"node": "double", "input": {"count": 3}}
    values = await client.runs.wait(thread, "counter", command={"goto": goto})
    assert values["count"] == 7


async def test_goto_an_unknown_node_runs_nothing(client: Client, thread: str) -> None:
    before = await client.runs.wait(thread, "counter", input={"count": 1})
    assert await client.runs.wait(thread, "counter", command={"goto": "nope"}) == before


async def test_update_command_leaves_the_question_open(client: Client, asked: str) -> None:
    await client.runs.wait(asked, "approval", command={"update": {"request": "changed"}})
    assert (await client.threads.get(asked))["status"] == "interrupted"
    values = await client.runs.wait(asked, "approval", command={"resume": "yes"})
    assert (values["request"], values["decision"]) == ("changed", "yes")


async def test_new_input_starts_the_graph_again(client: Client, asked: str) -> None:
    values = await client.runs.wait(asked, "approval", input={"request": "second"})
    assert [found["value"]["request"] for found in values["__interrupt__"]] == ["second"]


async def test_two_questions_wait_at_once(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    values = await other.runs.wait(thread, "both", input={})
    assert sorted(found["value"] for found in values["__interrupt__"]) == ["left?", "right?"]


async def test_one_of_two_questions_is_answered_by_its_id(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    values = await other.runs.wait(thread, "both", input={})
    left = next(found["id"] for found in values["__interrupt__"] if found["value"] == "left?")
    await other.runs.wait(thread, "both", command={"resume": {left: "one"}})
    state = await other.threads.get_state(thread)
    assert [found["value"] for found in state["interrupts"]] == ["right?"]


async def test_two_questions_are_answered_together(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    values = await other.runs.wait(thread, "both", input={})
    answers = {found["id"]: found["value"].upper() for found in values["__interrupt__"]}
    values = await other.runs.wait(thread, "both", command={"resume": answers})
    assert sorted(values["answers"]) == ["left: LEFT?", "right: RIGHT?"]


async def test_question_of_a_subgraph_shows_where_it_waits(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    await other.runs.wait(thread, "boxed", input={})
    task = (await other.threads.get_state(thread))["tasks"][0]
    assert task["checkpoint"] == {"thread_id": thread, "checkpoint_ns": f"box:{task['id']}"}
    assert task["state"] is None


async def test_state_inside_an_interrupted_subgraph_can_be_read(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    await other.runs.wait(thread, "boxed", input={})
    task = (await other.threads.get_state(thread, subgraphs=True))["tasks"][0]
    assert task["checkpoint"] is None
    assert task["state"]["next"] == ["ask"]


async def test_question_of_a_subgraph_is_answered_like_any_other(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    await other.runs.wait(thread, "boxed", input={})
    values = await other.runs.wait(thread, "boxed", command={"resume": "yes"})
    assert values == {"answers": ["yes"]}


async def test_functional_graph_returns_its_value_and_remembers_it(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    assert await other.runs.wait(thread, "squares", input=[2, 3]) == {"squares": [4, 9], "before": None}
    assert await other.runs.wait(thread, "squares", input=[4]) == {"squares": [16], "before": [4, 9]}
