import os
from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore


class Text(TypedDict, total=False):
    text: str


def write(state: Text) -> Text:
    return {"text": f"{os.environ['FIRST']}, {os.environ['SECOND']}"}


builder = StateGraph(Text).add_node("write", write).add_edge(START, "write")
fine = builder.compile()
with_saver = builder.compile(checkpointer=InMemorySaver())
with_store = builder.compile(store=InMemoryStore())
without_saver = builder.compile(checkpointer=False)
