"""Rows of the table of values: what Python itself brings."""

import array
import collections
import datetime as dt
import fractions
import ipaddress
import math
import pathlib
import re
import types
import zoneinfo
from decimal import Decimal

import numpy as np
import value_kinds as kinds
from value_row import NOON, UTC, UUID, Row, plain, row

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

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
    # PostgreSQL has none: everything shows U+FFFD there. The store refuses it.
    Row("str nul", lambda: "a\0b", "a\0b", is_stored=False),
    row("str control characters", lambda: "\x01\x1f\x7f", "\x01\x1f\x7f"),
    row("str subclass", lambda: kinds.Name("n"), "n", lambda: "n"),
    row("bytes", lambda: b"bytes", "Ynl0ZXM="),
    row("bytes no text", lambda: b"\xff\xfe", "//4="),
    row("bytearray in a list", lambda: [bytearray(b"ab")], ["YWI="], lambda: [b"ab"]),
    row("memoryview", lambda: memoryview(b"ab"), "YWI=", lambda: b"ab"),
    row("memoryview strided", lambda: memoryview(b"abcd")[::2], "YWM=", lambda: b"ac"),
    row("array.array", lambda: array.array("i", [1, 2]), [1, 2]),
    row("pattern", lambda: re.compile("a+", re.IGNORECASE), "a+"),
    row("pattern of bytes", lambda: re.compile(b"a+"), "YSs="),
    plain("UserString", lambda: collections.UserString("u"), "u"),
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
    row("datetime zone", lambda: dt.datetime(2024, 7, 2, tzinfo=BERLIN), "2024-07-02T00:00:00+02:00"),
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
    row("tuple", lambda: (1, 2), [1, 2]),
    row("tuple empty", lambda: (), []),
    row("set", lambda: {3, 1, 2}, [1, 2, 3]),
    row("set empty", lambda: set(), []),
    row("set of text", lambda: {"b", "a", "c"}, ["a", "b", "c"]),
    row("set mixed", lambda: {"b", 2, None}, ["b", 2, None]),
    row("frozenset", lambda: frozenset({1}), [1]),
    row("set of tuples", lambda: {(2, 1), (1, 2)}, [[1, 2], [2, 1]]),
    row("deque", lambda: collections.deque([1, 2]), [1, 2]),
    row("dict", lambda: {"a": {"b": 1}}, {"a": {"b": 1}}),
    row("OrderedDict", lambda: collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    row("defaultdict", lambda: collections.defaultdict(list, a=[1]), {"a": [1]}),
    row("Counter", lambda: collections.Counter("aab"), {"a": 2, "b": 1}),
    row("ChainMap", lambda: collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    row("mappingproxy", lambda: types.MappingProxyType({"a": 1}), {"a": 1}),
    plain("UserDict", lambda: collections.UserDict({"a": 1}), {"a": 1}),
    plain("UserList", lambda: collections.UserList([1]), [1]),
    plain("Mapping of one's own", lambda: kinds.ReadOnly({"a": 1}), {"a": 1}),
    row("list subclass", lambda: kinds.Many([1]), [1], lambda: [1]),
    row("dict subclass", lambda: kinds.Known(a=1), {"a": 1}, lambda: {"a": 1}),
    plain("dict keys", lambda: {"b": 1, "a": 2}.keys(), ["b", "a"]),
    plain("dict values", lambda: {"a": 1}.values(), [1]),
    row("dict items", lambda: {"a": 1}.items(), [["a", 1]], lambda: [("a", 1)]),
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
    row("key timedelta", lambda: {dt.timedelta(seconds=5): "a"}, {"5.0": "a"}),
    row("key dataclass", lambda: {kinds.Frozen(1): "a"}, {'{"x":1}': "a"}),
    row("key namedtuple", lambda: {kinds.Point(1, 2): "a"}, {'{"x":1,"y":2}': "a"}),
    row("keys of two kinds", lambda: {1: "a", "b": "c"}, {"1": "a", "b": "c"}),
]

ROWS = [*_NUMBERS, *_TEXT, *_TIME, *_IDENTIFIERS, *_CONTAINERS, *_KEYS]
