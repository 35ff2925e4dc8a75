from typing import Literal

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from my_agent.utils.nodes import call_model, should_continue, tool_node
from my_agent.utils.state import AgentState


class GraphConfig(TypedDict):
    model_name: Literal["small", "large"]


workflow = StateGraph(AgentState, context_schema=GraphConfig)
workflow.add_node("agent", call_model)
workflow.add_node("action", tool_node)
workflow.add_edge(START, "agent")
workflow.add_conditional_edges("agent", should_continue, {"continue": "action", "end": END})
workflow.add_edge("action", "agent")

graph = workflow.compile()
