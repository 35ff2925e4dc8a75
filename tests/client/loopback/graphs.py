"""Graphs that use the SDK without a URL: in nodes, tools, middleware and factories."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client
from typing_extensions import TypedDict

# Made while this file is imported, before any run and on no loop.
early: Any = get_client()


def client_inside() -> Any:
    """Return a client made inside a graph. Its types fit callers with typed state, not code that reads the JSON."""
    return get_client()


class State(TypedDict, total=False):
    do: str
    given: Any
    got: Any


# --- what nodes do ---------------------------------------------------------------------------------


async def _assistants(given: Any) -> Any:
    client = client_inside()
    made = await client.assistants.create("child", name="made by a node")
    changed = await client.assistants.update(made["assistant_id"], name="changed")
    found = await client.assistants.search(graph_id="child", limit=100)
    schemas = await client.assistants.get_schemas(made["assistant_id"])
    await client.assistants.delete(made["assistant_id"])
    return [changed["name"], made["assistant_id"] in [one["assistant_id"] for one in found], schemas["graph_id"]]


async def _threads(given: Any) -> Any:
    client = client_inside()
    thread = (await client.threads.create(metadata={"by": "a node"}, graph_id="child"))["thread_id"]
    await client.threads.update_state(thread, {"got": "by hand"}, as_node="answer")
    state = await client.threads.get_state(thread)
    found = await client.threads.search(ids=[thread])
    copied = await client.threads.copy(thread)
    history = await client.threads.get_history(copied["thread_id"])
    await client.threads.delete(thread)
    return [state["values"]["got"], found[0]["metadata"]["by"], history[0]["values"]["got"]]


async def _runs(given: Any) -> Any:
    client = client_inside()
    thread = (await client.threads.create())["thread_id"]
    waited = await client.runs.wait(thread, "child", input={"given": 1})
    run = await client.runs.create(thread, "child", input={"given": 2})
    joined = await client.runs.join(thread, run["run_id"])
    streamed = [part.event async for part in client.runs.stream(thread, "child", input={"given": 3})]
    statuses = {one["status"] for one in await client.runs.list(thread)}
    batch = await client.runs.create_batch([{"assistant_id": "child", "input": {}}])
    return [waited["got"], joined["got"], streamed, statuses == {"success"}, len(batch)]


async def _crons(given: Any) -> Any:
    client = client_inside()
    cron = await client.crons.create("child", schedule="0 0 1 1 *", input={})
    found = await client.crons.search(assistant_id=cron["assistant_id"], limit=100)
    await client.crons.delete(cron["cron_id"])
    return cron["cron_id"] in [one["cron_id"] for one in found]


async def _store(given: Any) -> Any:
    client = client_inside()
    await client.store.put_item(["by", "node"], "a", value={"n": 1})
    item = await client.store.get_item(["by", "node"], "a")
    found = await client.store.search_items(["by"])
    names = await client.store.list_namespaces(prefix=["by"])
    await client.store.delete_item(["by", "node"], "a")
    return [item["value"], len(found["items"]), names["namespaces"]]


async def _later(given: Any) -> Any:
    client = client_inside()
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "child", input={}, after_seconds=3600)
    status = (await client.runs.get(thread, run["run_id"]))["status"]
    await client.runs.cancel(thread, run["run_id"])
    return status


async def _early(given: Any) -> Any:
    return (await early.runs.wait(None, "child", input={"given": "early"}))["got"]


async def _remote(given: Any) -> Any:
    """Invoke a graph of this server on a thread that is not the node's."""
    thread = (await early.threads.create())["thread_id"]
    graph = RemoteGraph("child", client=early)
    return (await graph.ainvoke({"given": "remote"}, {"configurable": {"thread_id": thread}}))["got"]


async def _stream(given: Any) -> Any:
    """Answer a run's question while its events are still read: none may be held back until the end."""
    client = client_inside()
    thread = (await client.threads.create())["thread_id"]
    seen = []
    async for part in client.runs.stream(thread, "patient", input={"given": thread}, stream_mode="custom"):
        seen.append(part.event if part.data is None else part.data)
        if part.data == "waits":
            await client.store.put_item(["gate", thread], "open", value={})
    return seen[1:]


async def _join_stream(given: Any) -> Any:
    client = client_inside()
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "patient", input={"given": thread}, stream_mode="custom")
    joining = client.runs.join_stream(thread, run["run_id"], stream_mode="custom")
    await client.store.put_item(["gate", thread], "open", value={})
    async for _ in joining:
        pass
    return (await client.runs.get(thread, run["run_id"]))["status"]


async def _leave(given: Any) -> Any:
    """Stop to listen to a run that ends with its reader."""
    client = client_inside()
    thread = (await client.threads.create())["thread_id"]
    streaming = client.runs.stream(
        thread, "patient", input={"given": thread}, stream_mode="custom", on_disconnect="cancel"
    )
    async for part in streaming:
        if part.data == "waits":
            break
    await streaming.aclose()
    run = (await client.runs.list(thread))[0]
    await client.runs.join(thread, run["run_id"])
    return (await client.runs.get(thread, run["run_id"]))["status"]


async def _ask_below(given: Any) -> Any:
    """Wait for a run that waits for a run, and so on; `given` says by which kind of node, the outermost first."""
    if not given:
        return "bottom"
    found = await client_inside().runs.wait(None, given[0], input={"do": "ask_below", "given": given[1:]})
    return [given[0], found["got"]]


async def _own_thread(given: Any, thread: str = "", run: str = "") -> Any:
    client, refusals = client_inside(), []
    # What does not wait is allowed.
    later = await client.runs.create(thread, "child", input={"given": "after"})
    for waiting in (
        client.runs.wait(thread, "child", input={}),
        client.runs.join(thread, run),
        client.runs.join(thread, later["run_id"]),
    ):
        try:
            await waiting
        except Exception as error:
            refusals.append("\n".join([str(error), *getattr(error, "__notes__", ())]))
    return refusals


async def _outside(given: Any) -> Any:
    """Ask in a thread that does not know the run."""
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(len(asyncio.run(client_inside().assistants.search(graph_id="child"))))
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=ask)
    thread.start()
    await asyncio.to_thread(thread.join)
    return found[0]


ACTIONS = {name.removeprefix("_"): action for name, action in list(globals().items())
           if name.startswith("_") and asyncio.iscoroutinefunction(action)}  # fmt: skip


async def act(state: State, config: RunnableConfig) -> State:
    action = ACTIONS[state["do"]]
    if action is _own_thread:
        configurable = config["configurable"]
        return {"got": await _own_thread(None, configurable["thread_id"], configurable["run_id"])}
    return {"got": await action(state.get("given"))}


def act_in_thread(state: State, config: RunnableConfig) -> State:
    """The same with an event loop of the node's own, which ends with the node."""
    return asyncio.run(act(state, config))


def graph_of(node: Any) -> Any:
    return StateGraph(State).add_node("answer", node).add_edge(START, "answer").compile()


asks = graph_of(act)
asks_in_thread = graph_of(act_in_thread)


# --- what they ask ---------------------------------------------------------------------------------


async def answer(state: State) -> State:
    return {"got": state.get("given")}


async def be_patient(state: State) -> State:
    """Say so, wait until somebody opens the gate, say so."""
    say, client = get_stream_writer(), client_inside()
    say("waits")
    while not (await client.store.search_items(["gate", state["given"]]))["items"]:  # noqa: ASYNC110 - opened by another process
        await asyncio.sleep(0.02)
    say("goes on")
    return {"got": "patience"}


child = graph_of(answer)
# A graph of this server as a node of another.
remote = graph_of(RemoteGraph("child", client=early))
patient = graph_of(be_patient)


# --- tools, middleware, factories ------------------------------------------------------------------


@tool
async def ask_tool(word: str) -> str:
    """Ask another graph."""
    return str((await client_inside().runs.wait(None, "child", input={"given": word}))["got"])


@tool
def ask_tool_in_thread(word: str) -> str:
    """Ask another graph, synchronously."""
    return str(asyncio.run(client_inside().runs.wait(None, "child", input={"given": word}))["got"])


def _calls(*names: str) -> AIMessage:
    calls = [ToolCall(name=name, args={"word": name}, id=name) for name in names]
    return AIMessage("", tool_calls=calls)


async def use_tools(state: State, config: RunnableConfig) -> State:
    asked = {"messages": [_calls("ask_tool", "ask_tool_in_thread")]}
    told = await ToolNode([ask_tool, ask_tool_in_thread]).ainvoke(asked, config)
    return {"got": [message.content for message in told["messages"]]}


tools = graph_of(use_tools)


def agent() -> Any:
    """An agent whose middleware asks before the model does."""
    # Not by name: mypy breaks down over these modules.
    agents: Any = import_module("langchain.agents")
    middleware: Any = import_module("langchain.agents.middleware")

    @middleware.before_model
    async def asks_first(state: Any, runtime: Any) -> dict[str, Any]:
        found = await client_inside().runs.wait(None, "child", input={"given": "by middleware"})
        return {"messages": [AIMessage(found["got"])]}

    model = GenericFakeChatModel(messages=iter([AIMessage("done")]))
    return agents.create_agent(model, middleware=[asks_first])


@asynccontextmanager
async def made(config: RunnableConfig) -> AsyncIterator[Any]:
    """A factory that asks which graphs there are, when it is entered and when it is left."""
    client = client_inside()
    # Not of itself: this would make it again.
    count = await client.assistants.count(graph_id="child")

    async def tell(state: State) -> State:
        return {"got": count}

    yield graph_of(tell)
    await client.assistants.count(graph_id="child")
