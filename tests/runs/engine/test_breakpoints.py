"""A breakpoint stops a run once, and a run lets go on from one passes it once, wherever an attempt is cut off."""

from typing import Any
from uuid import UUID

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.events.configured import event_log
from platform_site.core.events.interface import BEGIN
from runs.models import Run
from tests.runs.conftest import create, loads, run_to_end
from tests.runs.engine.crashes import Execute, Story, answers, dies_before_the_end, go_on, tell, thread_of
from tests.runs.graphs import STARTS


def stop(log: list[str], status: str = "interrupted") -> dict[str, Any]:
    return {"run": "success", "log": log, "thread": status, "open": []}


async def let_go_on(principal: Principal, graph_id: str, thread_id: UUID, times: int, **fields: Any) -> list[Any]:
    """Let a thread go on from its breakpoint so many times; where it stood after each."""
    return [thread_of(await run_to_end(principal, graph_id, thread_id, **fields)) for _ in range(times)]


async def breakpoints_of_the_request(principal: Principal, durability: str, execute: Execute, **stops: Any) -> Any:
    run = await in_db(create, principal, "chain", input={"log": []}, durability=durability, **stops)
    return thread_of(await execute(run)), await let_go_on(principal, "chain", run.thread_id, 1)


async def breakpoint_before_a_node(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await breakpoints_of_the_request(principal, durability, execute, interrupt_before=["two"])
    assert found == (stop(["one"]), [stop(["one", "two", "three"], "idle")])
    return found


async def breakpoint_before_every_node(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await breakpoints_of_the_request(principal, durability, execute, interrupt_before="*")
    assert found == (stop([]), [stop(["one", "two", "three"], "idle")])
    return found


async def breakpoint_after_a_node(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await breakpoints_of_the_request(principal, durability, execute, interrupt_after=["two"])
    assert found == (stop(["one", "two"]), [stop(["one", "two", "three"], "idle")])
    return found


async def breakpoint_after_every_node(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await breakpoints_of_the_request(principal, durability, execute, interrupt_after="*")
    assert found == (stop(["one"]), [stop(["one", "two", "three"], "idle")])
    return found


async def from_one_breakpoint_to_the_next(
    principal: Principal, graph_id: str, durability: str, execute: Execute, **fields: Any
) -> list[Any]:
    """All stops of a run that begins, is let go on, and is cut off on its way to the second breakpoint; and after."""
    begun = await run_to_end(principal, graph_id, input={"log": []}, durability=durability)
    cut = await go_on(principal, graph_id, begun.thread_id, execute, durability=durability, **fields)
    return [thread_of(begun), thread_of(cut), *await let_go_on(principal, graph_id, begun.thread_id, 1)]


async def on_from_a_breakpoint_before(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await from_one_breakpoint_to_the_next(principal, "stops_before", durability, execute)
    assert found == [stop(["one"]), stop(["one", "two"]), stop(["one", "two", "three"], "idle")]
    return found


async def on_from_a_breakpoint_after(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await from_one_breakpoint_to_the_next(principal, "stops_after", durability, execute)
    assert found == [stop(["one"]), stop(["one", "two"]), stop(["one", "two", "three"], "idle")]
    return found


async def on_from_a_breakpoint_by_a_command(principal: Principal, durability: str, execute: Execute) -> Any:
    command = {"update": {"log": ["mine"]}}
    found = await from_one_breakpoint_to_the_next(principal, "stops_before", durability, execute, command=command)
    assert [state["log"] for state in found] == [["one"], ["one", "mine", "two"], ["one", "mine", "two", "three"]]
    return found


async def input_at_a_breakpoint(principal: Principal, durability: str, execute: Execute) -> Any:
    given = {"input": {"log": ["again"]}}
    found = await from_one_breakpoint_to_the_next(principal, "stops_before", durability, execute, **given)
    assert [state["log"][1:] for state in found] == [[], ["again", "one"], ["again", "one", "two"]]
    return found


async def breakpoint_before_a_node_in_a_loop(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await from_one_breakpoint_to_the_next(principal, "loops_before", durability, execute)
    assert [len(state["log"]) for state in found] == [0, 1, 2]
    return found


async def breakpoint_after_a_node_in_a_loop(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await from_one_breakpoint_to_the_next(principal, "loops_after", durability, execute)
    assert [len(state["log"]) for state in found] == [1, 2, 3]
    return found


async def stops_of_a_subgraph(principal: Principal, graph_id: str, durability: str, execute: Execute) -> Any:
    """What the nodes did at each stop, where the first run and the second were cut off."""
    run = await in_db(create, principal, graph_id, input={"log": []}, durability=durability)
    found = [thread_of(await execute(run)), set(STARTS[str(run.thread_id)])]
    for _ in range(2):
        [state] = await let_go_on(principal, graph_id, run.thread_id, 1)
        found += [state, set(STARTS[str(run.thread_id)])]
    return found


async def breakpoint_before_a_node_of_a_subgraph(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await stops_of_a_subgraph(principal, "below_before", durability, execute)
    assert found[1::2] == [{"before", "one"}, {"before", "one", "two"}, {"before", "one", "two", "three", "last"}]
    return found


async def breakpoint_after_a_node_of_a_subgraph(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await stops_of_a_subgraph(principal, "below_after", durability, execute)
    assert found[1::2] == [{"before", "one"}, {"before", "one", "two"}, {"before", "one", "two", "three", "last"}]
    return found


async def breakpoint_before_a_node_beside_others(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await stops_of_a_subgraph(principal, "beside_before", durability, execute)
    assert found[1::2] == [{"before", "one", "beside"}, *[{"before", "one", "beside", "two", "last"}] * 2]
    return found


async def breakpoint_after_a_node_beside_others(principal: Principal, durability: str, execute: Execute) -> Any:
    found = await stops_of_a_subgraph(principal, "beside_after", durability, execute)
    assert found[1::2] == [{"before", "one", "beside"}, *[{"before", "one", "beside", "two", "last"}] * 2]
    return found


async def on_from_a_breakpoint_of_a_subgraph(principal: Principal, durability: str, execute: Execute) -> Any:
    begun = await run_to_end(principal, "below_after", input={"log": []}, durability=durability)
    cut = await go_on(principal, "below_after", begun.thread_id, execute, durability=durability)
    assert set(STARTS[str(cut.thread_id)]) == {"before", "one", "two"}
    return [thread_of(cut), *await let_go_on(principal, "below_after", begun.thread_id, 1)]


STORIES: list[Story] = [
    breakpoint_before_a_node,
    breakpoint_before_every_node,
    breakpoint_after_a_node,
    breakpoint_after_every_node,
    on_from_a_breakpoint_before,
    on_from_a_breakpoint_after,
    on_from_a_breakpoint_by_a_command,
    input_at_a_breakpoint,
    breakpoint_before_a_node_in_a_loop,
    breakpoint_after_a_node_in_a_loop,
    breakpoint_before_a_node_of_a_subgraph,
    breakpoint_after_a_node_of_a_subgraph,
    breakpoint_before_a_node_beside_others,
    breakpoint_after_a_node_beside_others,
    on_from_a_breakpoint_of_a_subgraph,
]


@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_stops_once_wherever_the_process_dies(principal: Principal, story: Story, durability: str) -> None:
    await tell(principal, story, durability)


@pytest.mark.parametrize(
    ("graph_id", "stops"),
    [
        ("chain", {"interrupt_before": ["two"]}),
        ("chain", {"interrupt_after": ["two"]}),
        ("chain", {}),
        ("below_before", {}),
        ("below_after", {}),
        ("beside_after", {}),
        ("counted_questions", {}),
    ],
)
@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
async def test_run_that_had_come_to_its_end_runs_no_node_again(
    principal: Principal, graph_id: str, stops: dict[str, Any], durability: str
) -> None:
    run = await in_db(create, principal, graph_id, input={"log": []}, durability=durability, **stops)
    lived = await dies_before_the_end(run)
    starts = STARTS[str(run.thread_id)]
    assert lived.status == "success"
    assert len(starts) == len(set(starts))


@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
async def test_answered_node_that_asked_again_before_the_death_is_not_run_again(
    principal: Principal, durability: str
) -> None:
    thread_id = (await run_to_end(principal, "counted_questions", input={"log": []})).thread_id
    run = await in_db(create, principal, "counted_questions", thread_id, command={"resume": "A"}, durability=durability)
    lived = await dies_before_the_end(run)
    assert STARTS[str(thread_id)] == ["ask", "ask"]
    assert thread_of(lived)["open"] == ["second?"]
    assert await answers(principal, "counted_questions", thread_id, "B") == stop(["A", "B"], "idle")


@pytest.mark.parametrize("graph_id", ["ask_twice", "stops_before", "stops_after", "log"])
async def test_answer_of_wait_is_that_of_a_run_that_was_not_cut_off(principal: Principal, graph_id: str) -> None:
    lived = await run_to_end(principal, graph_id, input={"log": []})
    died = await dies_before_the_end(await in_db(create, principal, graph_id, input={"log": []}))
    expected, found = loads(await _outcome(lived)), loads(await _outcome(died))
    for answer in (expected, found):
        for question in answer.get("__interrupt__", ()):
            del question["id"]
    assert found == expected


@pytest.mark.parametrize("graph_id", ["ask_twice", "stops_before", "stops_after"])
async def test_readers_are_told_once_more_where_a_run_stopped(principal: Principal, graph_id: str) -> None:
    run = await in_db(create, principal, graph_id, input={"log": []}, stream_mode="updates")
    await dies_before_the_end(run)
    subscription = event_log().subscribe(str(run.run_id), BEGIN)
    told: list[Any] = []
    while batch := await subscription.batch(5):
        told += [loads(event.data) for event in batch if event.name == "updates"]
    stops = [update["__interrupt__"] for update in told if "__interrupt__" in update]
    assert len(stops) == 2
    assert stops[0] == stops[1]


async def _outcome(run: Run) -> bytes:
    subscription = event_log().subscribe(str(run.run_id), None)
    while await subscription.batch(5):
        pass
    assert subscription.outcome is not None
    return subscription.outcome


async def test_a_run_remembers_before_which_nodes_a_breakpoint_stopped_it(principal: Principal) -> None:
    stopped = await run_to_end(principal, "chain", input={"log": []}, interrupt_before=["two"])
    assert stopped.stopped_before == ["two"]
    after = await run_to_end(principal, "chain", input={"log": []}, interrupt_after=["one"])
    assert after.stopped_before == ["two"]
    assert (await run_to_end(principal, "chain", stopped.thread_id)).stopped_before is None
    assert (await run_to_end(principal, "ask_twice", input={"log": []})).stopped_before is None
