"""Graphs inside graphs: two lines of research run side by side, each a subgraph with a subgraph of its own.

    {"question": "Should we repaint the office?"}

Stream it with `stream_subgraphs` to see the inner steps as they happen.
"""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

Graph = CompiledStateGraph[Any, Any, Any, Any]


class Claim(TypedDict, total=False):
    claim: str
    doubts: int
    verdict: str


async def compare(state: Claim) -> Claim:
    """A claim in absolute words is doubted."""
    return {"doubts": sum(word in state["claim"].lower() for word in ("always", "never", "every", "all"))}


async def judge(state: Claim) -> Claim:
    return {"verdict": "doubtful" if state["doubts"] else "plausible"}


check = (
    StateGraph(Claim)
    .add_node("compare", compare)
    .add_node("judge", judge)
    .add_edge(START, "compare")
    .add_edge("compare", "judge")
    .add_edge("judge", END)
    .compile(name="check")
)


class Search(TypedDict, total=False):
    question: str
    claim: str
    verdict: str
    findings: Annotated[list[str], operator.add]


class Findings(TypedDict):
    findings: Annotated[list[str], operator.add]


def line_of_research(name: str, saying: str, seconds: float) -> Graph:
    """A subgraph that finds something, has it checked, and notes it down."""

    async def find(state: Search) -> Search:
        await asyncio.sleep(seconds)
        return {"claim": f"On «{state['question']}»: {saying}"}

    async def note(state: Search) -> Search:
        return {"findings": [f"{state['claim']} ({name}, {state['verdict']})"]}

    return (
        StateGraph(Search, output_schema=Findings)
        .add_node("find", find)
        .add_node("check", check)
        .add_node("note", note)
        .add_edge(START, "find")
        .add_edge("find", "check")
        .add_edge("check", "note")
        .add_edge("note", END)
        .compile(name=name)
    )


class Research(TypedDict, total=False):
    question: str
    plan: list[str]
    findings: Annotated[list[str], operator.add]
    report: str


async def plan(state: Research) -> Research:
    return {"question": state.get("question") or "What now?", "plan": ["ask the archive", "ask the people"]}


async def write(state: Research) -> Research:
    lines = "\n".join(f"- {finding}" for finding in sorted(state["findings"]))
    return {"report": f"# {state['question']}\n\n{lines}"}


graph = (
    StateGraph(Research)
    .add_node("plan", plan)
    .add_node("archive", line_of_research("archive", "it was tried in 1998 and went well.", 0.3))
    .add_node("people", line_of_research("people", "every neighbour has always been against it.", 0.2))
    .add_node("write", write)
    .add_edge(START, "plan")
    .add_edge("plan", "archive")
    .add_edge("plan", "people")
    .add_edge(["archive", "people"], "write")
    .add_edge("write", END)
    .compile(name="research")
)
