# Written to be started in this folder: its siblings are imported by their bare names.
from langgraph.graph import START, StateGraph
from nodes import forecast
from state import Weather

graph = StateGraph(Weather).add_node("forecast", forecast).add_edge(START, "forecast").compile()
