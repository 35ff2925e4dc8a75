import os

from common.helpers import prefix
from langgraph.graph import START, StateGraph
from shared import Ticket
from shared.priorities import priority_of


def triage(state: Ticket) -> dict[str, str]:
    return {"priority": priority_of(state["text"]), "label": f"{prefix()}-{os.environ['TEAM']}"}


def make_graph():
    return StateGraph(Ticket).add_node("triage", triage).add_edge(START, "triage").compile()
