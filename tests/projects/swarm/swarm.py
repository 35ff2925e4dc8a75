from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph_swarm import create_handoff_tool, create_swarm
from model import Scripted, calls

alice = create_agent(
    Scripted(lines={"Speak like a pirate": calls("transfer_to_bob"), "Hello": AIMessage("Hello, I am Alice.")}),
    tools=[create_handoff_tool(agent_name="Bob")],
    name="Alice",
)
bob = create_agent(
    Scripted(lines={"Successfully transferred": AIMessage("Arr!"), "Hello": AIMessage("Ahoy, I be Bob.")}),
    tools=[create_handoff_tool(agent_name="Alice")],
    name="Bob",
)
app = create_swarm([alice, bob], default_active_agent="Alice").compile()
