from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph_supervisor import create_supervisor
from team.model import Scripted, calls


@tool
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


mathematician = create_agent(
    Scripted(
        lines={
            "Successfully transferred to mathematician": calls("add", a=2, b=3),
            "5": AIMessage("The sum is 5."),
        }
    ),
    tools=[add],
    name="mathematician",
)
boss = Scripted(
    lines={
        "What is 2 + 3?": calls("transfer_to_mathematician"),
        "Successfully transferred back": AIMessage("It is 5."),
    }
)
graph = create_supervisor([mathematician], model=boss).compile(name="the team")
