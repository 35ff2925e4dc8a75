from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.tools import ToolRuntime, tool
from langchain_core.messages import AIMessage

from mailer.context import Sender
from mailer.middleware import CountModelCalls
from mailer.model import Scripted, calls


@tool
def send_mail(to: str, runtime: ToolRuntime[Sender]) -> str:
    """Send a mail."""
    return f"sent to {to} by {runtime.context.name} {runtime.context.signature}"


model = Scripted(
    lines={
        "Write to Ann": calls("send_mail", to="ann@example.com"),
        "Note: a human reviewer": AIMessage("It is sent."),
        "Hello": AIMessage("Whom shall I write to?"),
    }
)
agent = create_agent(
    model,
    tools=[send_mail],
    middleware=[CountModelCalls(), HumanInTheLoopMiddleware(interrupt_on={"send_mail": True})],
    context_schema=Sender,
    system_prompt="You send mails.",
)
