"""Command, input and fork point apply once, wherever an attempt is cut off and however many a run needs.

The stories are told as `tests.runs.engine.crashes` says.
"""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.database.access import in_db
from runs.engine import queue
from runs.engine.attempt import Attempt
from runs.engine.stopping import Stop
from tests.runs.conftest import Gate, claim, create, execute, run_to_end
from tests.runs.engine.crashes import (
    NOBODY,
    CutLease,
    Execute,
    Story,
    answers,
    begin,
    dies_and_recovers,
    go_on,
    row,
    tell,
    thread_of,
)
from tests.runs.graphs import script


async def input_once(principal: Principal, durability: str, execute: Execute) -> Any:
    run = await in_db(create, principal, "log", input={"log": ["in"]}, durability=durability)
    found = thread_of(await execute(run))
    assert found == {"run": "success", "log": ["in", "one", "two"], "thread": "idle", "open": []}
    return found


async def input_on_a_thread_that_waits(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_in_turn")
    run = await go_on(principal, "ask_in_turn", thread_id, execute, input={"log": ["in"]}, durability=durability)
    found = thread_of(run)
    assert (found["log"], found["open"]) == (["in"], ["left?"])
    return found


async def two_questions_of_one_node(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_twice")
    run = await go_on(principal, "ask_twice", thread_id, execute, command={"resume": "A"}, durability=durability)
    assert thread_of(run) == {"run": "success", "log": [], "thread": "interrupted", "open": ["second?"]}
    return await answers(principal, "ask_twice", thread_id, "B")


async def last_question_of_one_node(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_twice")
    await answers(principal, "ask_twice", thread_id, "A")
    run = await go_on(principal, "ask_twice", thread_id, execute, command={"resume": "B"}, durability=durability)
    found = thread_of(run)
    assert (found["log"], found["open"]) == (["A", "B"], [])
    return found


async def questions_of_two_nodes(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_in_turn")
    run = await go_on(principal, "ask_in_turn", thread_id, execute, command={"resume": "A"}, durability=durability)
    assert thread_of(run) == {"run": "success", "log": ["A"], "thread": "interrupted", "open": ["right?"]}
    return await answers(principal, "ask_in_turn", thread_id, "B")


async def _ids(principal: Principal, thread_id: UUID) -> dict[str, str]:
    from threads.models import Thread

    thread = await in_db(Thread.objects.get, pk=thread_id)
    return {item["value"]: item["id"] for items in (thread.interrupts or {}).values() for item in items}


async def parallel_questions_answered_by_id(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_both")
    ids = await _ids(principal, thread_id)
    answer = {ids["left?"]: "L", ids["right?"]: "R"}
    run = await go_on(principal, "ask_both", thread_id, execute, command={"resume": answer}, durability=durability)
    found = thread_of(run)
    assert (sorted(found["log"]), found["open"]) == (["L", "R"], [])
    return found


async def one_of_two_parallel_questions(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_both")
    answer = {(await _ids(principal, thread_id))["left?"]: "L"}
    run = await go_on(principal, "ask_both", thread_id, execute, command={"resume": answer}, durability=durability)
    assert thread_of(run)["open"] == ["right?"]
    found = await answers(principal, "ask_both", thread_id, "R")
    assert sorted(found["log"]) == ["L", "R"]
    return found


async def question_in_a_subgraph(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_below")
    run = await go_on(principal, "ask_below", thread_id, execute, command={"resume": "A"}, durability=durability)
    assert thread_of(run)["open"] == ["right?"]
    found = await answers(principal, "ask_below", thread_id, "B")
    assert found["open"] == []
    return found


async def update(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "log")
    run = await go_on(
        principal, "log", thread_id, execute, command={"update": {"log": ["mine"]}}, durability=durability
    )
    assert thread_of(run)["log"] == ["one", "two", "mine"]
    return thread_of(run)


async def update_as_a_list_of_pairs(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "log")
    pairs = [["log", ["mine"]], ["log", ["yours"]]]
    run = await go_on(principal, "log", thread_id, execute, command={"update": pairs}, durability=durability)
    assert thread_of(run)["log"] == ["one", "two", "mine", "yours"]
    return thread_of(run)


async def goto(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "log")
    run = await go_on(principal, "log", thread_id, execute, command={"goto": "aside"}, durability=durability)
    assert thread_of(run)["log"] == ["one", "two", "aside"]
    return thread_of(run)


async def goto_with_an_input(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "log")
    send = {"node": "aside", "input": {"log": []}}
    run = await go_on(principal, "log", thread_id, execute, command={"goto": [send, "one"]}, durability=durability)
    assert sorted(thread_of(run)["log"]) == ["aside", "one", "one", "two", "two"]
    return thread_of(run)


async def answer_with_update(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "ask_in_turn")
    command = {"resume": "A", "update": {"log": ["mine"]}}
    run = await go_on(principal, "ask_in_turn", thread_id, execute, command=command, durability=durability)
    assert thread_of(run)["log"] == ["mine", "A"]
    return thread_of(run)


async def _first_checkpoint(thread_id: UUID, step: int) -> str:
    saver = checkpoints().saver()
    config: Any = {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}}
    found = [item async for item in saver.alist(config) if item.metadata.get("step") == step]
    return str(found[-1].config["configurable"]["checkpoint_id"])


async def fork_with_an_input(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "log")
    place = await _first_checkpoint(thread_id, 1)
    run = await go_on(
        principal, "log", thread_id, execute, checkpoint_id=place, input={"log": ["fork"]}, durability=durability
    )
    assert thread_of(run)["log"] == ["one", "fork", "one", "two"]
    return thread_of(run)


async def fork_that_goes_on(principal: Principal, durability: str, execute: Execute) -> Any:
    thread_id = await begin(principal, "log")
    place = await _first_checkpoint(thread_id, 1)
    run = await go_on(principal, "log", thread_id, execute, checkpoint={"checkpoint_id": place}, durability=durability)
    assert thread_of(run)["log"] == ["one", "two"]
    return thread_of(run)


STORIES: list[Story] = [
    input_once,
    input_on_a_thread_that_waits,
    two_questions_of_one_node,
    last_question_of_one_node,
    questions_of_two_nodes,
    parallel_questions_answered_by_id,
    one_of_two_parallel_questions,
    question_in_a_subgraph,
    update,
    update_as_a_list_of_pairs,
    goto,
    goto_with_an_input,
    answer_with_update,
    fork_with_an_input,
    fork_that_goes_on,
]


@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_applied_once_wherever_the_process_dies(principal: Principal, story: Story, durability: str) -> None:
    await tell(principal, story, durability)


async def test_recovered_run_without_a_checkpoint_gets_its_input(principal: Principal) -> None:
    run = await in_db(create, principal, input={"log": ["in"]})
    await in_db(claim, run)
    await in_db(run.refresh_from_db)
    assert await in_db(queue.requeue_lost, run)
    await execute(await in_db(claim, run))
    assert thread_of(await row(run))["log"] == ["in", "one", "two"]


async def test_recovered_stateless_run_starts_again_from_its_input(principal: Principal) -> None:
    run = await in_db(create, principal, new=False, input={"log": ["in"]})
    await in_db(claim, run)
    await in_db(run.refresh_from_db)
    assert await in_db(queue.requeue_lost, run)
    attempt = Attempt(await in_db(claim, run), NOBODY)
    await attempt.execute()
    assert attempt._encoder.outcome == b'{"log":["in","one","two"]}'


async def test_drained_run_goes_on_where_it_stopped(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        attempt = Attempt(await in_db(claim, run), NOBODY)
        first = asyncio.ensure_future(attempt.execute())
        await asyncio.to_thread(gate.reached.wait, 10)
        attempt.stop(Stop.DRAIN)
        await first
        gate.open.set()
        again = await in_db(claim, run)
        assert (again.attempt, again.was_begun) == (1, True)
        await execute(again)
    # Not begun twice: the finished node is not run again.
    found = thread_of(await row(run))
    assert (found["run"], found["log"]) == ("success", ["begun"])


async def test_drained_answer_is_not_given_to_the_next_question(principal: Principal) -> None:
    thread_id = await begin(principal, "ask_in_turn")
    run = await in_db(create, principal, "ask_in_turn", thread_id, command={"resume": "A"})
    attempt = Attempt(await in_db(claim, run), NOBODY)

    attempt.lease = lease = CutLease(attempt.claim, None)
    first = asyncio.ensure_future(attempt.execute())
    while not lease.writes and not first.done():  # noqa: ASYNC110 - counted on another thread
        await asyncio.sleep(0.001)
    attempt.stop(Stop.DRAIN)
    await first
    await in_db(run.refresh_from_db)
    if run.status == "pending":
        await execute(await in_db(claim, run))
    assert thread_of(await row(run)) == {"run": "success", "log": ["A"], "thread": "interrupted", "open": ["right?"]}


async def test_all_attempts_carry_the_id_of_the_run(principal: Principal) -> None:
    run = await dies_and_recovers(await in_db(create, principal, input={"log": []}), 2)
    saver = checkpoints().saver()
    config: Any = {"configurable": {"thread_id": str(run.thread_id), "checkpoint_ns": ""}}
    found: list[Any] = [item.metadata async for item in saver.alist(config)]
    assert {item["run_id"] for item in found} == {str(run.run_id)}
    assert {item["run_attempt"] for item in found} == {1, 2}


async def test_command_that_asks_for_nothing_goes_on_where_the_thread_stands(principal: Principal) -> None:
    thread_id = await begin(principal, "log", interrupt_before=["two"])
    run = await run_to_end(principal, "log", thread_id, command={"update": {}})
    assert thread_of(run)["log"] == ["one", "two"]


async def test_strict_resume_refuses_an_answer_that_nothing_waits_for(principal: Principal) -> None:
    asked = await run_to_end(principal, "ask_in_turn", input={"log": []})
    answer = {"resume": {"0" * 32: "x"}}
    refused = await run_to_end(principal, "ask_in_turn", asked.thread_id, command=answer, strict_resume=True)
    assert (refused.status, refused.error_class) == ("error", "UnknownInterruptError")
    assert refused.thread.interrupts == asked.thread.interrupts
    ignored = await run_to_end(principal, "ask_in_turn", asked.thread_id, command=answer)
    assert (ignored.status, ignored.thread.interrupts) == ("success", asked.thread.interrupts)


async def test_strict_resume_takes_an_answer_that_is_waited_for(principal: Principal) -> None:
    asked = await run_to_end(principal, "ask_in_turn", input={"log": []})
    [[waiting]] = asked.thread.interrupts.values()
    command = {"resume": {waiting["id"]: "yes"}}
    answered = await run_to_end(principal, "ask_in_turn", asked.thread_id, command=command, strict_resume=True)
    assert answered.thread.values == {"log": ["yes"]}
