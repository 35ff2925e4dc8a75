from typing import Literal

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from .agents import billing


def reception(state: MessagesState) -> Command[Literal["billing", "__end__"]]:
    if "invoice" in state["messages"][-1].content:
        return Command(goto="billing", update={"messages": [AIMessage("One moment.", name="reception")]})
    return Command(goto="__end__", update={"messages": [AIMessage("How can I help?", name="reception")]})


def farewell(state: MessagesState):
    return {"messages": [AIMessage("Goodbye.", name="farewell")]}


graph = (
    StateGraph(MessagesState)
    .add_node("reception", reception)
    .add_node("billing", billing)
    .add_node("farewell", farewell)
    .add_edge(START, "reception")
    .compile()
)
