"""A chat model that needs no key: it follows a script, but streams its words and asks for tools like a real one."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

GREETING = (
    "Hello! I am a scripted assistant, so I understand only a little: ask me for a sum like 12 * 7, "
    "for the time, or where order A-1001 is."
)
SUM = re.compile(r"[-(]*\d[\d.]*(?:\s*[-+*/]\s*[-(]*\d[\d.]*\)*)+")
TIME = re.compile(r"\b(time|clock|date|day)\b", re.IGNORECASE)
ORDER = re.compile(r"\b[A-Z]-\d+\b")

Call = tuple[str, dict[str, str]]


class ScriptedModel(BaseChatModel):
    """Calls the tools a question seems to need, then says what they answered."""

    # Seconds between two words.
    delay: float = 0.02

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """The script knows its tools by heart."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(messages):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(messages):
            await asyncio.sleep(self.delay)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def _chunks(messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
    """The answer to a conversation, in the pieces in which a model streams it."""
    last = messages[-1]
    calls = _calls(last.text) if isinstance(last, HumanMessage) else []
    for index, (name, arguments) in enumerate(calls):
        # As real models do: first the name, then the arguments as pieces of JSON.
        yield _call_chunk(index, name=name, args="", id=f"call_{len(messages)}_{index}")
        for piece in re.findall(r".{1,12}", json.dumps(arguments)):
            yield _call_chunk(index, args=piece)
    if not calls:
        for word in re.findall(r"\S+\s*", _words(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
    size = sum(len(message.text.split()) for message in messages)
    usage = {"input_tokens": size, "output_tokens": 10, "total_tokens": size + 10}
    yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage, chunk_position="last"))


def _call_chunk(index: int, **parts: str) -> ChatGenerationChunk:
    chunk = tool_call_chunk(index=index, **parts)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))


def _calls(question: str) -> list[Call]:
    """The tools a question seems to need, with their arguments."""
    calls: list[Call] = [("look_up_order", {"order": order}) for order in ORDER.findall(question)]
    calls += [("calculate", {"expression": found}) for found in SUM.findall(ORDER.sub("", question))]
    if TIME.search(question):
        calls.append(("current_time", {}))
    return calls


def _words(messages: list[BaseMessage]) -> str:
    results: list[str] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        results.insert(0, message.text)
    return ". ".join(results) + "." if results else GREETING
