"""What a run spends its time and tokens on."""

from typing import Any

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from runs.models import Run, RunSpan
from tests.runs.conftest import run_to_end
from tests.runs.graphs import script


async def spans(run: Run) -> list[RunSpan]:
    return await in_db(lambda: list(run.spans.all()))


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "models", input={"messages": "hi"})


async def test_nodes_models_and_tools_have_spans(run: Run) -> None:
    found = [(span.kind, span.name) for span in await spans(run)]
    assert found == [
        ("node", "talk"),
        ("model", "Counted"),
        ("node", "calculate"),
        ("tool", "add"),
        ("node", "child"),
        ("node", "talk"),
        ("model", "Counted"),
    ]


async def test_span_of_a_model_has_its_tokens(run: Run) -> None:
    found = [(span.input_tokens, span.output_tokens) for span in await spans(run) if span.kind == "model"]
    assert found == [(7, 2), (7, 2)]


async def test_run_has_the_sum_of_its_tokens(run: Run) -> None:
    assert (run.input_tokens, run.output_tokens) == (14, 4)


async def test_spans_in_a_subgraph_have_its_namespace(run: Run) -> None:
    talk, child = [span for span in await spans(run) if span.name == "talk"]
    assert talk.namespace.startswith("talk:")
    assert child.namespace.startswith("child:")
    assert "|talk:" in child.namespace


async def test_span_lies_within_its_node(run: Run) -> None:
    node, model = (await spans(run))[:2]
    assert node.started_at <= model.started_at <= model.ended_at <= node.ended_at


async def test_node_that_failed_has_the_error(principal: Principal) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("boom")

    with script("fail", fail):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    assert [(span.name, span.error) for span in await spans(run)] == [("begin", ""), ("work", "ValueError: boom")]


async def test_node_that_waits_for_a_person_has_no_error(principal: Principal) -> None:
    run = await run_to_end(principal, "ask_in_turn", input={"log": []})
    assert [(span.name, span.error) for span in await spans(run)] == [("left", "")]


async def test_stateless_run_counts_tokens_only(principal: Principal) -> None:
    from runs.engine.attempt import Attempt
    from runs.models import RunStatistic
    from tests.runs.conftest import claim, create

    run = await in_db(create, principal, "models", new=False, input={"messages": "hi"})
    await Attempt(await in_db(claim, run), lambda: None).execute()
    assert await in_db(RunSpan.objects.count) == 0
    assert (await in_db(RunStatistic.objects.get)).input_tokens == 14
