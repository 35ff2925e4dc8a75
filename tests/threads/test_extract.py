"""Paths into a thread."""

from typing import Any

import pytest

from platform_site.core.errors import Unprocessable
from threads.extract import parse_extract

DOCUMENT = {"log": [1, {"x": "y"}], "a": {"b": None}, "0": "zero"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("values", DOCUMENT),
        ("values.log", [1, {"x": "y"}]),
        ("values.log[0]", 1),
        ("values.log[-1].x", "y"),
        ("values.log[2]", None),
        ("values.log[-3]", None),
        ("values.log.x", None),
        ("values.a.b.c", None),
        ("values.a[0]", None),
        ("values.0", "zero"),
        ("values[0]", None),
        ("values.log[999999999]", None),
    ],
)
def test_value_at_the_end_of_the_path(path: str, value: Any) -> None:
    assert parse_extract({"x": path})["x"].of(DOCUMENT) == value


@pytest.mark.parametrize("path", ["", "x", "valuesx.a", ".values", "[0]", "status"])
def test_root_must_be_one_that_holds_json(path: str) -> None:
    with pytest.raises(Unprocessable, match="must start with one of: config, interrupts, metadata, values"):
        parse_extract({"x": path})
