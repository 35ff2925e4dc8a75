"""Rows of the table of values: arrays, tables, messages and what else libraries bring."""

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import value_kinds as kinds
from langchain_core.agents import AgentAction, AgentFinish
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import Generation
from langchain_core.prompt_values import StringPromptValue
from langgraph.store.base import Item
from langgraph.types import Command, Interrupt, Overwrite, Send
from value_row import NOON, plain, row


def _grid() -> Any:
    return np.arange(6).reshape(2, 3)


def _frame() -> Any:
    return pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def _masked(values: Any, mask: Any) -> Any:
    return np.ma.array(values, mask=mask)


_NUMPY = [
    row("numpy int", lambda: np.int64(5), 5),
    row("numpy uint", lambda: np.uint64(2**64 - 1), 2**64 - 1),
    row("numpy float", lambda: np.float64(1.5), 1.5),
    row("numpy float32", lambda: np.float32(0.1), 0.1),
    row("numpy float16", lambda: np.float16(1.5), 1.5),
    row("numpy longdouble", lambda: np.longdouble(1.5), 1.5),
    row("numpy nan", lambda: np.float64("nan"), None),
    row("numpy inf", lambda: np.float32("inf"), None),
    row("numpy bool", lambda: np.bool_(True), True),
    row("numpy str", lambda: np.str_("s"), "s", lambda: "s"),
    row("numpy bytes", lambda: np.bytes_(b"s"), "cw==", lambda: b"s"),
    row("numpy complex", lambda: np.complex128(1 + 2j), "1+2j"),
    row("numpy datetime", lambda: np.datetime64("2024-01-02"), "2024-01-02T00:00:00"),
    row(
        "numpy datetime of nanoseconds",
        lambda: np.datetime64("2024-01-02T03:04:05.678901234"),
        "2024-01-02T03:04:05.678901",
    ),
    row("numpy NaT", lambda: np.datetime64("NaT"), None),
    row("numpy timedelta", lambda: np.timedelta64(90, "s"), 90.0),
    row("numpy timedelta NaT", lambda: np.timedelta64("NaT"), None),
    row("array int", lambda: np.array([1, 2]), [1, 2]),
    row("array of rows", _grid, [[0, 1, 2], [3, 4, 5]]),
    row("array transposed", lambda: _grid().T, [[0, 3], [1, 4], [2, 5]]),
    row("array strided", lambda: _grid()[:, ::2], [[0, 2], [3, 5]]),
    row("array float", lambda: np.array([1.5, math.nan, math.inf]), [1.5, None, None]),
    row("array float32", lambda: np.array([0.1], dtype="f4"), [0.1]),
    row("array bool", lambda: np.array([True]), [True]),
    row("array str", lambda: np.array(["a", "b"]), ["a", "b"]),
    row("array bytes", lambda: np.array([b"a"]), ["YQ=="]),
    row("array object", lambda: np.array([1, None, {"a": 1}], dtype=object), [1, None, {"a": 1}]),
    row("array complex", lambda: np.array([1 + 2j]), ["1+2j"]),
    row("array of no dimension", lambda: np.array(5), 5),
    row("array empty", lambda: np.zeros((0, 3)), []),
    row(
        "array datetime", lambda: np.array(["2024-01-02", "NaT"], dtype="datetime64[D]"), ["2024-01-02T00:00:00", None]
    ),
    row("array timedelta", lambda: np.array([90], dtype="timedelta64[s]"), [90.0]),
    row("array of other bytes", lambda: np.array([1], dtype=">i4"), [1]),
    row("array structured", lambda: np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), [{"a": 1, "b": 2.5}]),
    row("array masked", lambda: _masked([1, 2], [0, 1]), [1, None]),
    row("matrix", lambda: np.asmatrix([[1, 2]]), [[1, 2]], lambda: np.array([[1, 2]])),
    row("arrays inside", lambda: [np.int64(1), {"a": np.array([1])}], [1, {"a": [1]}]),
]

_PANDAS = [
    row("frame", _frame, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    row("frame with gaps", lambda: pd.DataFrame({"a": [1.5, None]}), [{"a": 1.5}, {"a": None}]),
    row(
        "frame with dates", lambda: pd.DataFrame({"t": pd.to_datetime(["2024-01-02"])}), [{"t": "2024-01-02T00:00:00"}]
    ),
    row("frame of numbered columns", lambda: pd.DataFrame({1: [1]}), [{"1": 1}]),
    row("frame empty", lambda: pd.DataFrame(), []),
    row("series", lambda: pd.Series([1, 2], name="n"), [1, 2]),
    row("series with gaps", lambda: pd.Series([1.5, None]), [1.5, None]),
    row("index", lambda: pd.Index([1, 2]), [1, 2]),
    row("categorical", lambda: pd.Categorical(["a", "b"]), ["a", "b"], lambda: pd.Series(["a", "b"], dtype="category")),
    row("Timestamp", lambda: pd.Timestamp("2024-01-02T03:04:05"), "2024-01-02T03:04:05"),
    row("Timestamp utc", lambda: pd.Timestamp("2024-01-02", tz="UTC"), "2024-01-02T00:00:00+00:00"),
    row("Timedelta", lambda: pd.Timedelta("1h"), 3600.0),
    row("pandas NA", lambda: pd.NA, None),
    row("pandas NaT", lambda: pd.NaT, None),
    row("Interval", lambda: pd.Interval(0, 1), "(0, 1]"),
    row("Period", lambda: pd.Period("2024-01"), "2024-01"),
]


def _message(type: str, content: Any, **more: Any) -> dict[str, Any]:
    common = {
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": type,
        "name": None,
        "id": "1",
    }
    return common | more


def _ai(content: Any, **more: Any) -> dict[str, Any]:
    return _message("ai", content, **{"tool_calls": [], "invalid_tool_calls": [], "usage_metadata": None}) | more


def _tool(**more: Any) -> dict[str, Any]:
    return _message("tool", "t", tool_call_id="c", artifact=None, status="success") | more


_CALL = {"name": "f", "args": {"x": 1}, "id": "c", "type": "tool_call"}
_BAD_CALL: Any = {"name": "f", "args": "{", "id": "c", "error": "no", "type": "invalid_tool_call"}
_USAGE: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
_IMAGE_URL: Any = [
    {"type": "text", "text": "t"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
]
_IMAGE: Any = [{"type": "image", "base64": "AA==", "mime_type": "image/png"}]
_FILE: Any = [{"type": "file", "base64": "AA==", "mime_type": "application/pdf", "filename": "a.pdf"}]
_AUDIO: Any = [{"type": "audio", "url": "https://example.com/a.mp3"}]
_REASONING: Any = [{"type": "reasoning", "reasoning": "r"}, {"type": "text", "text": "t"}]
_THINKING: Any = [{"type": "thinking", "thinking": "r", "signature": "s"}]

_MESSAGES = [
    row("human", lambda: HumanMessage("hi", id="1"), _message("human", "hi")),
    row("human with a name", lambda: HumanMessage("hi", id="1", name="ann"), _message("human", "hi", name="ann")),
    row("human with an image url", lambda: HumanMessage(_IMAGE_URL, id="1"), _message("human", _IMAGE_URL)),
    row("human with an image", lambda: HumanMessage(_IMAGE, id="1"), _message("human", _IMAGE)),
    row("human with a file", lambda: HumanMessage(_FILE, id="1"), _message("human", _FILE)),
    row("human with audio", lambda: HumanMessage(_AUDIO, id="1"), _message("human", _AUDIO)),
    row("ai", lambda: AIMessage("hi", id="1"), _ai("hi")),
    row("ai with a tool call", lambda: AIMessage("", id="1", tool_calls=[_CALL]), _ai("", tool_calls=[_CALL])),
    row(
        "ai with a bad tool call",
        lambda: AIMessage("", id="1", invalid_tool_calls=[_BAD_CALL]),
        _ai("", invalid_tool_calls=[_BAD_CALL]),
    ),
    row("ai with usage", lambda: AIMessage("hi", id="1", usage_metadata=_USAGE), _ai("hi", usage_metadata=_USAGE)),
    row("ai with reasoning", lambda: AIMessage(_REASONING, id="1"), _ai(_REASONING)),
    row("ai with thinking", lambda: AIMessage(_THINKING, id="1"), _ai(_THINKING)),
    row(
        "ai with odd metadata",
        lambda: AIMessage(
            "x", id="1", additional_kwargs={"raw": b"x"}, response_metadata={"t": dt.timedelta(seconds=5)}
        ),
        _ai("x", additional_kwargs={"raw": "eA=="}, response_metadata={"t": 5.0}),
    ),
    row(
        "ai chunk",
        lambda: AIMessageChunk(content="h", id="1"),
        _ai("h", type="AIMessageChunk", tool_call_chunks=[], chunk_position=None),
    ),
    row("system", lambda: SystemMessage("s", id="1"), _message("system", "s")),
    row("tool", lambda: ToolMessage("t", tool_call_id="c", id="1"), _tool()),
    row("tool that failed", lambda: ToolMessage("t", tool_call_id="c", id="1", status="error"), _tool(status="error")),
    row(
        "tool with an artifact",
        lambda: ToolMessage("t", tool_call_id="c", id="1", artifact={"a": _grid(), "p": kinds.Step(text="s")}),
        _tool(artifact={"a": [[0, 1, 2], [3, 4, 5]], "p": {"text": "s", "done": False}}),
    ),
    row(
        "tool with a frame",
        lambda: ToolMessage("t", tool_call_id="c", id="1", artifact=_frame()),
        _tool(artifact=[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    ),
    row("function", lambda: FunctionMessage(name="f", content="x", id="1"), _message("function", "x", name="f")),
    row("chat", lambda: ChatMessage(role="r", content="x", id="1"), _message("chat", "x", role="r")),
    row("remove", lambda: RemoveMessage(id="1"), _message("remove", "")),
    row("messages", lambda: [HumanMessage("hi", id="1"), AIMessage("a", id="1")], [_message("human", "hi"), _ai("a")]),
]

# Of LangChain's classes only messages and documents are made again from a checkpoint.
_LANGCHAIN = [
    row(
        "document",
        lambda: Document("d", metadata={"a": 1}),
        {"id": None, "metadata": {"a": 1}, "page_content": "d", "type": "Document"},
    ),
    row(
        "document with a date",
        lambda: Document("d", id="7", metadata={"on": dt.date(2024, 1, 1)}),
        {"id": "7", "metadata": {"on": "2024-01-01"}, "page_content": "d", "type": "Document"},
    ),
    plain("prompt value", lambda: StringPromptValue(text="x"), {"text": "x", "type": "StringPromptValue"}),
    plain("generation", lambda: Generation(text="x"), {"text": "x", "generation_info": None, "type": "Generation"}),
    plain(
        "agent action",
        lambda: AgentAction("t", {"a": 1}, "log"),
        {"tool": "t", "tool_input": {"a": 1}, "log": "log", "type": "AgentAction"},
    ),
    plain(
        "agent finish",
        lambda: AgentFinish({"a": 1}, "log"),
        {"return_values": {"a": 1}, "log": "log", "type": "AgentFinish"},
    ),
]

_LANGGRAPH = [
    row("Send", lambda: Send("n", {"a": 1}), {"node": "n", "args": {"a": 1}}),
    row("Send of a NamedTuple", lambda: [Send("n", kinds.Point(1, 2))], [{"node": "n", "args": {"x": 1, "y": 2}}]),
    row(
        "Command",
        lambda: {"c": Command(goto=[Send("n", 1)], resume=1)},
        {"c": {"graph": None, "update": None, "resume": 1, "goto": [{"node": "n", "args": 1}]}},
    ),
    row("Interrupt", lambda: Interrupt("q", id="i"), {"value": "q", "id": "i", "response_schema": None}),
    row("Overwrite in a list", lambda: [Overwrite([1])], [{"value": [1], "type": "__overwrite__"}]),
    row(
        "store item",
        lambda: Item(value={"a": 1}, key="k", namespace=("n",), created_at=NOON, updated_at=NOON),
        {
            "namespace": ["n"],
            "key": "k",
            "value": {"a": 1},
            "created_at": "2024-01-02T12:00:00+00:00",
            "updated_at": "2024-01-02T12:00:00+00:00",
        },
    ),
]

ROWS = [*_NUMPY, *_PANDAS, *_MESSAGES, *_LANGCHAIN, *_LANGGRAPH]
