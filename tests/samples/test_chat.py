"""The chat sample."""

import logging
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage

from platform_site.samples import chat
from platform_site.samples.scripted_model import GREETING, ScriptedModel


@pytest.fixture(autouse=True)
def _quick_and_scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "model", ScriptedModel(delay=0))


async def ask(text: str | list[Any]) -> list[Any]:
    return (await chat.graph.ainvoke({"messages": [HumanMessage(text)]}))["messages"]


async def test_it_greets_word_by_word() -> None:
    words = [
        chunk.text
        async for chunk, _ in chat.graph.astream({"messages": [HumanMessage("Hi")]}, stream_mode="messages")
        if isinstance(chunk, AIMessageChunk)
    ]
    assert "".join(words) == GREETING
    assert len(words) > 10


async def test_it_calls_the_tools_a_question_needs_and_says_what_they_answered() -> None:
    _, asking, order, total, answer = await ask("What is 17 * (2 + 3), and where is order A-1001?")
    assert [(call["name"], call["args"]) for call in asking.tool_calls] == [
        ("look_up_order", {"order": "A-1001"}),
        ("calculate", {"expression": "17 * (2 + 3)"}),
    ]
    assert isinstance(order, ToolMessage)
    assert isinstance(total, ToolMessage)
    assert total.text == "17 * (2 + 3) = 85"
    assert isinstance(answer, AIMessage)
    assert answer.text == "Order A-1001 is shipped, arrives on Friday. 17 * (2 + 3) = 85."


async def test_it_tells_the_time() -> None:
    assert "(UTC)" in (await ask("What time is it?"))[-1].text


async def test_it_reads_questions_in_content_blocks() -> None:
    assert (await ask([{"type": "text", "text": "2 + 2"}]))[-1].text == "2 + 2 = 4."


async def test_it_goes_on_after_an_answer() -> None:
    messages = await ask("2 + 2")
    messages = (await chat.graph.ainvoke({"messages": [*messages, HumanMessage("And 3 * 3?")]}))["messages"]
    assert messages[-1].text == "3 * 3 = 9."


async def test_it_counts_tokens() -> None:
    usage = (await ask("Hi"))[-1].usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_it_works_without_an_event_loop_too() -> None:
    assert ScriptedModel().invoke([HumanMessage("Hi")]).text == GREETING


@pytest.mark.parametrize("expression", ["1 / 0", "__import__('os')", "2 ** 9999999", "("])
def test_the_calculator_refuses_what_is_no_sum(expression: str) -> None:
    assert "cannot work out" in chat.calculate.invoke({"expression": expression})


def test_a_key_without_its_package_keeps_the_script_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr(chat, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert isinstance(chat.choose_model(), ScriptedModel)
    assert "OPENAI_API_KEY is set" in caplog.text


def test_without_a_key_the_model_is_scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert isinstance(chat.choose_model(), ScriptedModel)
