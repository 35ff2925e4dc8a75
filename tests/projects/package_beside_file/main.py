from greetings import Languages
from greetings.nodes import greet
from langgraph.graph import END, START, StateGraph

builder = StateGraph(Languages)
builder.add_node("greet", greet)
builder.add_edge(START, "greet")
builder.add_edge("greet", END)
# Compiled by the server.
graph = builder
