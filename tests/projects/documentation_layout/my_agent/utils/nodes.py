from functools import lru_cache

from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime

from my_agent.utils.tools import tools


@lru_cache(maxsize=4)
def _get_model(model_name: str):
    call = {"name": "prices", "args": {"item": "lamp"}, "id": "call-1"}
    return FakeMessagesListChatModel(
        responses=[AIMessage("", tool_calls=[call]), AIMessage(f"The {model_name} model says: 3 euros.")]
    )


def should_continue(state):
    return "continue" if state["messages"][-1].tool_calls else "end"


def call_model(state, runtime: Runtime):
    model_name = runtime.context.get("model_name", "small")
    return {"messages": [_get_model(model_name).invoke(state["messages"])]}


tool_node = ToolNode(tools)
