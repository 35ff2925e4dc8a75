"""The table of values: what a node returns, what clients see of it everywhere, what nodes get back later.

Here are the rows of classes; `plain_rows` and `library_rows` have the others.
"""

import collections
import datetime as dt
import functools
import io
import math
import pathlib
import re
import string
import threading
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import library_rows
import numpy as np
import plain_rows
import value_kinds as kinds
from pydantic import SecretStr
from value_row import NOON, UUID, Row, plain, refused, row


def _grid() -> Any:
    return np.arange(6).reshape(2, 3)


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


def _local() -> Any:
    class Local:
        pass

    return Local()


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
# A checkpoint keeps only the text of an exception.
_ERRORS = [
    Row(
        type(error).__name__,
        lambda error=error: error,
        {"error": type(error).__name__, "message": message},
        shown_later=repr(error),
        returns=lambda error=error: repr(error),
    )
    for error, message in (
        (ValueError("bad"), "bad"),
        (KeyError("k"), "'k'"),
        (kinds.Trouble("x"), "An internal error occurred"),
    )
]

_ODD = [
    plain("class with dict()", lambda: kinds.WithDict(), {"a": 1}),
    row("ellipsis", lambda: ..., None),
    row("slice", lambda: slice(1, 2), None),
]

_REFUSED = [
    refused("object", lambda: object()),
    refused("class without a form", lambda: kinds.Plain()),
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
    refused("template", lambda: string.Template("$a")),
    refused("key surrogate", lambda: {"\ud800": "a"}, {"?": "a"}),
    refused("object in a list", lambda: [1, object()], [1, None]),
]

ROWS: dict[str, Row] = {
    one.name: one for one in (*plain_rows.ROWS, *_CLASSES, *_NEIGHBOURS, *library_rows.ROWS, *_ERRORS, *_ODD, *_REFUSED)
}
