"""The approval sample: who decides on a refund, and what the answers do."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from platform_site.samples import approval

CONFIG: Any = {"configurable": {"thread_id": "1"}}
BROKEN_LAMP: Any = {"order": "A-1001", "amount": 120, "reason": "The lamp arrived broken."}


@pytest.fixture
def graph() -> Any:
    return approval.graph.copy(update={"checkpointer": InMemorySaver()})


async def test_a_small_refund_is_paid_at_once(graph: Any) -> None:
    result = await graph.ainvoke({"order": "A-1002", "amount": 20}, CONFIG)
    assert (result["decided_by"], result["outcome"]) == ("rule", "Refunded 20.00 for order A-1002.")


async def test_a_large_refund_waits_for_a_person(graph: Any) -> None:
    [waiting] = (await graph.ainvoke(BROKEN_LAMP, CONFIG))["__interrupt__"]
    assert waiting.value == {
        "question": "Refund 120.00 for order A-1001?",
        "refund": BROKEN_LAMP,
        "answers": ["approve", "edit", "reject"],
    }


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("approve", "Refunded 120.00 for order A-1001."),
        ({"decision": "approve"}, "Refunded 120.00 for order A-1001."),
        ({"decision": "edit", "amount": 80}, "Refunded 80.00 for order A-1001."),
        ("reject", "Declined: no reason given"),
        ({"decision": "reject", "note": "It was used."}, "Declined: It was used."),
    ],
)
async def test_the_answer_decides(graph: Any, answer: Any, outcome: str) -> None:
    await graph.ainvoke(BROKEN_LAMP, CONFIG)
    result = await graph.ainvoke(Command(resume=answer), CONFIG)
    assert (result["decided_by"], result["outcome"]) == ("person", outcome)


@pytest.mark.parametrize("answer", ["perhaps", 5, [], {"decision": "edit"}, {"decision": "edit", "amount": -1}])
async def test_an_answer_that_is_not_understood_is_asked_for_again(graph: Any, answer: Any) -> None:
    await graph.ainvoke(BROKEN_LAMP, CONFIG)
    [waiting] = (await graph.ainvoke(Command(resume=answer), CONFIG))["__interrupt__"]
    assert "Answer" in waiting.value["problem"]
    assert "Refunded" in (await graph.ainvoke(Command(resume="approve"), CONFIG))["outcome"]
