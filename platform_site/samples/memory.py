"""Long-term memory: what a person asks to remember is found again on any thread, by what it says.

{"messages": [{"role": "user", "content": "Remember that my bicycle is in the cellar."}]}
{"messages": [{"role": "user", "content": "Where is my bicycle?"}]}

Each person, named by the context {"person": "ada"}, has memories of their own.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote
from uuid import uuid4

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

# "Remember that ..." and what follows.
REMEMBER = re.compile(r"\s*(?:please\s+)?remember\b(?:\s+that\b)?[\s:,]*(?P<fact>.+)", re.IGNORECASE | re.DOTALL)
# Less similar than this is something else.
SIMILAR = 0.25


@dataclass
class Owner:
    """Whose memories they are: set on an assistant or on one run."""

    person: str = "guest"


def said_last(state: MessagesState) -> str:
    return state["messages"][-1].text if state["messages"] else ""


def hear(state: MessagesState) -> Literal["remember", "recall"]:
    return "remember" if REMEMBER.match(said_last(state)) else "recall"


async def remember(state: MessagesState, runtime: Runtime[Owner]) -> dict[str, list[AIMessage]]:
    said = REMEMBER.match(said_last(state))
    assert said is not None
    store, place = _memories(runtime)
    # An item like every other: `GET /store/items` and the dashboard see it too.
    await store.aput(place, uuid4().hex, {"text": said["fact"].strip()})
    return {"messages": [AIMessage("I will remember that.")]}


async def recall(state: MessagesState, runtime: Runtime[Owner]) -> dict[str, list[AIMessage]]:
    store, place = _memories(runtime)
    question = said_last(state)
    found = await store.asearch(place, query=question, limit=3) if question else []
    # A store without an index gives no scores.
    facts = [item.value["text"] for item in found if item.score is None or item.score >= SIMILAR]
    if not facts:
        return {"messages": [AIMessage("I know nothing about that. Tell me: remember that ...")]}
    return {"messages": [AIMessage("\n".join(["You told me:", *(f"- {fact}" for fact in facts)]))]}


def _memories(runtime: Runtime[Owner]) -> tuple[BaseStore, tuple[str, str]]:
    """The server's store, and where this person's memories are. A label of a namespace has no dots."""
    assert runtime.store is not None
    person = (runtime.context or Owner()).person
    return runtime.store, ("memories", quote(person, safe="").replace(".", "%2E") or "guest")


graph = (
    StateGraph(MessagesState, context_schema=Owner)
    .add_node("remember", remember)
    .add_node("recall", recall)
    .add_conditional_edges(START, hear)
    .add_edge("remember", END)
    .add_edge("recall", END)
    .compile(name="memory")
)
