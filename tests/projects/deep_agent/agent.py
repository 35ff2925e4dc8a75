from deepagents import create_deep_agent
from langchain.agents.middleware import TodoListMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from model import Scripted, calls


@tool
def look_up(topic: str) -> str:
    """What is known about a topic."""
    return f"{topic}: known since 1821"


researcher = Scripted(
    lines={"Find out about lamps": calls("look_up", topic="lamps"), "lamps: known": AIMessage("Lamps are old.")}
)
planner = Scripted(
    lines={
        "Write a report": calls("write_todos", todos=[{"content": "ask the researcher", "status": "in_progress"}]),
        "Updated todo list": calls("task", description="Find out about lamps", subagent_type="researcher"),
        "Lamps are old.": calls("write_file", file_path="/report.md", content="# Lamps\n\nOld."),
        "Updated file": AIMessage("The report is written."),
    }
)
agent = create_deep_agent(
    model=planner,
    middleware=[TodoListMiddleware()],
    system_prompt="You write reports.",
    subagents=[
        {
            "name": "researcher",
            "description": "Finds things out.",
            "system_prompt": "You find things out.",
            "tools": [look_up],
            "model": researcher,
        }
    ],
)
