"""Request and response bodies of the store operations."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from platform_site.core.http.paging import Offset
from platform_site.core.project.sections import Minutes
from platform_site.core.wire import Schema


def _no_number(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("not false")
    return value


# 0 is read as the default.
Limit = Annotated[int, Field(ge=0, le=2**31 - 1)]
# Python's 0 is False as well.
NotAtAll = Annotated[Literal[False], BeforeValidator(_no_number)]
DEFAULT_ITEMS = 10
DEFAULT_NAMESPACES = 100


class ItemPut(Schema):
    namespace: list[str]
    key: str
    value: dict[str, Any]
    # Which paths of the value are embedded; absent or null: those of `langgraph.json`.
    index: NotAtAll | list[str] | None = None
    # Null: it never expires. Absent: as `langgraph.json` says.
    ttl: Minutes | None = None


class ItemDelete(Schema):
    namespace: list[str] = []
    key: str


class ItemSearch(Schema):
    namespace_prefix: list[str] | None = None
    filter: dict[str, Any] | None = None
    limit: Limit = DEFAULT_ITEMS
    offset: Offset = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class NamespaceSearch(Schema):
    prefix: list[str] = []
    suffix: list[str] = []
    max_depth: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    limit: Limit = DEFAULT_NAMESPACES
    offset: Offset = 0


class Item(Schema):
    namespace: list[str]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class FoundItem(Item):
    # How similar the item is to the query; null without one.
    score: float | None


class ItemsFound(Schema):
    items: list[FoundItem]


class NamespacesFound(Schema):
    namespaces: list[list[str]]
