"""The graphs that the benchmarks run: self-contained, so that any LangGraph server can load them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import StreamWriter, interrupt


class TokenModel(BaseChatModel):
    """A chat model that yields `count` tokens without any delay."""

    count: int

    @property
    def _llm_type(self) -> str:
        return "benchmark-tokens"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content="token " * self.count))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for _ in range(self.count):
            yield ChatGenerationChunk(message=AIMessageChunk(content="token "))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for _ in range(self.count):
            yield ChatGenerationChunk(message=AIMessageChunk(content="token "))
            # A real model waits for its socket here; without this no reader could see a token before the last one.
            await asyncio.sleep(0)


class ValueState(TypedDict):
    value: int


class TokenState(TypedDict):
    messages: Annotated[list[Any], add_messages]
    tokens: int


class CountState(TypedDict):
    tokens: int


class SecondsState(TypedDict):
    seconds: float


class AnswerState(TypedDict):
    answer: str


class GrowingState(TypedDict):
    """A conversation that grows by one message in each of its steps."""

    messages: Annotated[list[Any], add_messages]
    steps: int


class ClockState(TypedDict):
    started: float


class StepState(TypedDict):
    step: int
    steps: int


async def add_one(state: ValueState) -> dict[str, Any]:
    return {"value": state["value"] + 1}


async def tell_time(state: ClockState) -> dict[str, Any]:
    return {"started": time.time()}


async def speak(state: TokenState) -> dict[str, Any]:
    return {"messages": [await TokenModel(count=state["tokens"]).ainvoke(state["messages"])]}


async def write_custom(state: CountState, writer: StreamWriter) -> dict[str, Any]:
    for number in range(state["tokens"]):
        writer({"number": number, "text": "token "})
        await asyncio.sleep(0)
    return {"tokens": state["tokens"]}


async def wait_async(state: SecondsState) -> dict[str, Any]:
    await asyncio.sleep(state["seconds"])
    return {"seconds": state["seconds"]}


def wait_sync(state: SecondsState) -> dict[str, Any]:
    time.sleep(state["seconds"])
    return {"seconds": state["seconds"]}


async def count_step(state: StepState) -> dict[str, Any]:
    return {"step": state["step"] + 1}


def again(state: StepState) -> str:
    return "count_step" if state["step"] < state["steps"] else END


async def add_message(state: GrowingState) -> dict[str, Any]:
    number = len(state["messages"])
    return {"messages": [AIMessage(f"{number}: {'what a model answers, ' * 6}", id=f"message-{number}")]}


def says_more(state: GrowingState) -> str:
    return "add_message" if len(state["messages"]) < state["steps"] else END


async def ask_person(state: AnswerState) -> dict[str, Any]:
    return {"answer": interrupt({"question": "What shall the answer be?"})}


def _burn(seconds: float) -> None:
    number, end = 1, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(100):
            number = number * 31 % 1_000_003


def burn_in_thread(state: SecondsState, writer: StreamWriter) -> dict[str, Any]:
    writer("started")
    time.sleep(0.05)  # lets the event out, so that the client knows when to begin
    _burn(state["seconds"])
    return {"seconds": state["seconds"]}


async def burn_on_loop(state: SecondsState, writer: StreamWriter) -> dict[str, Any]:
    writer("started")
    await asyncio.sleep(0.05)
    _burn(state["seconds"])
    return {"seconds": state["seconds"]}


one_node = StateGraph(ValueState).add_node("add_one", add_one).add_edge(START, "add_one").compile()
clock = StateGraph(ClockState).add_node("tell_time", tell_time).add_edge(START, "tell_time").compile()
tokens = StateGraph(TokenState).add_node("speak", speak).add_edge(START, "speak").compile()
custom = StateGraph(CountState).add_node("write_custom", write_custom).add_edge(START, "write_custom").compile()
sleep_async = StateGraph(SecondsState).add_node("wait_async", wait_async).add_edge(START, "wait_async").compile()
sleep_sync = StateGraph(SecondsState).add_node("wait_sync", wait_sync).add_edge(START, "wait_sync").compile()
steps = (
    StateGraph(StepState)
    .add_node("count_step", count_step)
    .add_edge(START, "count_step")
    .add_conditional_edges("count_step", again, ["count_step", END])
    .compile()
)
growing = (
    StateGraph(GrowingState)
    .add_node("add_message", add_message)
    .add_edge(START, "add_message")
    .add_conditional_edges("add_message", says_more, ["add_message", END])
    .compile()
)
ask = StateGraph(AnswerState).add_node("ask_person", ask_person).add_edge(START, "ask_person").compile()
burn_sync = StateGraph(SecondsState).add_node("burn", burn_in_thread).add_edge(START, "burn").compile()
burn_async = StateGraph(SecondsState).add_node("burn", burn_on_loop).add_edge(START, "burn").compile()
