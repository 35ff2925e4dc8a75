"""Every method of the runs client with all of its parameters, and what each of them does."""

from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk.errors import APIStatusError, ConflictError, NotFoundError

from tests.client.sdk.covering import Covered, every_parameter
from tests.client.waiting import until, until_over

# A parameter as good as any other until it is gone.
pytestmark = pytest.mark.filterwarnings("ignore:`checkpoint_during` is deprecated")

COUNTED = {"count": 4, "log": ["inc", "double"]}
LONG = {"ticks": 100, "delay": 0.1}
# What no run can be asked for, of this server; docs/api.md and docs/webhooks.md say why.
REFUSED: dict[str, Any] = {
    "webhook": "/ok",
    "langsmith_tracing": {"project_name": "p"},
    "feedback_keys": ["helpful"],
}

# What the three ways to start a run are asked for.
ASKED: dict[str, Any] = {
    "input": {"count": 1},
    "metadata": {"of": "the run"},
    "config": {"tags": ["t"], "recursion_limit": 50},
    "context": {"tone": "warm"},
    "multitask_strategy": "enqueue",
    "if_not_exists": "create",
    "on_completion": "keep",
}
STREAMED: dict[str, Any] = {
    "stream_mode": ["updates", "values"],
    "stream_subgraphs": True,
    "stream_resumable": True,
}


@pytest.fixture
async def counted(client: Any, thread: str) -> str:
    """A thread on which a run has counted to four."""
    assert await client.runs.wait(thread, "counter", input={"count": 1}) == COUNTED
    return thread


async def refuse(method: Covered, names: list[str], **arguments: Any) -> None:
    for name in names:
        await method.refused(name.replace("tracing", "tracer"), **arguments, **{name: REFUSED[name]})


async def after_inc(client: Any, thread: str) -> dict[str, Any]:
    """The checkpoint between the two nodes of the graph that counts."""
    history = await client.threads.get_history(thread)
    found: dict[str, Any] = next(state["checkpoint"] for state in history if state["next"] == ["double"])
    return found


async def test_create(sdk: Any, client: Any, counted: str) -> None:
    announced: list[Any] = []
    checkpoint = await after_inc(client, counted)
    with every_parameter(sdk.runs.create) as create:
        base = {"thread_id": counted, "assistant_id": "counter"}
        await refuse(create, ["webhook", "langsmith_tracing"], **base)
        run = await create(
            **base,
            **ASKED,
            **STREAMED,
            checkpoint=checkpoint,
            interrupt_before=["double"],
            interrupt_after=["nobody"],
            after_seconds=1,
            on_run_created=announced.append,
            durability="sync",
        )
        assert await until_over(client, counted, run["run_id"]) == "success"
        await create(
            **base,
            command={"update": {"note": "by command"}},
            checkpoint_id=checkpoint["checkpoint_id"],
            checkpoint_during=True,
            strict_resume=True,
        )
    assert announced == [{"run_id": run["run_id"], "thread_id": counted}]
    kwargs = run["kwargs"]
    assert (kwargs["stream_mode"], kwargs["subgraphs"], kwargs["resumable"]) == (["updates", "values"], True, True)
    assert (kwargs["durability"], kwargs["interrupt_before"]) == ("sync", ["double"])
    assert (kwargs["config"]["tags"], kwargs["config"]["recursion_limit"]) == (["t"], 50)
    assert kwargs["config"]["configurable"]["langgraph_request_id"] == "of-the-sdk-tests"
    assert kwargs["context"] == {"tone": "warm"}
    assert run["metadata"]["of"] == "the run"
    newest = (await client.runs.list(counted))[0]
    await until_over(client, counted, newest["run_id"])
    assert (await client.threads.get_state(counted))["values"]["note"] == "by command"


async def test_create_starts_where_it_is_told(sdk: Any, client: Any, counted: str) -> None:
    checkpoint = await after_inc(client, counted)
    run = await Covered(sdk.runs.create)(
        thread_id=counted,
        assistant_id="counter",
        checkpoint=checkpoint,
        interrupt_before=["double"],
        input={"count": 7},
    )
    await until_over(client, counted, run["run_id"])
    state = await client.threads.get_state(counted)
    assert (state["values"]["count"], state["next"]) == (10, ["double"])


async def test_stream(sdk: Any, client: Any, counted: str) -> None:
    announced: list[Any] = []
    checkpoint = await after_inc(client, counted)
    with every_parameter(sdk.runs.stream) as stream:
        base = {"thread_id": counted, "assistant_id": "counter"}
        await refuse(stream, list(REFUSED), **base)
        parts = await stream(
            **base,
            **ASKED,
            **STREAMED,
            checkpoint=checkpoint,
            interrupt_before=["nobody"],
            interrupt_after=["inc"],
            on_disconnect="continue",
            after_seconds=0,
            on_run_created=announced.append,
            durability="exit",
            version="v1",
        )
        again = await stream(
            **base,
            command={"update": {"note": "by command"}},
            checkpoint_id=checkpoint["checkpoint_id"],
            checkpoint_during=False,
            strict_resume=True,
            stream_mode="values",
            version="v2",
        )
    run = announced[0]["run_id"]
    assert (parts[0].event, parts[0].data) == ("metadata", {"run_id": run, "attempt": 1})
    assert {part.event for part in parts} == {"metadata", "updates", "values"}
    # It forks after the first `inc`, and stops after the next.
    assert [part.data for part in parts if part.event == "values"][-1]["count"] == 4
    assert (await client.runs.get(counted, run))["metadata"]["of"] == "the run"
    assert again[-1]["type"] == "values"
    assert again[-1]["data"]["note"] == "by command"


async def test_wait(sdk: Any, client: Any, counted: str) -> None:
    announced: list[Any] = []
    checkpoint = await after_inc(client, counted)
    with every_parameter(sdk.runs.wait) as wait:
        base = {"thread_id": counted, "assistant_id": "counter"}
        await refuse(wait, ["webhook", "langsmith_tracing"], **base)
        values = await wait(
            **base,
            **ASKED,
            checkpoint=checkpoint,
            interrupt_before=["double"],
            interrupt_after=["nobody"],
            on_disconnect="continue",
            after_seconds=0,
            on_run_created=announced.append,
            durability="async",
        )
        other = await wait(
            **base,
            command={"update": {"note": "by command"}},
            checkpoint_id=checkpoint["checkpoint_id"],
            checkpoint_during=True,
            strict_resume=True,
        )
        failed = await wait(thread_id=None, assistant_id="failing", input={"x": 1}, raise_error=False)
    assert values["count"] == 4
    assert other["note"] == "by command"
    assert failed["__error__"] == {"error": "ValueError", "message": "boom: x=1"}
    assert (await client.runs.get(counted, announced[0]["run_id"]))["metadata"]["of"] == "the run"


async def test_wait_raises_the_error_of_the_run(sdk: Any) -> None:
    with pytest.raises(Exception, match="boom: x=1"):
        await Covered(sdk.runs.wait)(thread_id=None, assistant_id="failing", input={"x": 1}, raise_error=True)


async def test_run_that_may_take_no_step_fails(sdk: Any) -> None:
    limited = {"recursion_limit": 1}
    answer = await Covered(sdk.runs.wait)(
        thread_id=None, assistant_id="counter", input={"count": 1}, config=limited, raise_error=False
    )
    assert answer["__error__"]["error"] == "GraphRecursionError"


async def test_second_run_is_rejected_on_request(sdk: Any, client: Any, thread: str) -> None:
    await client.runs.create(thread, "counter", input={}, after_seconds=3600)
    with pytest.raises(ConflictError):
        await Covered(sdk.runs.create)(thread_id=thread, assistant_id="counter", multitask_strategy="reject")


async def test_resume_of_an_interrupt_that_does_not_wait_is_refused_when_strict(sdk: Any, client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "approval", input={"request": "r"})
    unknown = {"resume": {"0" * 32: "yes"}}
    answer = await Covered(sdk.runs.wait)(
        thread_id=thread, assistant_id="approval", command=unknown, strict_resume=True, raise_error=False
    )
    assert answer["__error__"]["error"] == "UnknownInterruptError"
    assert (await client.threads.get_state(thread))["next"] == ["ask"]


async def test_create_batch(sdk: Any, client: Any) -> None:
    one = {"assistant_id": "counter", "input": {"count": 1}, "on_completion": "keep", "metadata": {"n": 1}}
    with every_parameter(sdk.runs.create_batch) as create_batch:
        runs = await create_batch(payloads=[one, {**one, "input": {"count": 2}, "metadata": {"n": 2}}])
    assert [run["metadata"]["n"] for run in runs] == [1, 2]
    for run, count in zip(runs, (4, 6), strict=True):
        await until_over(client, run["thread_id"], run["run_id"])
        assert (await client.threads.get(run["thread_id"]))["values"]["count"] == count


async def test_list(sdk: Any, client: Any, thread: str) -> None:
    made = []
    for count in (1, 2, 3):
        await client.runs.wait(thread, "counter", input={"count": count})
        made.append((await client.runs.list(thread, limit=1))[0]["run_id"])
    await client.runs.create(thread, "counter", input={}, after_seconds=3600)
    with every_parameter(sdk.runs.list) as list_runs:
        rows = await list_runs(thread_id=thread, limit=2, offset=1, status="success", select=["run_id", "status"])
    assert rows == [{"run_id": run, "status": "success"} for run in (made[1], made[0])]


async def test_get(sdk: Any, client: Any, counted: str) -> None:
    run = (await client.runs.list(counted))[0]
    with every_parameter(sdk.runs.get) as get:
        assert await get(thread_id=counted, run_id=run["run_id"]) == run


async def test_delete(sdk: Any, client: Any, counted: str) -> None:
    run = (await client.runs.list(counted))[0]
    with every_parameter(sdk.runs.delete) as delete:
        await delete(thread_id=counted, run_id=run["run_id"])
    with pytest.raises(NotFoundError):
        await client.runs.get(counted, run["run_id"])
    assert (await client.threads.get_state(counted))["values"] == {}


async def test_join(sdk: Any, client: Any, thread: str) -> None:
    run = await client.runs.create(thread, "counter", input={"count": 1})
    with every_parameter(sdk.runs.join) as join:
        assert await join(thread_id=thread, run_id=run["run_id"]) == COUNTED


async def test_join_stream(sdk: Any, client: Any, thread: str) -> None:
    run = await client.runs.create(
        thread, "counter", input={"count": 1}, stream_mode=["values", "updates"], stream_resumable=True
    )
    await client.runs.join(thread, run["run_id"])
    slow = (await client.threads.create())["thread_id"]
    left = await client.runs.create(slow, "slow", input=LONG, stream_mode="custom")
    with every_parameter(sdk.runs.join_stream) as join_stream:
        base = {"thread_id": thread, "run_id": run["run_id"]}
        all_parts = await join_stream(**base, last_event_id="-1", stream_mode="updates")
        rest = await join_stream(**base, last_event_id=all_parts[0].id)
        await join_stream.first(1, thread_id=slow, run_id=left["run_id"], cancel_on_disconnect=True)
    assert [list(part.data) for part in all_parts] == [["inc"], ["double"]]
    assert [part.event for part in rest] == ["values", "updates", "values"]
    assert await until_over(client, slow, left["run_id"]) == "interrupted"


async def test_cancel(sdk: Any, client: Any, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input=LONG)
    await until(lambda: is_running(client, thread, run["run_id"]))
    with every_parameter(sdk.runs.cancel) as cancel:
        await cancel(thread_id=thread, run_id=run["run_id"], wait=True, action="interrupt")
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"


async def test_cancel_leaves_no_trace_on_request(sdk: Any, client: Any, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input=LONG)
    await Covered(sdk.runs.cancel)(thread_id=thread, run_id=run["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    assert await client.threads.get_history(thread) == []


async def test_cancel_many(sdk: Any, client: Any, thread: str) -> None:
    runs = [await client.runs.create(thread, "slow", input=LONG) for _ in range(3)]
    named = [run["run_id"] for run in runs[1:]]
    with every_parameter(sdk.runs.cancel_many) as cancel_many:
        await cancel_many(thread_id=thread, run_ids=named, action="rollback")
        # Both ways at once are one too many; a run of any other test may be pending, so `all` is not tried here.
        with pytest.raises(APIStatusError):
            await cancel_many(thread_id=thread, run_ids=named, status="pending")
        with pytest.raises(NotFoundError):
            await cancel_many(thread_id=str(uuid4()), run_ids=[str(uuid4())])
    await until(lambda: are_gone(client, thread, named))
    await client.runs.cancel(thread, runs[0]["run_id"], wait=True)


async def is_running(client: Any, thread: str, run: str) -> bool:
    return (await client.runs.get(thread, run))["status"] == "running"


async def are_gone(client: Any, thread: str, runs: list[str]) -> bool:
    return not {run["run_id"] for run in await client.runs.list(thread)} & set(runs)
