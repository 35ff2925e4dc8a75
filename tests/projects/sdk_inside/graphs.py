from typing import TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client


class Numbers(TypedDict, total=False):
    n: int
    seen: list[str]


def double(state: Numbers) -> Numbers:
    return {"n": 2 * state["n"]}


async def ask(state: Numbers, config: RunnableConfig) -> Numbers:
    client = get_client()
    found = await client.assistants.search()
    # The thread of this very run, a thread of its own, and the store.
    thread = await client.threads.get(config["configurable"]["thread_id"])
    other = await client.threads.create(metadata={"made_by": "outer"})
    answer = await client.runs.wait(other["thread_id"], "inner", input={"n": state["n"]})
    parts = [part.event async for part in client.runs.stream(None, "inner", input={"n": 1}, stream_mode="values")]
    await client.store.put_item(["numbers"], "last", {"n": answer["n"]})
    return {
        "n": answer["n"],
        "seen": [*sorted(item["graph_id"] for item in found), thread["status"], *dict.fromkeys(parts)],
    }


inner = StateGraph(Numbers).add_node("double", double).add_edge(START, "double").compile()
outer = StateGraph(Numbers).add_node("ask", ask).add_edge(START, "ask").compile()
