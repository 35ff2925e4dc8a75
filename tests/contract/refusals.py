"""How a refusal is written down, and what the store refuses."""

from typing import Any

from platform_site.core.errors import NOT_STORABLE

# Operation, body and the first line of the answer's detail.
Refusal = tuple[str, dict[str, Any], str | None]
OBJECT, STRING, ARRAY, INTEGER, NUMBER, BOOLEAN = "object", "string", "array", "integer", "number", "boolean"


def wrong_type(value: str, wanted: str) -> str:
    return f'{value} is not of type "{wanted}"'


def no_schema(value: str) -> str:
    return f"{value} is not valid under any of the schemas listed in the 'anyOf' keyword"


ITEM = {"namespace": ["n"], "key": "k", "value": {}}
# What an item may not hold.
PUTS: list[tuple[str, Any, str | None]] = [
    ("namespace", "n", wrong_type('"n"', ARRAY)),
    ("namespace", [5], wrong_type("5", STRING)),
    ("namespace", None, wrong_type("null", ARRAY)),
    ("key", 5, wrong_type("5", STRING)),
    ("key", None, wrong_type("null", STRING)),
    ("key", "k" * 3000, "A namespace and a key have at most 2000 bytes together"),
    ("key", "\x00", NOT_STORABLE),
    ("value", "s", wrong_type('"s"', OBJECT)),
    ("value", [], wrong_type("[]", OBJECT)),
    ("value", None, wrong_type("null", OBJECT)),
    ("value", {"a": "\x00"}, NOT_STORABLE),
    ("value", {"\x00": 1}, NOT_STORABLE),
    ("index", True, None),
    ("index", 0, None),
    ("index", "text", None),
    ("index", [5], None),
    ("index", ["p" * 600], "A path in `index` has at most 500 bytes"),
    ("ttl", "x", None),
    ("ttl", 0, None),
    ("ttl", -1, None),
    ("ttl", 1e300, None),
]

# Bodies that are answered with 422, and the first line of the detail.
STORE: list[Refusal] = [
    *[("PUT /store/items", {**ITEM, field: value}, line) for field, value, line in PUTS],
    *[
        (
            "PUT /store/items",
            {key: value for key, value in ITEM.items() if key != name},
            f'"{name}" is a required property',
        )
        for name in ITEM
    ],
    ("DELETE /store/items", {"namespace": ["n"]}, '"key" is a required property'),
    ("DELETE /store/items", {"namespace": "n", "key": "k"}, wrong_type('"n"', ARRAY)),
    ("DELETE /store/items", {"namespace": ["n"], "key": 5}, wrong_type("5", STRING)),
    ("POST /store/items/search", {"namespace_prefix": "n"}, None),
    ("POST /store/items/search", {"namespace_prefix": [5]}, None),
    ("POST /store/items/search", {"filter": []}, None),
    ("POST /store/items/search", {"query": 5}, None),
    ("POST /store/items/search", {"refresh_ttl": 1}, None),
    ("POST /store/namespaces", {"prefix": "n"}, wrong_type('"n"', ARRAY)),
    ("POST /store/namespaces", {"suffix": None}, wrong_type("null", ARRAY)),
    ("POST /store/namespaces", {"max_depth": 0}, None),
    *[
        (operation, {field: value}, line)
        for operation in ("POST /store/items/search", "POST /store/namespaces")
        for field, value, line in (
            ("limit", "x", wrong_type('"x"', INTEGER)),
            ("limit", None, wrong_type("null", INTEGER)),
            ("limit", -1, "-1 is less than the minimum of 0"),
            ("offset", -1, "-1 is less than the minimum of 0"),
            ("offset", 2**70, None),
        )
    ],
]
