from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class Scripted(BaseChatModel):
    """A model that knows the answer to the last message of the conversation from its script."""

    lines: dict[str, AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        said = str(messages[-1].content)
        answer = next((answer for begin, answer in self.lines.items() if said.startswith(begin)), None)
        if answer is None:
            raise ValueError(f"there is no line for {said!r}")
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy())])


def calls(name: str, **arguments) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])
