"""Command, input and fork point apply once, wherever an attempt is cut off and however many a run needs.

Each story runs a graph on real checkpoints. It is told once without a cut, to count the writes of the run in question,
then once for each of those writes with a process that dies just before it, and is taken up again. At last the process
dies after all of them, before the end of the run is written.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from platform_site.access.principal import Principal
from platform_site.core.checkpoints import checkpoints
from platform_site.core.database import in_db
from platform_site.core.events import BEGIN, event_log
from runs.engine import queue
from runs.engine.executor import Attempt, Lease, Stop
from runs.engine.finish import Ending
from runs.engine.queue import Claim
from runs.models import Run
from tests.runs.conftest import Gate, claim, create, execute, loads, run_to_end
from tests.runs.graphs import STARTS, script

NOBODY: Callable[[], str | None] = lambda: None  # noqa: E731


class CutLease(Lease):
    """The lease of a process that dies before its write number `after`."""

    def __init__(self, claimed: Claim, after: int | None) -> None:
        super().__init__(claimed)
        self.after = after
        self.writes = 0

    def holds(self) -> bool:
        if self.after is not None and self.writes >= self.after:
            self.lose()
        elif super().holds():
            self.writes += 1
        return super().holds()


class CutAttempt(Attempt):
    """An attempt whose process dies with its lease: LangGraph may go on to an end that is not written any more."""

    async def _finish(self, ending: Ending) -> list[Claim]:
        return [] if self.lease._lost else await super()._finish(ending)


async def cut_execute(claimed: Claim, after: int | None) -> int:
    """Execute an attempt whose process dies after `after` checkpoint writes; how many it made."""
    attempt = CutAttempt(claimed, NOBODY)
    attempt.lease = lease = CutLease(claimed, after)
    watch = asyncio.ensure_future(attempt.execute())
    while not watch.done():
        await asyncio.wait({watch}, timeout=0.002)
        if not lease._lost or lease.after is None:
            continue
        attempt.stop(Stop.LOST)
    await watch
    return lease.writes


class EndlessAttempt(Attempt):
    """The attempt of a process that dies when it is about to write the end of its run."""

    async def _finish(self, ending: Ending) -> list[Claim]:
        self.lease.lose()
        return []


async def dies_before_the_end(run: Run) -> Run:
    """Execute a run in a process that dies after the last checkpoint write, then in one that lives."""
    await EndlessAttempt(await in_db(claim, run), NOBODY).execute()
    await in_db(run.refresh_from_db)
    assert await in_db(queue.requeue_lost, run)
    await execute(await in_db(claim, run))
    return await row(run)


async def dies_and_recovers(run: Run, after: int) -> Run:
    """Execute a run in a process that dies after so many writes, then in one that lives."""
    await cut_execute(await in_db(claim, run), after)
    await in_db(run.refresh_from_db)
    if run.finished_at is None:
        assert await in_db(queue.requeue_lost, run)
        await execute(await in_db(claim, run))
    return await row(run)


async def row(run: Run) -> Run:
    return await in_db(lambda: Run.objects.select_related("thread").get(pk=run.pk))


Execute = Callable[[Run], Awaitable[Run]]
Story = Callable[[Principal, str, Execute], Awaitable[Any]]


async def _lives(run: Run) -> Run:
    await execute(await in_db(claim, run))
    return await row(run)


async def _count_writes(run: Run, writes: list[int]) -> Run:
    writes.append(await cut_execute(await in_db(claim, run), None))
    return await row(run)


async def tell(principal: Principal, story: Story, durability: str) -> None:
    """The story ends the same however many writes the process lived for."""
    writes: list[int] = []
    expected = await story(principal, durability, lambda run: _count_writes(run, writes))
    [count] = writes
    assert count > 0
    for after in range(count + 1):
        found = await story(principal, durability, lambda run, after=after: dies_and_recovers(run, after))  # type: ignore[misc]
        assert found == expected, f"died after {after} of {count} writes"
    assert await story(principal, durability, dies_before_the_end) == expected, "died before the end"


def thread_of(run: Run) -> dict[str, Any]:
    """What the end of the run left: status, values and the questions that are open."""
    thread = run.thread
    values = thread.values or {}
    questions = sorted(item["value"] for items in (thread.interrupts or {}).values() for item in items)
    return {"run": run.status, "log": values.get("log"), "thread": thread.status, "open": questions}


async def begin(principal: Principal, graph_id: str, **fields: Any) -> UUID:
    return (await run_to_end(principal, graph_id, input={"log": []}, **fields)).thread_id


async def go_on(principal: Principal, graph_id: str, thread_id: UUID, execute: Execute, **fields: Any) -> Run:
    return await execute(await in_db(create, principal, graph_id, thread_id, **fields))


async def answers(principal: Principal, graph_id: str, thread_id: UUID, *words: str) -> dict[str, Any]:
    """Answer what is open, one word a run; the end."""
    for word in words:
        run = await run_to_end(principal, graph_id, thread_id, command={"resume": word})
    return thread_of(run)


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
