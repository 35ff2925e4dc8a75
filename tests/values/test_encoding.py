"""The one function that shows values: the same for a value alone, inside others and beside odd ones."""

import logging
import os
import subprocess
import sys
from decimal import Decimal
from typing import Any
from unittest.mock import MagicMock

import orjson
import pandas as pd
import pytest
from pydantic import BaseModel, Field, field_serializer, model_serializer

from platform_site.core.wire import encode
from tests.live import ROOT
from tests.values.project.value_row import Row
from tests.values.project.value_rows import ROWS
from tests.values.test_values import strict

# Each makes orjson refuse the whole.
ODD: list[Any] = [{(1, 2): 0}, 2**70, "\ud800", {b"k": 1}]
# What a model's own `model_dump` makes of a value in it, before `encode` sees the value.
DUMPED: dict[str, Any] = {
    "fraction": "1/4",
    "namedtuple": [1, [2]],
    "NamedTuple": [1, 2.5],
    "list of NamedTuple": [[1, 2]],
    "key namedtuple": {"[1,2]": "a"},
    "dataclass with a private field": {"name": "n", "_token": "t"},
    "odd key beside a dataclass": {"[1]": 0, "d": {"name": "n", "_token": "hidden"}},
}


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_value_alone(row: Row) -> None:
    assert strict(orjson.loads(encode(row.make()))) == strict(row.shown)


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_odd_neighbours_change_nothing(row: Row) -> None:
    members = orjson.loads(encode({"value": row.make(), "odd": ODD, "deep": [{"value": row.make(), "odd": ODD}]}))
    assert strict(members["value"]) == strict(members["deep"][0]["value"]) == strict(row.shown)


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_value_in_a_model_beside_an_odd_one(row: Row) -> None:
    class Holder(BaseModel):
        value: Any
        odd: Any

    shown = orjson.loads(encode(Holder.model_construct(value=row.make(), odd=ODD)))
    assert strict(shown["value"]) == strict(DUMPED.get(row.name, row.shown))
    assert shown["odd"] == [{"[1,2]": 0}, 1.1805916207174113e21, "?", {"aw==": 1}]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("beside", [[], ODD], ids=["alone", "beside odd values"])
def test_too_deep_is_an_error(beside: list[Any]) -> None:
    with pytest.raises(RecursionError):
        encode([*beside, nested(300)])


@pytest.mark.parametrize("beside", [[], ODD], ids=["alone", "beside odd values"])
def test_cycle_is_an_error(beside: list[Any]) -> None:
    cycle: list[Any] = [*beside]
    cycle.append(cycle)
    with pytest.raises(RecursionError):
        encode(cycle)


def test_model_whose_method_fails_shows_its_fields() -> None:
    class Failing(BaseModel):
        good: Decimal
        bad: int

        @field_serializer("bad")
        def refuse(self, bad: int) -> str:
            raise ValueError("no")

    assert encode(Failing(good=Decimal("1.5"), bad=2)) == b'{"good":1.5,"bad":2}'


def test_failing_method_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def model_dump(self) -> Any:
            raise ValueError("why it fails")

    with caplog.at_level(logging.WARNING):
        assert encode([Broken(), Broken(), 1]) == b"[null,null,1]"
    assert [record.getMessage().endswith("ValueError: why it fails") for record in caplog.records] == [True]


def test_object_that_answers_to_every_name_has_no_form() -> None:
    assert encode([MagicMock(), 1]) == b"[null,1]"


def test_long_range_does_not_fill_the_memory() -> None:
    assert encode(range(10**15)) == b'"range(0, 1000000000000000)"'
    assert encode(pd.RangeIndex(10**15)) == b'"range(0, 1000000000000000)"'
    assert encode(pd.RangeIndex(3)) == b"[0,1,2]"


def test_keys_without_a_form_stay_apart() -> None:
    assert orjson.loads(encode({int: 1, str: 2})) == {"<class 'int'>": 1, "<class 'str'>": 2}


def test_sets_have_one_order_in_every_process() -> None:
    """Python orders text in sets by a hash that differs between processes."""
    code = "from platform_site.core.wire import encode; print(encode({'a', 'b', 'c', 'd', ('e', 1), frozenset('f')}))"
    shown = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(shown) == 1


def test_sets_in_sets_take_no_longer_with_each_level_than_the_last() -> None:
    """Each level encoded twice would be 2 ** 60 encodings."""
    value: Any = frozenset({1})
    for _ in range(60):
        value = frozenset({value})
    assert encode(value) == b"[" * 61 + b"1" + b"]" * 61


def test_sets_that_are_too_deep_are_an_error() -> None:
    value: Any = frozenset({1})
    for _ in range(900):
        value = frozenset({value})
    with pytest.raises(RecursionError):
        encode(value)


def test_integer_key_of_any_length_has_a_text() -> None:
    assert orjson.loads(encode({10**400: 1, 2**20_000: 2})) == {str(10**400): 1, hex(2**20_000): 2}


class Half(BaseModel):
    """One field fails; another is masked, a third is never shown."""

    bad: int = 1
    masked: str = "secret"
    hidden: str = Field(default="secret", exclude=True)

    @field_serializer("bad")
    def refuse(self, bad: int) -> str:
        raise ValueError("no")

    @field_serializer("masked")
    def mask(self, masked: str) -> str:
        return "***"


def test_model_whose_method_fails_keeps_its_secrets() -> None:
    assert encode(Half()) == b'{"bad":1,"masked":"***"}'


def test_model_whose_own_form_fails_is_not_shown_without_it() -> None:
    class Refusing(BaseModel):
        password: str = "secret"

        @model_serializer
        def refuse(self) -> dict[str, str]:
            raise ValueError("no")

    assert encode(Refusing()) == b"null"
