from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import PrivateStateAttr
from langgraph.runtime import Runtime

from mailer.context import Sender


class CountedState(AgentState):
    model_calls: NotRequired[Annotated[int, PrivateStateAttr]]
    sender: NotRequired[str]


class CountModelCalls(AgentMiddleware[CountedState, Sender]):
    """Counts the calls of the model in a part of the state that is nobody else's business."""

    state_schema = CountedState

    def before_model(self, state: CountedState, runtime: Runtime[Sender]) -> dict[str, Any]:
        return {"model_calls": state.get("model_calls", 0) + 1, "sender": runtime.context.name}
