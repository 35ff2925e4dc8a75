"""A graph with a large state that takes many steps."""

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

STATE_BYTES = 5_000_000
STEPS = 20


class Large(TypedDict, total=False):
    text: str
    step: int


async def take_step(state: Large) -> Large:
    step = state.get("step", 0) + 1
    return {"step": step} if "text" in state else {"step": step, "text": "x" * STATE_BYTES}


def goes_on(state: Large) -> str:
    return "take_step" if state["step"] < STEPS else "__end__"


large_steps = (
    StateGraph(Large)
    .add_node("take_step", take_step)
    .add_edge(START, "take_step")
    .add_conditional_edges("take_step", goes_on, ["take_step", "__end__"])
    .compile()
)
