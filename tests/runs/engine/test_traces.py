"""The trace of a run: a span for each attempt, in it those of its nodes, models and tools."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.telemetry import tracing
from runs import services
from runs.engine.attempt import Attempt
from runs.engine.endings import Ending
from runs.engine.queue import requeue_lost, take_over
from runs.engine.stopping import Stop
from runs.models import Run, RunSpan, RunStatus
from runs.schemas import RunCreate
from tests.runs.conftest import Gate, claim, create, execute, run_to_end
from tests.runs.graphs import script
from tests.tracing import place
from tests.tracing import traces as traces

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


def named(traces: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in traces.get_finished_spans() if span.name == name]


def tree(traces: InMemorySpanExporter) -> set[tuple[str, str]]:
    """Each span's name, and its parent's."""
    spans = traces.get_finished_spans()
    names = {place(span).span_id: span.name for span in spans}
    return {(span.name, names.get(span.parent.span_id, "?") if span.parent else "") for span in spans}


async def traced(principal: Principal, graph_id: str = "log", traceparent: str = TRACEPARENT, **fields: Any) -> Run:
    """A run that a request with this header made; not begun."""
    made = tracing.tracing()
    assert made is not None
    headers = made.carried([(b"traceparent", traceparent.encode())])
    body = RunCreate(assistant_id=graph_id, if_not_exists="create", **fields)
    created = await in_db(services.run_create, principal, uuid4(), body, "request", headers)
    return await in_db(lambda: Run.objects.get(run_id=created.run_id))


async def test_an_attempt_is_a_span_with_its_ids(traces: InMemorySpanExporter, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    [span] = named(traces, "log")
    assert span.attributes is not None
    assert span.parent is None
    told = {name: span.attributes[f"switchyard.{name}"] for name in ("run_id", "thread_id", "assistant_id")}
    assert told == {
        "run_id": str(run.run_id),
        "thread_id": str(run.thread_id),
        "assistant_id": str(run.assistant_id),
    }
    assert span.attributes["switchyard.workspace_id"] == principal.workspace_id
    assert span.attributes["switchyard.attempt"] == 1
    assert span.attributes["switchyard.status"] == "success"
    assert span.attributes["gen_ai.conversation.id"] == str(run.thread_id)
    assert span.status.status_code is trace.StatusCode.UNSET


async def test_nodes_models_and_tools_lie_within(traces: InMemorySpanExporter, principal: Principal) -> None:
    await run_to_end(principal, "models", input={"messages": "hi"})
    assert tree(traces) == {
        ("models", ""),
        ("talk", "models"),
        ("chat Counted", "talk"),
        ("calculate", "models"),
        ("execute_tool add", "calculate"),
        ("child", "models"),
        ("talk", "child"),
    }


async def test_spans_have_the_times_at_which_things_happened(
    traces: InMemorySpanExporter, principal: Principal
) -> None:
    run = await run_to_end(principal, "models", input={"messages": "hi"})
    [node] = named(traces, "calculate")
    row = await in_db(lambda: RunSpan.objects.get(run=run, name="calculate"))
    assert row.ended_at is not None
    assert node.start_time == round(row.started_at.timestamp() * 1e6) * 1000
    assert node.end_time == round(row.ended_at.timestamp() * 1e6) * 1000


async def test_tokens_are_on_the_model_and_in_sum_on_the_run(
    traces: InMemorySpanExporter, principal: Principal
) -> None:
    await run_to_end(principal, "models", input={"messages": "hi"})
    spans = [*named(traces, "chat Counted"), *named(traces, "models")]
    counts = [
        (span.attributes["gen_ai.usage.input_tokens"], span.attributes["gen_ai.usage.output_tokens"])
        for span in spans
        if span.attributes is not None
    ]
    assert counts == [(7, 2), (7, 2), (14, 4)]


async def test_a_stateless_run_is_traced_and_stores_no_spans(
    traces: InMemorySpanExporter, principal: Principal
) -> None:
    run = await in_db(create, principal, "models", new=False, input={"messages": "hi"})
    await execute(await in_db(claim, run))
    assert ("chat Counted", "talk") in tree(traces)
    assert await in_db(RunSpan.objects.count) == 0


async def test_a_failure_is_on_the_node_and_on_the_run(traces: InMemorySpanExporter, principal: Principal) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("boom")

    with script("fail", fail):
        await run_to_end(principal, "scripted", input={"do": "fail"})
    for name in ("work", "scripted"):
        [span] = named(traces, name)
        assert span.attributes is not None
        assert span.attributes["error.type"] == "ValueError"
        assert span.status.status_code is trace.StatusCode.ERROR
        assert "boom" in (span.status.description or "")


async def test_what_a_failure_says_can_be_sent(traces: InMemorySpanExporter, principal: Principal) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("a\ud800b")

    with script("fail", fail):
        await run_to_end(principal, "scripted", input={"do": "fail"})
    assert [(span.status.description or "").encode() for span in named(traces, "scripted")] == [b"a?b"]


async def test_a_run_continues_the_trace_of_its_request(traces: InMemorySpanExporter, principal: Principal) -> None:
    run = await traced(principal, input={"log": []})
    await execute(await in_db(claim, run))
    [span] = named(traces, "log")
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == f"{TRACE_ID}-{PARENT_ID}"


async def test_the_trace_is_kept_with_the_run_and_hidden_from_the_graph(
    traces: InMemorySpanExporter, principal: Principal
) -> None:
    run = await traced(principal, input={"log": []})
    assert run.kwargs["trace"] == {"traceparent": TRACEPARENT}
    assert "trace" not in json.dumps(run.kwargs["config"])


async def test_what_is_not_sampled_is_not_made(traces: InMemorySpanExporter, principal: Principal) -> None:
    run = await traced(principal, traceparent=TRACEPARENT[:-2] + "00", input={"log": []})
    await execute(await in_db(claim, run))
    assert traces.get_finished_spans() == ()


async def test_attempts_of_a_run_are_one_trace(traces: InMemorySpanExporter, principal: Principal, gate: Gate) -> None:
    with script("gate", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "gate"})
        lost = Attempt(await in_db(claim, run), lambda: None)
        execution = asyncio.create_task(lost.execute())
        await asyncio.to_thread(gate.reached.wait, 10)
        await in_db(lambda: requeue_lost(Run.objects.get(pk=run.pk)))
        lost.stop(Stop.LOST)
        await execution
        gate.open.set()
        await execute(await in_db(claim, run, "other"))
    first, second = named(traces, "scripted")
    assert first.attributes is not None
    assert second.attributes is not None
    assert place(first).trace_id == place(second).trace_id
    assert [span.attributes["switchyard.attempt"] for span in (first, second) if span.attributes] == [1, 2]
    assert first.attributes["error.type"] == "LeaseLost"
    assert second.attributes["switchyard.status"] == "success"


async def test_spans_of_the_nodes_own_are_in_the_trace(traces: InMemorySpanExporter, principal: Principal) -> None:
    made = tracing.tracing()
    assert made is not None
    tracer = made._provider.get_tracer("mine")

    def work(*_: Any) -> None:
        with tracer.start_as_current_span("mine"):
            pass

    with script("mine", work):
        await run_to_end(principal, "scripted", input={"do": "mine"})
    assert ("mine", "scripted") in tree(traces)


async def test_a_node_that_waits_for_a_person_is_no_error(traces: InMemorySpanExporter, principal: Principal) -> None:
    await run_to_end(principal, "ask_in_turn", input={"log": []})
    assert {span.status.status_code for span in traces.get_finished_spans()} == {trace.StatusCode.UNSET}


@pytest.mark.parametrize("graph_id", ["models"])
async def test_without_traces_a_run_keeps_nothing_of_them(principal: Principal, graph_id: str) -> None:
    run = await run_to_end(principal, graph_id, input={"messages": "hi"})
    assert "trace" not in run.kwargs


async def test_a_run_that_gets_no_further_attempt_ends_in_its_trace(
    traces: InMemorySpanExporter, principal: Principal
) -> None:
    run = await traced(principal, input={"log": []})
    error = {"error": "WorkerLost", "message": "gone"}
    await in_db(claim, run)
    taken = await in_db(lambda: take_over(Run.objects.get(pk=run.pk), "other"))
    assert taken is not None
    await Attempt(taken, lambda: None).abandon(Ending(RunStatus.ERROR, error=error))
    assert await in_db(lambda: Run.objects.get(pk=run.pk).status) == RunStatus.ERROR
    [span] = named(traces, "log")
    assert span.attributes is not None
    assert f"{place(span).trace_id:032x}" == TRACE_ID
    assert (span.attributes["switchyard.status"], span.attributes["error.type"]) == ("error", "WorkerLost")
