"""What clients see of a state that is larger than the graph's output; its thread has everything."""

from typing import Any

import pytest

from tests.client.streams import collect, data, names
from tests.live import Client

ASKED = {"question": "?"}
WHOLE = {"question": "?", "answer": "42", "notes": ["secret", "more"], "draft": ""}


async def test_values_are_sent_when_the_output_changes(other: Client, other_thread: str) -> None:
    parts = await collect(other.runs.stream(other_thread, "answers", input=ASKED, stream_mode="values"))
    assert data(parts, "values") == [{"answer": "42"}]


async def test_updates_hold_the_output_or_null(other: Client, other_thread: str) -> None:
    parts = await collect(other.runs.stream(other_thread, "answers", input=ASKED, stream_mode="updates"))
    assert data(parts, "updates") == [{"think": None}, {"reply": {"answer": "42"}}, {"tidy": None}]


@pytest.mark.usefixtures("not_the_reference")
async def test_wait_and_joins_answer_with_the_output(other: Client, other_thread: str) -> None:
    assert await other.runs.wait(other_thread, "answers", input=ASKED) == {"answer": "42"}
    assert await other.runs.wait(None, "answers", input=ASKED) == {"answer": "42"}
    run = (await other.runs.list(other_thread))[0]["run_id"]
    assert await other.runs.join(other_thread, run) == {"answer": "42"}
    for modes in (["updates"], ["events"], ["debug"]):
        body = {"assistant_id": "answers", "input": ASKED, "stream_mode": modes}
        assert await other.http.post(f"/threads/{other_thread}/runs/wait", json=body) == {"answer": "42"}


async def test_thread_state_and_history_have_everything(other: Client, other_thread: str) -> None:
    await other.runs.wait(other_thread, "answers", input=ASKED)
    assert (await other.threads.get(other_thread))["values"] == WHOLE
    assert (await other.threads.get_state(other_thread))["values"] == WHOLE
    assert (await other.threads.get_history(other_thread))[0]["values"] == WHOLE


@pytest.mark.usefixtures("not_the_reference")
async def test_a_graph_that_never_writes_its_output_answers_with_an_empty_object(
    other: Client, other_thread: str
) -> None:
    parts = await collect(other.runs.stream(other_thread, "silent", input=ASKED, stream_mode=["values", "updates"]))
    assert names(parts) == ["metadata", "updates", "updates"]
    run = (await other.runs.list(other_thread))[0]["run_id"]
    assert await other.runs.join(other_thread, run) == {}
    assert await other.runs.wait(other_thread, "silent", input=ASKED) == {}
    assert await other.runs.wait(None, "silent", input=ASKED) == {}


async def test_a_question_is_asked_beside_the_output(other: Client, other_thread: str) -> None:
    modes: Any = ["values", "updates"]
    parts = await collect(other.runs.stream(other_thread, "confirms", input=ASKED, stream_mode=modes))
    *_, update = data(parts, "updates")
    assert [question["value"] for question in update["__interrupt__"]] == ["sure?"]
    *_, last = data(parts, "values")
    assert last == {"answer": "42", "__interrupt__": update["__interrupt__"]}
    assert await other.runs.wait(other_thread, "confirms", command={"resume": "43"}) == {"answer": "43"}


@pytest.mark.usefixtures("not_the_reference")
async def test_a_late_join_asks_the_question_beside_the_output(other: Client, other_thread: str) -> None:
    waited = await other.runs.wait(other_thread, "confirms", input=ASKED)
    run = (await other.runs.list(other_thread))[0]["run_id"]
    assert waited == await other.runs.join(other_thread, run)
    assert sorted(waited) == ["__interrupt__", "answer"]


async def test_a_subgraph_shows_its_own_output(other: Client, other_thread: str) -> None:
    stream = other.runs.stream(
        other_thread, "answers_inside", input=ASKED, stream_mode=["values", "updates"], stream_subgraphs=True
    )
    parts = [(part.event.partition(":")[0], part.data) for part in await collect(stream)][1:]
    assert parts == [
        ("updates", {"think": None}),
        ("updates|child", {"think": None}),
        ("updates|child", {"reply": {"answer": "42"}}),
        ("values|child", {"answer": "42"}),
        ("updates|child", {"tidy": None}),
        ("updates", {"child": {"answer": "42"}}),
        ("values", {"answer": "42"}),
    ]


async def test_checkpoints_and_tasks_are_whole(other: Client, other_thread: str) -> None:
    modes: Any = ["checkpoints", "tasks", "debug"]
    parts = await collect(other.runs.stream(other_thread, "answers", input=ASKED, stream_mode=modes))
    assert data(parts, "checkpoints")[-1]["values"] == WHOLE
    results = [part for part in data(parts, "tasks") if "result" in part]
    assert results[0]["result"] == {"notes": ["secret"], "draft": "41"}
    payloads = [part["payload"] for part in data(parts, "debug") if part["type"] == "checkpoint"]
    assert payloads[-1]["values"] == WHOLE


async def test_a_task_of_a_debug_checkpoint_names_the_place_of_its_subgraph(other: Client, other_thread: str) -> None:
    parts = await collect(other.runs.stream(other_thread, "answers_inside", input=ASKED, stream_mode="debug"))
    tasks = [task for part in data(parts, "debug") if part["type"] == "checkpoint" for task in part["payload"]["tasks"]]
    [child] = [task for task in tasks if task["name"] == "child"]
    assert "state" not in child
    assert child["checkpoint"] == {"thread_id": other_thread, "checkpoint_ns": f"child:{child['id']}"}
    assert all(task["state"] is None for task in tasks if task["name"] != "child")


async def test_with_events_everything_is_shown(other: Client, other_thread: str) -> None:
    modes: Any = ["events", "values", "updates"]
    parts = await collect(other.runs.stream(other_thread, "answers", input=ASKED, stream_mode=modes))
    assert data(parts, "values")[-1] == WHOLE
    assert data(parts, "updates")[0] == {"think": {"notes": ["secret"], "draft": "41"}}


async def test_private_state_of_middleware_stays_in_the_thread(other: Client, other_thread: str) -> None:
    given: Any = {"messages": [{"role": "user", "content": "hi"}]}
    modes: Any = ["values", "updates"]
    parts = await collect(other.runs.stream(other_thread, "agent", input=given, stream_mode=modes))
    assert all("budget" not in values for values in data(parts, "values"))
    assert {"Counting.before_model": None} in data(parts, "updates")
    assert "budget" not in await other.runs.wait(other_thread, "agent", input=given)
    assert (await other.threads.get_state(other_thread))["values"]["budget"] == 8


async def test_a_failed_run_has_sent_the_output_only(other: Client, other_thread: str) -> None:
    modes: Any = ["values", "updates"]
    parts = await collect(other.runs.stream(other_thread, "fails_in_private", input=ASKED, stream_mode=modes))
    assert data(parts, "values") == [{"answer": "42"}]
    assert (await other.threads.get(other_thread))["values"]["notes"] == ["secret", "more"]


@pytest.mark.usefixtures("not_the_reference")
async def test_a_copy_of_a_thread_hides_the_same(other: Client, other_thread: str) -> None:
    await other.runs.wait(other_thread, "answers", input=ASKED)
    copied: Any = await other.http.post(f"/threads/{other_thread}/copy", json={})
    delayed = await other.runs.create(copied["thread_id"], "answers", input=ASKED, after_seconds=3600)
    await other.runs.cancel(copied["thread_id"], delayed["run_id"])
    assert await other.runs.join(copied["thread_id"], delayed["run_id"]) == {"answer": "42"}
