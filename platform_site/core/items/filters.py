"""What the filter of a store search means: in Python, which SQLite calls for every item, and as SQL on `jsonb`.

`{"x": 3}` compares the item's value of `x` whole, objects and lists included; `{"x": {"$gt": 3}}` has operators.
Several conditions must all hold. Types are told apart: `1` is no `true`; an order is one of numbers or of strings. A
key that an item lacks is `null`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from platform_site.core.wire import encode

_ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class UnsupportedOperator(ValueError):
    """A filter has an operator that no store knows."""


class Condition(NamedTuple):
    key: str
    operator: str
    operand: Any


def conditions(filter: Mapping[str, Any]) -> list[Condition]:
    """The conditions of a filter. Raises `UnsupportedOperator`."""
    found = []
    for key, wanted in filter.items():
        if isinstance(wanted, Mapping) and any(str(name).startswith("$") for name in wanted):
            found += [Condition(key, str(name), operand) for name, operand in wanted.items()]
        else:
            found.append(Condition(key, "$eq", wanted))
    for _, operator, _ in found:
        if operator not in _ORDERS and operator not in ("$eq", "$ne"):
            raise UnsupportedOperator(f"Unsupported operator: {operator}")
    return found


def matches_text(value: str | bytes, filter: str) -> int:
    """Whether an item's value meets a filter, both as JSON. SQLite calls it."""
    decoded = orjson.loads(value)
    return int(all(_holds(decoded.get(key), operator, operand) for key, operator, operand in _decoded(filter)))


@lru_cache(maxsize=64)
def _decoded(filter: str) -> list[Condition]:
    return conditions(orjson.loads(filter))


def _holds(value: Any, operator: str, operand: Any) -> bool:
    if operator == "$eq":
        return _same(value, operand)
    if operator == "$ne":
        return not _same(value, operand)
    both_numbers = _is_number(value) and _is_number(operand)
    if not both_numbers and not (isinstance(value, str) and isinstance(operand, str)):
        return False
    match operator:
        case "$gt":
            return bool(value > operand)
        case "$gte":
            return bool(value >= operand)
        case "$lt":
            return bool(value < operand)
        case _:
            return bool(value <= operand)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(_same(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def jsonb_conditions(filter: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The same as SQL on the column `value`, with `?` for parameters. Raises `UnsupportedOperator`."""
    clauses, params = [], []
    for key, operator, operand in conditions(filter):
        clause, needed = _jsonb_condition(key, operator, operand)
        clauses.append(clause)
        params += needed
    return " AND ".join(clauses) or "TRUE", params


def _jsonb_condition(key: str, operator: str, operand: Any) -> tuple[str, list[Any]]:
    if operator in ("$eq", "$ne"):
        sign = "=" if operator == "$eq" else "<>"
        return f"COALESCE(value -> ?::text, 'null') {sign} ?::jsonb", [key, encode(operand).decode()]
    sign = _ORDERS[operator]
    if isinstance(operand, str):
        # The order of bytes is that of code points; the database's own collation may have any.
        clause = f"(jsonb_typeof(value -> ?::text) = 'string' AND (value ->> ?::text) COLLATE \"C\" {sign} ?::text)"
    elif _is_number(operand):
        clause = f"(jsonb_typeof(value -> ?::text) = 'number' AND (value -> ?::text) {sign} ?::jsonb)"
        operand = encode(operand).decode()
    else:
        return "FALSE", []
    return clause, [key, key, operand]
