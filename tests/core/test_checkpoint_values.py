"""What a value is after it was in a checkpoint, and which values have no form in one."""

import math
import pickle
import sys
import threading
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, UserString, defaultdict, deque
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

import numpy as np
import ormsgpack
import pandas as pd
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, Field, HttpUrl, PrivateAttr, SecretStr, field_validator
from pydantic import v1 as pydantic_v1

from platform_site.core.checkpoints.serializers import serializer
from platform_site.core.checkpoints.sqlite.checkpoints import SqliteCheckpoints
from platform_site.core.serialization.packing import ValueNotStorable
from platform_site.core.serialization.types import TypeRules
from tests.core.checkpointing import save, thread_config
from tests.postgres import postgres_server, postgres_url  # noqa: F401

RULES = TypeRules(directories=(Path(__file__).parent,))


class Shade(StrEnum):
    DARK = "dark"


class Lazy(Enum):
    FUNCTION = staticmethod(print)
    PLAIN = 1


@dataclass
class Derived:
    size: int
    factor: InitVar[int]
    area: int = field(init=False)

    def __post_init__(self, factor: int) -> None:
        self.area = self.size * factor


class Hashed(BaseModel):
    password: str
    hidden: str = Field(default="shown", exclude=True)
    aliased: int = Field(default=0, validation_alias="theAlias")

    @field_validator("password")
    @classmethod
    def _hash(cls, value: str) -> str:
        return f"hash of {value}"


class Locked(BaseModel):
    name: str
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _count: int = PrivateAttr(0)


class Handle(BaseModel):
    """A model with a field that has no form, which its own serializer leaves out."""

    name: str
    lock: Any = Field(default_factory=threading.Lock, exclude=True)


class Old(pydantic_v1.BaseModel):
    name: str
    inner: Any = None


class Attributed:
    """What `attrs.define` makes, without the package."""

    __attrs_attrs__ = (SimpleNamespace(name="name"), SimpleNamespace(name="_size"))

    def __init__(self, name: str, size: int) -> None:
        self.name, self._size = name, size

    def __repr__(self) -> str:
        return f"Attributed({self.name!r}, {self._size!r})"


class Ordinary:
    pass


def through(value: Any, rules: TypeRules = RULES) -> Any:
    serde = serializer((), rules)
    return serde.loads_typed(serde.dumps_typed(value))


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return repr(left) == repr(right) and left.dtype == right.dtype
    return repr(left) == repr(right)


FRAME = pd.DataFrame({("a", 1): [1.5, math.nan], ("b", 2): ["x", None]})
KEPT: dict[str, Any] = {
    "tuple": (1, (2, [3, (4,)])),
    "empty tuple": (),
    "set of tuples": {(1, 2)},
    "frozenset": frozenset({1}),
    "keys": {1: 1, 1.5: 2, None: 3, b"a": 5, (1, "b"): 6, Shade.DARK: 7, date(2024, 1, 1): 8, 2**70: 9},
    "keys of numbers": {np.int64(1): "a", Decimal(2): "b", Fraction(1, 3): "c"},
    "large integers": [2**64, -(2**63) - 1, 10**5000 % 10**400],
    "floats": [math.inf, -math.inf, math.nan, -0.0, 1e22, 5e-324],
    "decimals": [Decimal("Infinity"), Decimal("NaN"), Decimal("1E+400"), Decimal("1.50")],
    "other numbers": [Fraction(1, 3), 1 + 2j, range(1, 10, 2), slice(1, None)],
    "bytes": [b"a\0", b""],
    "containers": [deque([1], maxlen=2), OrderedDict(b=1, a=2), Counter("aab"), defaultdict(list, {1: [2]})],
    "views": [MappingProxyType({"a": 1}), SimpleNamespace(a=(1,)), array("i", [1, 2])],
    "moments": [datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), time(1, tzinfo=UTC)],
    "durations": [timedelta(days=-1, microseconds=1), date.min],
    "addresses": [ip_address("::1"), uuid4(), Path("a/b"), PurePosixPath("/c")],
    "ellipsis": ...,
    "enum of text": Shade.DARK,
    "enum without a storable value": Lazy.PLAIN,
    "dataclass with init-only fields": Derived(2, 3),
    "attrs": Attributed("a", 1),
    "pydantic of the first version": Old(name="a", inner=Old(name="b")),
    "url": HttpUrl("https://example.com/a"),
    "send": Send("node", {"shade": Shade.DARK}),
    "command": Command(update={"shade": Shade.DARK}, resume=(1,)),
    "interrupt": Interrupt(value=Shade.DARK, id="1"),
    "messages": [
        HumanMessage("a", id="1"),
        ToolMessage("b", tool_call_id="1", artifact={"shade": (Shade.DARK,)}),
        AIMessage("c", tool_calls=[{"name": "t", "args": {"x": 1}, "id": "1", "type": "tool_call"}]),
    ],
    "numpy scalars": [np.float16(1), np.float64(1), np.uint8(1), np.bool_(False), np.timedelta64(1, "s"), 1j],
    "numpy times": [np.datetime64("NaT"), np.datetime64("2024-01-01T00:00")],
    "numpy record": np.array([(1, "a")], dtype=[("n", "i4"), ("t", "U3")])[0],
    "array": np.arange(6, dtype=">i2").reshape(2, 3),
    "array in columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "array with strides": np.arange(10)[::3],
    "array of nothing": np.zeros((0, 3)),
    "array of one": np.array(5),
    "array of bytes": np.array([b"ab", b"c"]),
    "array of moments": np.array(["2024-01-01", "NaT"], dtype="M8[D]"),
    "array of objects": np.array([[1, None], ["a", (1,)]], dtype=object),
    "array of long text": np.array(["a", "b" * 100], dtype=np.dtypes.StringDType()),
    "array of records": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8", (2,))]),
    "masked array": np.ma.array([1, 2], mask=[False, True]),
    "frame": FRAME,
    "frame without rows": FRAME.iloc[:0],
    "frame of two equal columns": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "frame of objects": pd.DataFrame({"a": [{"x": 1}], "b": [date(2024, 1, 1)]}),
    "series": pd.Series([1, None], dtype="Int64", name="n"),
    "series of categories": pd.Series(["a", None, "b"], dtype="category"),
    "series of moments": pd.Series(pd.to_datetime(["2024-01-01", None]).tz_localize("Europe/Berlin")),
    "indexes": [pd.RangeIndex(3), pd.MultiIndex.from_tuples([(1, "a")], names=["x", "y"]), pd.Index(["a"], name="n")],
    "pandas scalars": [pd.NA, pd.NaT, pd.Timestamp("2024-01-01 00:00:00.000000001"), pd.Timedelta("1h")],
    "pandas spans": [pd.Period("2024-01", freq="M"), pd.Interval(0, 1)],
}


@pytest.mark.parametrize("name", KEPT)
def test_a_value_comes_back_as_it_was(name: str) -> None:
    assert same(through(KEPT[name]), KEPT[name])


class Records:
    def to_dicts(self) -> list[dict[str, int]]:
        return [{"a": 1}]


class Tensor:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.arange(3)


class Tags(list[str]):
    pass


class Email(str):
    __slots__ = ()


CHANGED: dict[str, tuple[Any, Any]] = {
    "views of a dict": ([{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()], [["a"], [1], [("a", 1)]]),
    "mappings": ([ChainMap({"a": 1}), UserDict(a=1)], [{"a": 1}, {"a": 1}]),
    "text": ([UserString("a"), Email("b"), np.str_("c")], ["a", "b", "c"]),
    "lists": ([Tags(["a"])], [["a"]]),
    "buffers": ([memoryview(b"abcd")[::2], bytearray(b"a")], [b"ac", b"a"]),
    "exceptions": ([ValueError("a")], ["ValueError('a')"]),
    "tables of other libraries": ([Records()], [[{"a": 1}]]),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_value_comes_back_as_plain_data(name: str) -> None:
    value, plain = CHANGED[name]
    assert same(through(value), plain)


def test_a_tensor_comes_back_as_an_array() -> None:
    assert same(through(Tensor()), np.arange(3))


def test_an_array_can_be_written_to() -> None:
    found = through({"a": np.zeros(3)})["a"]
    found += 1
    assert found.tolist() == [1, 1, 1]


def test_a_table_comes_back_as_records_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"n": [1, 2], "kind": pd.Categorical(["x", None])})
    data = serializer((), RULES).dumps_typed({"table": table, "column": table["n"], "none": pd.NA})
    monkeypatch.setitem(sys.modules, "pandas", None)
    found = serializer((), RULES).loads_typed(data)
    assert found == {"table": [{"n": 1, "kind": "x"}, {"n": 2, "kind": None}], "column": [1, 2], "none": None}


def test_a_model_is_not_validated_again() -> None:
    model = Hashed(password="p", theAlias=3)
    assert through(model) == model


def test_a_field_that_is_never_dumped_is_not_stored() -> None:
    assert through(Hashed(password="p", hidden="secret")).hidden == "shown"


def test_a_secret_comes_back() -> None:
    assert through({"key": SecretStr("s")})["key"].get_secret_value() == "s"


def test_private_attributes_come_back_and_are_made_anew_where_they_have_no_form() -> None:
    model = Locked(name="a")
    model._count = 5
    found = through(model)
    assert (found._count, type(found._lock)) == (5, type(model._lock))
    assert found._lock is not model._lock


def test_the_serializer_of_a_model_decides_where_a_field_has_no_form() -> None:
    assert through({"handle": Handle(name="a")})["handle"].name == "a"


def test_which_fields_were_set_is_kept() -> None:
    assert through(Hashed(password="p")).model_fields_set == {"password"}


# --- Stores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_every_value_is_kept_under_a_key_of_its_own(
    database: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL has some values in a JSON column, which knows fewer kinds of numbers and of text."""
    own = {"infinite": math.inf, "large": 1e22, "huge": 10**400, "enum": Shade.DARK, "scalar": np.float64(1)}
    values = {**{f"kept {name}": value for name, value in KEPT.items()}, **own, "nul": "a\0b", "plain": ["a", 1, 1.5]}
    checkpoints: Any = SqliteCheckpoints(tmp_path / "checkpoints.sqlite3")
    if database == "postgres":
        from platform_site.core.checkpoints.postgres.checkpoints import PostgresCheckpoints
        from platform_site.core.database.postgres_pool import LoopPools

        checkpoints = PostgresCheckpoints(LoopPools(request.getfixturevalue("postgres_url")))
    await checkpoints.setup()
    names = [(cls.__module__, cls.__name__) for cls in (Shade, Lazy, Derived, Attributed, Old)]
    config = thread_config(uuid4())
    await save(checkpoints.saver(names), config, **values)
    found = await checkpoints.saver(names).aget_tuple(config)
    await checkpoints.close()
    read = found.checkpoint["channel_values"]
    assert [name for name in values if not same(read[name], values[name])] == []


# --- LangGraph's own serializer ------------------------------------------------------------------


def test_what_langgraph_s_serializer_has_written_is_read() -> None:
    written = [
        Shade.DARK,
        Old(name="a"),
        Hashed(password="p"),
        {1, 2},
        Decimal(1),
        np.arange(3),
        AIMessage("a", id="1"),
    ]
    found = serializer((), RULES).loads_typed(JsonPlusSerializer().dumps_typed(written))
    assert [type(item) for item in found] == [type(item) for item in written]


def test_langgraph_s_serializer_reads_what_is_written() -> None:
    data = serializer((), RULES).dumps_typed(
        {
            "messages": [AIMessage("a", id="1")],
            "tuple": (1, 2),
            "shade": Shade.DARK,
            "fraction": Fraction(1, 3),
            "array": np.arange(3),
        }
    )
    found = JsonPlusSerializer(allowed_msgpack_modules=[(Shade.__module__, "Shade")]).loads_typed(data)
    array_read = found.pop("array")
    assert found == {
        "messages": [AIMessage("a", id="1")],
        "tuple": [1, 2],
        "shade": Shade.DARK,
        "fraction": [1, 3],
    }
    assert array_read.tolist() == [0, 1, 2]


# --- Refusals ------------------------------------------------------------------------------------


def _generator() -> Any:
    yield 1


class Hostile:
    """A data class whose field cannot be read."""

    __attrs_attrs__ = (SimpleNamespace(name="name"),)

    @property
    def name(self) -> str:
        raise RuntimeError("not now")


REFUSED: dict[str, tuple[Any, str, str]] = {
    "function": ({"call": [print]}, "`call[0]`", "builtin_function_or_method"),
    "generator": ({"items": _generator()}, "`items`", "generator"),
    "lock": ({"a": {"b": ({"c": threading.Lock()},)}}, "`a.b[0].c`", "_thread.lock"),
    "class": ({"model": Hashed}, "`model`", "ModelMetaclass"),
    "ordinary object": ({(1, 2): Ordinary()}, "`[(1, 2)]`", "Ordinary"),
    "in a model": ({"model": Locked.model_construct(name=cast(Any, Ordinary()))}, "`model.name`", "Ordinary"),
    "in a dataclass": ({"plan": SimpleNamespace(step=Ordinary())}, "`plan.step`", "Ordinary"),
    "module": ({"m": math}, "`m`", "module"),
    "a field that raises": ({"h": Hostile()}, "`h`", "not now"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_without_a_form_is_named_with_its_place_and_type(name: str) -> None:
    value, place, kind = REFUSED[name]
    with pytest.raises(ValueNotStorable) as refusal:
        serializer((), RULES).dumps_typed(value)
    assert place in str(refusal.value)
    assert kind in str(refusal.value)


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueNotStorable, match="nested too deeply"):
        serializer((), RULES).dumps_typed({"a": endless})


# --- Pickles -------------------------------------------------------------------------------------


def test_pickles_are_used_only_where_they_are_allowed() -> None:
    allowed = TypeRules(directories=RULES.directories, pickles=True)
    data = serializer((), allowed).dumps_typed({"a": Ordinary(), "b": (1,)})
    assert type(serializer((), allowed).loads_typed(data)["a"]) is Ordinary
    assert serializer((), RULES).loads_typed(data) == {"a": None, "b": (1,)}


def test_a_pickle_whose_class_is_gone_loses_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    serde = serializer((), TypeRules(directories=RULES.directories, pickles=True))
    data = serde.dumps_typed({"a": Ordinary(), "b": 1})
    monkeypatch.delattr(sys.modules[__name__], "Ordinary")
    assert serde.loads_typed(data) == {"a": None, "b": 1}


def test_a_pickle_of_langgraph_s_is_not_read_where_pickles_are_not_allowed() -> None:
    with pytest.raises(NotImplementedError):
        serializer((), RULES).loads_typed(("pickle", pickle.dumps(1)))


def test_what_cannot_be_pickled_either_is_named() -> None:
    with pytest.raises(ValueNotStorable, match=r"`a`.*cannot pickle"):
        serializer((), TypeRules(pickles=True)).dumps_typed({"a": threading.Lock()})


@pytest.mark.parametrize("named", [(["a"], "b"), ("pydantic.networks", 5), (None, None)])
def test_what_no_serializer_has_written_loses_only_itself(named: tuple[Any, Any]) -> None:
    odd = ormsgpack.Ext(0, ormsgpack.packb([*named, 1]))
    found = serializer((), RULES).loads_typed(("msgpack", ormsgpack.packb({"a": odd, "b": 1})))
    assert found["b"] == 1
