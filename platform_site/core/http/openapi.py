"""What the OpenAPI document says beyond what ninja finds out: parameters that views read themselves, streams, errors.

Views read most of their parameters from the request, because the contract answers wrong ones in its own words. They
declare them with `openapi_extra=declared(query(...), ...)`.
"""

import re
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]

_ERROR = {
    "title": "Error",
    "type": "object",
    "properties": {"detail": {"title": "Detail", "type": "string"}},
    "required": ["detail"],
}
_REASONS = {
    400: "Well-formed, but it cannot be done",
    401: "No credentials, or wrong ones",
    403: "The caller may not do this",
    404: "Not found",
    409: "Conflict with what exists",
    413: "The body is larger than the server's limit, or the operation takes none",
    415: "The body has a Content-Encoding",
    422: "A parameter, or a field of the body, is not valid",
    429: "More is waiting than may wait; `Retry-After` says when to try again",
    503: "A graph cannot be loaded, the database is away or busy, or the server is about to stop",
    507: "The server's disk is nearly full",
}
_UUID = {"type": "string", "format": "uuid"}
_IDS = ("assistant_id", "thread_id", "run_id", "cron_id")

# What `answers` may say of operations that have no one schema.
_EVENT = {name: {"type": "string"} for name in ("event", "data", "id")}
EVENTS: Mapping[str, Document] = {"text/event-stream": {"title": "Event", "type": "object", "properties": _EVENT}}
ANY_JSON: Mapping[str, Document] = {"application/json": {}}


def query(name: str, schema: str | Document, description: str = "") -> Document:
    """A parameter of the query; `schema` is a JSON schema, or the name of a type."""
    return _parameter("query", name, schema, description)


def header(name: str, description: str, **schema: Any) -> Document:
    """A request header."""
    return _parameter("header", name, {"type": "string", **schema}, description)


def _parameter(place: str, name: str, schema: str | Document, description: str) -> Document:
    parameter: Document = {
        "in": place,
        "name": name,
        "required": False,
        "schema": {"type": schema} if isinstance(schema, str) else schema,
    }
    return {**parameter, "description": description} if description else parameter


def declared(*parameters: Document, errors: tuple[int, ...] = (), answers: Mapping[str, Document] | None = None) -> Any:
    """For `openapi_extra`: parameters, errors that do not follow from the operation's form, answers by media type."""
    responses: dict[int, Document] = {status: _error(status) for status in errors}
    if answers:
        content = {media: {"schema": schema} for media, schema in answers.items()}
        responses[200] = {"description": "OK", "content": content}
    return {"parameters": list(parameters), "responses": responses}


def every_field_optional(schema: Document) -> None:
    """For `json_schema_extra` of what `select` may leave fields out of."""
    schema.pop("required", None)


def page(operation_id: str, summary: str, answers: Mapping[str, Document]) -> Document:
    """An operation that no router knows: a public page without parameters."""
    return {"operationId": operation_id, "summary": summary, "tags": ["System"], **declared(answers=answers)}


def _error(status: int) -> Document:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": _REASONS[status], "content": {"application/json": {"schema": schema}}}


def completed(document: Document, public: frozenset[str]) -> Document:
    """The document with credentials, the kinds of ids in paths, and the errors that follow from an operation's form."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = _ERROR
    components["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        "Bearer": {"type": "http", "scheme": "bearer"},
    }
    document["security"] = [{"ApiKey": []}, {"Bearer": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(path, operation, is_public=path in public)
    return document


def _complete(path: str, operation: Document, *, is_public: bool) -> None:
    if is_public:
        operation["security"] = []
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and parameter["name"] in _IDS and not path.endswith("/graph"):
            parameter["schema"] = {**_UUID, "title": parameter["schema"].get("title", "")}
    responses = operation["responses"]
    for status in _errors(path, operation, is_public):
        responses.setdefault(status, _error(status))
    operation["responses"] = {str(status): responses[status] for status in sorted(responses, key=str)}


def _errors(path: str, operation: Document, is_public: bool) -> set[int]:
    errors = {413} if is_public else {401, 403}
    if re.search(r"\{\w+_id\}", path):
        errors |= {404, 422}
    if "requestBody" in operation:
        errors |= {400, 404, 413, 415, 422}
    if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
        errors.add(422)
    return errors
