"""The table of values: what a node returns, what clients see of it everywhere, what nodes get back later."""

import array
import collections
import datetime as dt
import fractions
import functools
import io
import ipaddress
import math
import pathlib
import re
import string
import threading
import types
import uuid
import zoneinfo
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
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
from pydantic import SecretStr


@dataclass(frozen=True)
class Row:
    """One value. It is made anew wherever it is needed, because some can be used once only."""

    name: str
    make: Callable[[], Any]
    # What clients see, in every place.
    shown: Any
    # What nodes find in the state after a checkpoint; None: the same value of the same type.
    returns: Callable[[], Any] | None = None
    # No checkpoint can hold it: the run fails, and its error names the key and the node.
    is_refused: bool = False
    # Whether the store takes it.
    is_stored: bool = True


def row(name: str, make: Callable[[], Any], shown: Any, returns: Callable[[], Any] | None = None) -> Row:
    return Row(name, make, shown, returns)


def refused(name: str, make: Callable[[], Any], shown: Any = None) -> Row:
    return Row(name, make, shown, is_refused=True)


UUID = uuid.UUID(int=7)
UTC = dt.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = dt.datetime(2024, 1, 2, 12, 0, 0, tzinfo=UTC)


def _grid() -> Any:
    return np.arange(6).reshape(2, 3)


def _frame() -> Any:
    return pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


def _cycle() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


def _local() -> Any:
    class Local:
        pass

    return Local()


def _masked(values: list[int], mask: list[int]) -> Any:
    return np.ma.array(values, mask=mask)


_NUMBERS = [
    row("none", lambda: None, None),
    row("true", lambda: True, True),
    row("false", lambda: False, False),
    row("int", lambda: 7, 7),
    row("int negative", lambda: -(2**63), -(2**63)),
    row("int beyond 53 bits", lambda: 2**53 + 1, 2**53 + 1),
    row("int of 64 bits", lambda: 2**64 - 1, 2**64 - 1),
    row("int beyond 64 bits", lambda: 2**64, 1.8446744073709552e19),
    row("int below -2^63", lambda: -(2**63) - 1, -9.223372036854776e18),
    row("int huge", lambda: 10**308, 1e308),
    row("int beyond a double", lambda: 10**309, None),
    row("int below a double", lambda: -(10**400), None),
    row("int subclass", lambda: kinds.Count(3), 3, lambda: 3),
    row("float", lambda: 1.5, 1.5),
    row("float 0.1+0.2", lambda: 0.1 + 0.2, 0.30000000000000004),
    row("float large", lambda: 1e300, 1e300),
    row("float tiny", lambda: 1e-320, 1e-320),
    row("float nan", lambda: math.nan, None),
    row("float inf", lambda: math.inf, None),
    row("float -inf", lambda: -math.inf, None),
    row("float subclass", lambda: kinds.Metres(1.5), 1.5, lambda: 1.5),
    row("decimal", lambda: Decimal("1.5"), 1.5),
    row("decimal whole", lambda: Decimal("5"), 5),
    row("decimal 5.0", lambda: Decimal("5.0"), 5.0),
    row("decimal 1E+3", lambda: Decimal("1E+3"), 1000),
    row("decimal long", lambda: Decimal("123456789.123456789123456789"), 123456789.12345679),
    row("decimal of 23 digits", lambda: Decimal("12345678901234567890123"), 1.2345678901234568e22),
    row("decimal beyond a double", lambda: Decimal("1E+400"), None),
    row("decimal of a million digits", lambda: Decimal("1E+1000000"), None),
    row("decimal tiny", lambda: Decimal("1E-400"), 0.0),
    row("decimal infinite", lambda: Decimal("Infinity"), None),
    row("decimal -infinite", lambda: Decimal("-Infinity"), None),
    row("decimal nan", lambda: Decimal("NaN"), None),
    row("decimal snan", lambda: Decimal("sNaN"), None),
    row("fraction", lambda: fractions.Fraction(1, 4), 0.25),
    row("complex", lambda: 1 + 2j, "1+2j"),
]

_TEXT = [
    row("str", lambda: "text", "text"),
    row("str empty", lambda: "", ""),
    row("str emoji", lambda: "\U0001f600", "\U0001f600"),
    row("str long", lambda: "x" * 5000, "x" * 5000),
    # As LangGraph stores it.
    row("str lone surrogate", lambda: "a\ud800b", "a?b", lambda: "a?b"),
    row("str surrogate pair", lambda: "\ud83d\ude00", "??", lambda: "??"),
    # PostgreSQL has none, and the store refuses it.
    Row("str nul", lambda: "a\0b", "a\ufffdb", is_stored=False),
    row("str control characters", lambda: "\x01\x1f\x7f", "\x01\x1f\x7f"),
    row("str subclass", lambda: kinds.Name("n"), "n", lambda: "n"),
    row("bytes", lambda: b"bytes", "Ynl0ZXM="),
    row("bytes no text", lambda: b"\xff\xfe", "//4="),
    row("bytearray", lambda: bytearray(b"ab"), "YWI="),
    row("memoryview", lambda: memoryview(b"ab"), "YWI=", lambda: b"ab"),
    row("memoryview strided", lambda: memoryview(b"abcd")[::2], "YWM=", lambda: b"ac"),
    row("array.array", lambda: array.array("i", [1, 2]), [1, 2]),
    row("pattern", lambda: re.compile("a+", re.IGNORECASE), "a+"),
    row("pattern of bytes", lambda: re.compile(b"a+"), "YSs="),
    row("UserString", lambda: collections.UserString("u"), "u"),
]

_TIME = [
    row("date", lambda: dt.date(2024, 2, 29), "2024-02-29"),
    row("datetime naive", lambda: dt.datetime(2024, 1, 2, 3, 4, 5, 678901), "2024-01-02T03:04:05.678901"),
    row("datetime utc", lambda: NOON, "2024-01-02T12:00:00+00:00"),
    row(
        "datetime offset",
        lambda: dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
        "2024-01-02T00:00:00+05:30",
    ),
    # The offset is kept, not the name of the zone.
    row(
        "datetime zone",
        lambda: dt.datetime(2024, 7, 2, tzinfo=BERLIN),
        "2024-07-02T00:00:00+02:00",
        lambda: dt.datetime(2024, 7, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    ),
    row("datetime first", lambda: dt.datetime(1, 1, 1), "0001-01-01T00:00:00"),
    row("time", lambda: dt.time(1, 2, 3, 4), "01:02:03.000004"),
    row("time utc", lambda: dt.time(1, 2, 3, tzinfo=UTC), "01:02:03+00:00"),
    row("time zone", lambda: dt.time(1, 2, 3, tzinfo=BERLIN), "01:02:03"),
    row("timedelta", lambda: dt.timedelta(days=1, seconds=5), 86405.0),
    row("timedelta tiny", lambda: dt.timedelta(microseconds=1), 1e-06),
    row("timedelta negative", lambda: dt.timedelta(days=-1), -86400.0),
    row("timezone utc", lambda: UTC, "UTC"),
    row("timezone offset", lambda: dt.timezone(dt.timedelta(hours=2)), "UTC+02:00"),
    row("timezone name", lambda: dt.timezone(dt.timedelta(hours=2), "X"), "X"),
    row("ZoneInfo", lambda: BERLIN, "Europe/Berlin"),
]

_IDENTIFIERS = [
    row("uuid", lambda: UUID, "00000000-0000-0000-0000-000000000007"),
    row("path", lambda: pathlib.Path("/tmp/x"), "/tmp/x"),
    row("path pure", lambda: pathlib.PurePosixPath("a/b"), "a/b"),
    row("path windows", lambda: pathlib.PureWindowsPath("a/b"), "a\\b"),
    row("ipv4 address", lambda: ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
    row("ipv4 network", lambda: ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    row("ipv4 interface", lambda: ipaddress.ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
    row("ipv6 address", lambda: ipaddress.ip_address("::1"), "::1"),
    row("ipv6 network", lambda: ipaddress.ip_network("fd00::/8"), "fd00::/8"),
    row("ipv6 interface", lambda: ipaddress.ip_interface("::1/64"), "::1/64"),
    row("enum", lambda: kinds.Color.RED, "red"),
    row("enum of a tuple", lambda: kinds.Color.PAIR, [1, 2]),
    row("enum int", lambda: kinds.Level.HIGH, 3),
    row("enum str", lambda: kinds.Word.YES, "yes"),
    row("enum flag", lambda: kinds.Rights.READ | kinds.Rights.WRITE, 3),
]

_CONTAINERS = [
    row("list", lambda: [1, [2, {"a": None}]], [1, [2, {"a": None}]]),
    row("tuple", lambda: (1, 2), [1, 2], lambda: [1, 2]),
    row("tuple empty", lambda: (), [], lambda: []),
    row("set", lambda: {3, 1, 2}, [1, 2, 3]),
    row("set empty", lambda: set(), []),
    row("set of text", lambda: {"b", "a", "c"}, ["a", "b", "c"]),
    row("set mixed", lambda: {"b", 2, None}, ["b", 2, None]),
    row("frozenset", lambda: frozenset({1}), [1]),
    row("set of tuples", lambda: {(2, 1), (1, 2)}, [[1, 2], [2, 1]]),
    row("deque", lambda: collections.deque([1, 2]), [1, 2]),
    row("dict", lambda: {"a": {"b": 1}}, {"a": {"b": 1}}),
    row("OrderedDict", lambda: collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}, lambda: {"b": 1, "a": 2}),
    row("defaultdict", lambda: collections.defaultdict(list, a=[1]), {"a": [1]}, lambda: {"a": [1]}),
    row("Counter", lambda: collections.Counter("aab"), {"a": 2, "b": 1}, lambda: {"a": 2, "b": 1}),
    row("ChainMap", lambda: collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
    row("mappingproxy", lambda: types.MappingProxyType({"a": 1}), {"a": 1}),
    row("UserDict", lambda: collections.UserDict({"a": 1}), {"a": 1}),
    row("UserList", lambda: collections.UserList([1]), [1]),
    row("Mapping of one's own", lambda: kinds.ReadOnly({"a": 1}), {"a": 1}),
    row("list subclass", lambda: kinds.Many([1]), [1], lambda: [1]),
    row("dict subclass", lambda: kinds.Known(a=1), {"a": 1}, lambda: {"a": 1}),
    row("dict keys", lambda: {"b": 1, "a": 2}.keys(), ["b", "a"]),
    row("dict values", lambda: {"a": 1}.values(), [1]),
    row("dict items", lambda: {"a": 1}.items(), [["a", 1]]),
    row("SimpleNamespace", lambda: types.SimpleNamespace(a=1), {"a": 1}),
    row("range", lambda: range(3), [0, 1, 2]),
]

_KEYS = [
    row("key int", lambda: {1: "a"}, {"1": "a"}),
    row("key float", lambda: {1.5: "a"}, {"1.5": "a"}),
    row("key bool", lambda: {True: "a"}, {"true": "a"}),
    row("key none", lambda: {None: "a"}, {"null": "a"}),
    row("key tuple", lambda: {(1, 2): "a"}, {"[1,2]": "a"}),
    row("key enum", lambda: {kinds.Color.RED: "a"}, {"red": "a"}),
    row("key enum of a tuple", lambda: {kinds.Color.PAIR: "a"}, {"[1,2]": "a"}),
    row("key uuid", lambda: {UUID: "a"}, {str(UUID): "a"}),
    row("key date", lambda: {dt.date(2024, 1, 1): "a"}, {"2024-01-01": "a"}),
    row("key datetime", lambda: {NOON: "a"}, {"2024-01-02T12:00:00+00:00": "a"}),
    row("key bytes", lambda: {b"k": "a"}, {"aw==": "a"}),
    row("key decimal", lambda: {Decimal("1.5"): "a"}, {"1.5": "a"}),
    row("key path", lambda: {pathlib.PurePosixPath("p"): "a"}, {"p": "a"}),
    row("key frozenset", lambda: {frozenset({1}): "a"}, {"[1]": "a"}),
    row("key numpy int", lambda: {np.int64(1): "a"}, {"1": "a"}),
    row("key beyond 64 bits", lambda: {2**70: "a"}, {str(2**70): "a"}),
    row("key surrogate", lambda: {"\ud800": "a"}, {"?": "a"}),
    row("key timedelta", lambda: {dt.timedelta(seconds=5): "a"}, {"5.0": "a"}),
    row("key dataclass", lambda: {kinds.Frozen(1): "a"}, {'{"x":1}': "a"}),
    row("key namedtuple", lambda: {kinds.Point(1, 2): "a"}, {'{"x":1,"y":2}': "a"}),
    row("keys of two kinds", lambda: {1: "a", "b": "c"}, {"1": "a", "b": "c"}),
]

# An odd value changes nothing about how its neighbours are shown.
_NEIGHBOURS = [
    row("odd key beside an array", lambda: {(1, 2): 0, "a": _grid()}, {"[1,2]": 0, "a": [[0, 1, 2], [3, 4, 5]]}),
    row(
        "odd key beside a model",
        lambda: {(1,): 0, "m": kinds.Step(text="s")},
        {"[1]": 0, "m": {"text": "s", "done": False}},
    ),
    row("odd key beside a dataclass", lambda: {(1,): 0, "d": kinds.Account("n")}, {"[1]": 0, "d": {"name": "n"}}),
    row("odd key beside an enum", lambda: {(1,): 0, "e": kinds.Color.RED}, {"[1]": 0, "e": "red"}),
    row("odd key beside a numpy scalar", lambda: {(1,): 0, "n": np.float32(0.1)}, {"[1]": 0, "n": 0.1}),
    row(
        "odd key beside a time",
        lambda: {(1,): 0, "t": dt.time(1), "d": NOON},
        {"[1]": 0, "t": "01:00:00", "d": "2024-01-02T12:00:00+00:00"},
    ),
    row("huge int beside an array", lambda: [2**70, _grid()[0]], [1.1805916207174113e21, [0, 1, 2]]),
    row(
        "surrogate beside a deque",
        lambda: ["\ud800", collections.deque([1])],
        ["?", [1]],
        lambda: ["?", collections.deque([1])],
    ),
    row("odd value in a model", lambda: kinds.Bag(content={(1,): 2**70}), {"content": {"[1]": 1.1805916207174113e21}}),
    row(
        "odd value in a dataclass",
        lambda: kinds.Place("R", ["\ud800"]),
        {"city": "R", "tags": ["?"], "seen": None},
        lambda: kinds.Place("R", ["?"]),
    ),
]

_CLASSES = [
    row(
        "dataclass",
        lambda: kinds.Place("Rome", ["a"], NOON),
        {"city": "Rome", "tags": ["a"], "seen": "2024-01-02T12:00:00+00:00"},
    ),
    row(
        "dataclass nested",
        lambda: kinds.Trip(kinds.Place("Rome"), Decimal("1.5"), {"a": collections.deque([1])}),
        {"start": {"city": "Rome", "tags": [], "seen": None}, "price": 1.5, "ways": {"a": [1]}},
    ),
    row("dataclass frozen with slots", lambda: kinds.Frozen(1), {"x": 1}),
    row("dataclass with a private field", lambda: kinds.Account("n", "t"), {"name": "n"}),
    row("NamedTuple", lambda: kinds.Point(1, 2.5), {"x": 1, "y": 2.5}),
    row("namedtuple", lambda: kinds.Pair(1, [2]), {"left": 1, "right": [2]}),
    row("list of NamedTuple", lambda: [kinds.Point(1, 2)], [{"x": 1, "y": 2}]),
    row("attrs", lambda: kinds.Defined(1, [2]), {"a": 1, "b": [2]}),
    row("TypedDict", lambda: kinds.Row(a=1), {"a": 1}),
    row(
        "pydantic",
        lambda: kinds.Plan(title="t", steps=[kinds.Step(text="s")], due=dt.timedelta(hours=1), color=kinds.Color.RED),
        {"title": "t", "steps": [{"text": "s", "done": False}], "due": 3600.0, "color": "red"},
    ),
    row("pydantic in a dict", lambda: {"p": kinds.Step(text="s")}, {"p": {"text": "s", "done": False}}),
    row("pydantic in a list", lambda: [kinds.Step(text="s")], [{"text": "s", "done": False}]),
    row("pydantic aliased", lambda: kinds.Aliased(longName=1), {"long_name": 1}),
    row("pydantic with extras", lambda: kinds.Open(a=1, b=2), {"a": 1, "b": 2}),
    row("pydantic computed field", lambda: kinds.Computed(width=3), {"width": 3, "area": 9}),
    row("pydantic serializer", lambda: kinds.Serialized(when=dt.timedelta(minutes=90)), {"when": "90 min"}),
    row(
        "pydantic of odd fields",
        lambda: kinds.Holder(price=Decimal("1.5"), where=pathlib.PurePosixPath("p"), who=UUID, seen={1}, raw=b"\xff"),
        {"price": 1.5, "where": "p", "who": str(UUID), "seen": [1], "raw": "/w=="},
    ),
    row("pydantic generic", lambda: kinds.Box[int](content=1), {"content": 1}),
    row("secret", lambda: SecretStr("s"), "**********"),
    row("pydantic root", lambda: kinds.Names(["a"]), ["a"]),
    row("pydantic secret", lambda: kinds.Login(password="secret"), {"password": "**********"}),
    row(
        "pydantic v1",
        lambda: kinds.OldPlan(title="t", steps=[kinds.OldStep(text="s")]),
        {"title": "t", "steps": [{"text": "s"}]},
    ),
]

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
    row("numpy str", lambda: np.str_("s"), "s"),
    row("numpy bytes", lambda: np.bytes_(b"s"), "cw=="),
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
    row("matrix", lambda: np.asmatrix([[1, 2]]), [[1, 2]]),
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
    row("categorical", lambda: pd.Categorical(["a", "b"]), ["a", "b"]),
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
        lambda: AIMessageChunk("h", id="1"),
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
    row("prompt value", lambda: StringPromptValue(text="x"), {"text": "x", "type": "StringPromptValue"}),
    row("generation", lambda: Generation(text="x"), {"text": "x", "generation_info": None, "type": "Generation"}),
    row(
        "agent action",
        lambda: AgentAction("t", {"a": 1}, "log"),
        {"tool": "t", "tool_input": {"a": 1}, "log": "log", "type": "AgentAction"},
    ),
    row(
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

_ERRORS = [
    row("ValueError", lambda: ValueError("bad"), {"error": "ValueError", "message": "bad"}),
    row("KeyError", lambda: KeyError("k"), {"error": "KeyError", "message": "'k'"}),
    row(
        "Exception of one's own",
        lambda: kinds.Trouble("x"),
        {"error": "Trouble", "message": "An internal error occurred"},
    ),
]

_WITHOUT_FORM = [
    refused("object", lambda: object()),
    refused("class without a form", lambda: kinds.Plain()),
    refused("class with dict()", lambda: kinds.WithDict(), {"a": 1}),
    refused("class of a function", _local),
    refused("class whose model_dump fails", lambda: kinds.BadDump()),
    refused("class", lambda: kinds.Step),
    refused("function", lambda: len),
    refused("lambda", lambda: lambda: 1),
    refused("partial", lambda: functools.partial(int, "1")),
    refused("generator", _generator),
    refused("async generator", _async_generator),
    refused("iterator", lambda: iter([1])),
    refused("match", lambda: re.match("a", "a")),
    refused("file", lambda: io.StringIO("x")),
    refused("lock", lambda: threading.Lock()),
    refused("module", lambda: math),
    refused("ellipsis", lambda: ...),
    refused("slice", lambda: slice(1, 2)),
    refused("template", lambda: string.Template("$a")),
    refused("object in a list", lambda: [1, object()], [1, None]),
]

ROWS: dict[str, Row] = {
    one.name: one
    for section in (
        _NUMBERS,
        _TEXT,
        _TIME,
        _IDENTIFIERS,
        _CONTAINERS,
        _KEYS,
        _NEIGHBOURS,
        _CLASSES,
        _NUMPY,
        _PANDAS,
        _MESSAGES,
        _LANGCHAIN,
        _LANGGRAPH,
        _ERRORS,
        _WITHOUT_FORM,
    )
    for one in section
}
