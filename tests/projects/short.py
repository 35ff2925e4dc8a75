"""Short forms of what a server answers, in which `expected.yaml` says what is expected.

Random ids, times and the many empty fields of a message are left out; everything else is compared as it is.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

Json = dict[str, Any]
MESSAGES = {
    "ai", "human", "system", "tool", "remove", "function", "chat", "AIMessageChunk", "HumanMessageChunk",
    "ToolMessageChunk", "SystemMessageChunk",
}  # fmt: skip
INTERRUPT = {"id", "value", "response_schema"}
HEX_ID = re.compile(r"[0-9a-f]{32}")
# Pydantic's messages end with an address that holds its version.
ADDRESS = re.compile(r"\n +For further information visit \S+")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")


def short(value: Any) -> Any:
    """Return the value with messages as text (`ai: hello`) and interrupts as `{interrupt: value}`."""
    if isinstance(value, list):
        return [short(item) for item in value]
    if isinstance(value, str):
        return "<time>" if TIME.fullmatch(value) else ADDRESS.sub("", value)
    if not isinstance(value, dict):
        return value
    if value.get("type") in MESSAGES and "content" in value:
        return message(value)
    if {"id", "value"} <= set(value) <= INTERRUPT and HEX_ID.fullmatch(str(value["id"])):
        return {"interrupt": short(value["value"])}
    return {key: short(item) for key, item in value.items()}


def message(value: Json) -> str:
    """Return `ai: text`, `ai (name): text`, `ai: -> tool(argument=1)`, `tool search: text`, or `remove: id`."""
    kind, name = value["type"], value.get("name")
    if kind == "remove":
        return f"remove: {value['id']}"
    if kind == "tool":
        failed = ", failed" if value.get("status") == "error" else ""
        return f"tool {name}{failed}: {text(value['content'])}"
    calls = "".join(f" -> {call['name']}({arguments(call['args'])})" for call in value.get("tool_calls") or [])
    return f"{kind}{f' ({name})' if name else ''}: {text(value['content'])}{calls}".replace(":  ->", ": ->")


def text(content: Any) -> str:
    """Return what people read of a message's content. A block that is no text is shown by its type."""
    if isinstance(content, str):
        return content
    return "".join(
        block if isinstance(block, str) else block.get("text", f"<{block.get('type')}>") for block in content
    )


def arguments(given: Json) -> str:
    """Return the arguments of a tool call as `name=value`."""
    return ", ".join(f"{name}={orjson.dumps(value).decode()}" for name, value in given.items())


def events(stream: Iterator[Any]) -> list[Json]:
    """Return the events of a stream as `{event: data}`. The tokens of one message are one event `messages@node`."""
    found: list[Json] = []
    spoken: str | None = None
    for part in stream:
        name, data = part.event, part.data
        if name == "metadata":
            continue
        if name.partition("|")[0] == "messages":
            said, about = data
            key = f"{_without_ids(name)}@{about['langgraph_node']}"
            if spoken == said["id"] and key in found[-1]:
                found[-1][key] += text(said["content"])
            else:
                kind = said["type"].removesuffix("MessageChunk").lower()
                # An agent names its message after the stream has got it: which comes first is chance.
                found.append({key: message({**said, "type": kind, "name": said["name"] if kind == "tool" else None})})
            spoken = said["id"]
            continue
        spoken = None
        found.append({_without_ids(name): short(data)})
    return found


def _without_ids(name: str) -> str:
    """Return `updates|worker` for `updates|worker:5f0c…`."""
    return re.sub(r":[0-9a-f-]{32,36}", "", name)


def outline(schema: Json | None) -> str | None:
    """Return a JSON schema as `State(question: string, limit?: integer = 3)`, and None for the schema null."""
    if schema is None:
        return None
    if "$ref" in schema and "properties" not in schema:
        name = schema["$ref"].rpartition("/")[2]
        return outline((schema.get("$defs") or schema.get("definitions") or {}).get(name, {"title": name}))
    if schema.get("type") != "object" or "properties" not in schema:
        return _kind(schema)
    required = set(schema.get("required", []))
    fields = []
    for name, field in schema["properties"].items():
        default = f" = {orjson.dumps(field['default']).decode()}" if field.get("default") is not None else ""
        fields.append(f"{name}{'' if name in required else '?'}: {_kind(field)}{default}")
    return f"{schema.get('title', '')}({', '.join(fields)})"


def _kind(field: Json) -> str:
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if choices := field.get("anyOf") or field.get("oneOf"):
        # The kinds of messages would fill a page.
        names = list(dict.fromkeys(_kind(choice) for choice in choices))
        return "message" if any(name.startswith("AIMessage") for name in names) else " | ".join(names)
    if "allOf" in field:
        return _kind(field["allOf"][0])
    if "enum" in field or "const" in field:
        return " | ".join(orjson.dumps(item).decode() for item in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"[{_kind(field.get('items') or {})}]"
    return str(field.get("type", "any"))
