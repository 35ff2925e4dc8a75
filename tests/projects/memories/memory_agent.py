from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore


def remember(state: MessagesState, config: RunnableConfig, *, store: BaseStore):
    namespace = ("memories", config["configurable"]["user_id"])
    known = store.search(namespace)
    said = state["messages"][-1].content
    store.put(namespace, f"memory-{len(known)}", {"said": said})
    about = ", ".join(item.value["said"] for item in reversed(known)) or "nothing"
    return {"messages": [AIMessage(f"I knew {about} of {namespace[1]}.")]}


graph = StateGraph(MessagesState).add_node("remember", remember).add_edge(START, "remember").compile()
