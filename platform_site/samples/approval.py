"""A person decides: refunds above a limit wait in `interrupt()` until somebody answers.

    {"order": "A-1001", "amount": 120, "reason": "The lamp arrived broken."}

Answer with Command(resume=...): "approve", "reject", or an object such as {"decision": "edit", "amount": 80} or
{"decision": "reject", "note": "It was used for a year."}
"""

from typing import Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

LIMIT = 50


class Refund(TypedDict, total=False):
    order: str
    amount: float
    reason: str
    decided_by: str
    outcome: str


async def check(state: Refund) -> Command[Literal["review", "pay"]]:
    """Small refunds need nobody."""
    if state.get("amount", 0) <= LIMIT:
        return Command(goto="pay", update={"decided_by": "rule"})
    return Command(goto="review")


async def review(state: Refund) -> Command[Literal["pay", "decline"]]:
    """Stops here. The answer is what `interrupt` returns when the run is resumed."""
    question = f"Refund {state['amount']:.2f} for order {state.get('order', 'unknown')}?"
    asked = {
        "question": question,
        "refund": {key: state.get(key) for key in ("order", "amount", "reason")},
        "answers": ["approve", "edit", "reject"],
    }
    while True:
        answer = interrupt(asked)
        given: dict[str, Any] = answer if isinstance(answer, dict) else {"decision": answer}
        match given:
            case {"decision": "approve"}:
                return Command(goto="pay", update={"decided_by": "person"})
            case {"decision": "edit", "amount": int() | float() as amount} if amount > 0:
                return Command(goto="pay", update={"decided_by": "person", "amount": amount})
            case {"decision": "reject"}:
                note = given.get("note") or "no reason given"
                return Command(goto="decline", update={"decided_by": "person", "outcome": f"Declined: {note}"})
        # Not understood: ask again rather than pay or decline by mistake.
        asked = asked | {"problem": 'Answer "approve", "reject" or {"decision": "edit", "amount": 80}.'}


async def pay(state: Refund) -> Refund:
    return {"outcome": f"Refunded {state.get('amount', 0):.2f} for order {state.get('order', 'unknown')}."}


async def decline(state: Refund) -> Refund:
    return {"outcome": state["outcome"]}


graph = (
    StateGraph(Refund)
    .add_node("check", check)
    .add_node("review", review)
    .add_node("pay", pay)
    .add_node("decline", decline)
    .add_edge(START, "check")
    .add_edge("pay", END)
    .add_edge("decline", END)
    .compile(name="approval")
)
