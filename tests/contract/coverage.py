"""How much of the contract the server's own OpenAPI document knows: every operation, every field, counted.

`endpoints.json` is the contract: an operation a key, with the fields of its path, query, headers and body (a dot leads
into an object), the statuses it answers with, and the fields of what it answers. A field of the contract is named
here as `POST /threads body ttl.strategy`.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
CONTRACT: dict[str, Json] = json.loads((Path(__file__).parent / "endpoints.json").read_text())
PLACES = ("path", "query", "header", "body", "answer")
KINDS = {"string", "integer", "number", "boolean", "object", "array", "null"}


def fields(operation: str) -> Iterator[str]:
    """The names of all fields of an operation of the contract."""
    for place in PLACES:
        for field in CONTRACT[operation].get(place, ()):
            yield f"{operation} {place} {field}"


def promised(field: str) -> Json:
    """What the contract says of a field."""
    method, path, place, name = field.split(" ", 3)
    found: Any = CONTRACT[f"{method} {path}"][place]
    return found[name] if isinstance(found, dict) else {}


def contract_kinds(text: str) -> set[str]:
    """The JSON types of `string(uuid) | array<string>`; empty for any."""
    outer = re.sub(r"<[^>]*>|\([^)]*\)", "", text)
    words = {word.strip() for word in outer.split("|")}
    return set() if "any" in words else {word if word in KINDS else "object" for word in words}


@dataclass(frozen=True)
class Document:
    """An OpenAPI document, to be asked for what it knows."""

    content: Json

    def operation(self, name: str) -> Json | None:
        method, path = name.split(" ", 1)
        found: Json | None = self.content["paths"].get(path, {}).get(method.lower())
        return found

    def resolved(self, schema: Json) -> list[Json]:
        """The schemas of which one must fit, without references."""
        if "$ref" in schema:
            return self.resolved(self.content["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if not choices:
            return [schema]
        return [found for choice in choices for found in self.resolved({**choice})]

    def kinds(self, schema: Json) -> set[str]:
        """The JSON types that fit a schema; empty for any."""
        kinds: set[str] = set()
        for choice in self.resolved(schema):
            values = choice.get("enum", [choice["const"]] if "const" in choice else [])
            if "type" not in choice and not values:
                return set()
            kinds |= {choice["type"]} if "type" in choice else {_kind(value) for value in values}
        return kinds | ({"integer"} if "number" in kinds else set())

    def accepts(self, schema: Json, value: Any) -> bool:
        """Whether a value of an enumeration fits, by itself or in a list."""
        for choice in self.resolved(schema):
            if "items" in choice and self.accepts(choice["items"], value):
                return True
            values = choice.get("enum", [choice["const"]] if "const" in choice else None)
            if value in values if values is not None else choice.get("type", _kind(value)) == _kind(value):
                return True
        return False

    def inside(self, schema: Json, name: str) -> list[Json]:
        """The schemas of a property, looked for in the items of lists as well."""
        found = []
        for choice in self.resolved(schema):
            if name in choice.get("properties", {}):
                found.append(choice["properties"][name])
            elif "items" in choice:
                found += self.inside(choice["items"], name)
        return found

    def field(self, name: str) -> list[Json]:
        """The schemas of a field; none if the document does not know it."""
        method, path, place, field = name.split(" ", 3)
        operation = self.operation(f"{method} {path}")
        if operation is None:
            return []
        if place in ("body", "answer"):
            found = [_body(operation) if place == "body" else _answer(operation)]
            for step in field.split("."):
                found = [schema for outer in found for schema in self.inside(outer, step)]
            return found
        if (place, field) == ("header", "X-Api-Key"):
            return [{"type": "string"}] if "ApiKey" in self.content["components"]["securitySchemes"] else []
        parameters = operation.get("parameters", ())
        return [known["schema"] for known in parameters if (known["in"], known["name"]) == (place, field)]

    def fault(self, name: str) -> str | None:
        """What the document has against the contract's field; None if it knows it as it should."""
        if not (schemas := self.field(name)):
            return "is not known"
        schema, wanted = {"anyOf": schemas}, promised(name)
        kinds, needed = self.kinds(schema), contract_kinds(wanted.get("type", "any"))
        if " query " in name and "array" in kinds:
            # A parameter that is given once.
            kinds.add("string")
        if kinds and not needed - {"null"} <= kinds:
            return f"takes {sorted(kinds)} instead of {sorted(needed)}"
        if refused := [value for value in wanted.get("enum", ()) if not self.accepts(schema, value)]:
            return f"does not take {refused}"
        return None


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _body(operation: Json) -> Json:
    content: Json = operation.get("requestBody", {}).get("content", {})
    return next((media["schema"] for media in content.values()), {})


def _answer(operation: Json) -> Json:
    content: Json = operation["responses"].get("200", {}).get("content", {})
    return content.get("application/json", {}).get("schema", {})


def server_document() -> Document:
    """The document that this code serves under `/openapi.json`."""
    from platform_site.api_urls import openapi_document

    return Document(json.loads(json.dumps(openapi_document())))


def counted(document: Document, not_due: Collection[str]) -> str:
    """Return the sentence of the README. A field that is refused until it is due does not count."""
    known = [operation for operation in CONTRACT if document.operation(operation) is not None]
    all_fields = [field for operation in CONTRACT for field in fields(operation)]
    good = [field for field in all_fields if field not in not_due and document.fault(field) is None]
    served = f"{len(known)} of the {len(CONTRACT)} operations and {len(good)} of the {len(all_fields)} fields"
    return f"Switchyard serves {served} of the LangGraph Platform API"
