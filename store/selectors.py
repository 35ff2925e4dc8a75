"""Reads of the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from platform_site.access.authorization import check, may
from platform_site.access.principal import Principal
from platform_site.core.http.paging import Answer
from platform_site.core.wire import encode, timestamp
from store.operations import namespace_of, on_items, on_store
from store.schemas import DEFAULT_ITEMS, DEFAULT_NAMESPACES, ItemSearch, NamespaceSearch

if TYPE_CHECKING:
    from langgraph.store.base import Item

    from platform_site.core.items.browsing import Level, Shown


async def item_get(
    principal: Principal, namespace: list[str], key: str, *, refresh_ttl: bool | None = None
) -> dict[str, Any] | None:
    """An item as JSON, None if there is none. Raises `BadLabel`, and `Forbidden` as `_refreshes` does."""
    labels = namespace_of(namespace)
    refresh_ttl = _refreshes(principal, refresh_ttl)
    found = await on_store(principal, lambda store: store.aget(labels, key, refresh_ttl=refresh_ttl))
    return None if found is None else _wire(found)


def _refreshes(principal: Principal, asked: bool | None) -> bool | None:
    """Return whether a read prolongs what it finds; None leaves that to `langgraph.json`.

    A reader changes nothing: without being asked a read of theirs prolongs nothing. Raise `Forbidden` if they ask.
    """
    if asked:
        check(principal, "store", writes=True)
    return asked if may(principal, "store", writes=True) else False


async def items_found(principal: Principal, body: ItemSearch) -> bytes:
    """What `items_search` finds, as a JSON list that ends early where it has `MAX_ANSWER_BYTES`."""
    answer = Answer()
    answer.fill(encode(item) for item in await items_search(principal, body))
    return answer.body


async def items_search(principal: Principal, body: ItemSearch) -> list[dict[str, Any]]:
    """Items below a namespace as JSON: with a query the most similar first, else in the order of insertion.

    Raises `BadRequest`, `BadLabel`, `Unprocessable`, and `Forbidden` as `_refreshes` does.
    """
    prefix = namespace_of(body.namespace_prefix or [])
    refresh_ttl = _refreshes(principal, body.refresh_ttl)
    found = await on_store(
        principal,
        lambda store: store.asearch(
            prefix,
            query=body.query,
            filter=body.filter,
            limit=body.limit or DEFAULT_ITEMS,
            offset=body.offset,
            refresh_ttl=refresh_ttl,
        ),
    )
    return [{**_wire(item), "score": item.score} for item in found]


async def namespaces_list(principal: Principal, body: NamespaceSearch) -> list[tuple[str, ...]]:
    """Namespaces that hold items, sorted. Raises `BadLabel`, `BadRequest`."""
    prefix, suffix = namespace_of(body.prefix), namespace_of(body.suffix)
    return await on_store(
        principal,
        lambda store: store.alist_namespaces(
            prefix=prefix or None,
            suffix=suffix or None,
            max_depth=body.max_depth,
            limit=body.limit or DEFAULT_NAMESPACES,
            offset=body.offset,
        ),
    )


def _wire(item: "Item") -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.updated_at),
    }


# For pages: a tree of namespaces, opened level by level, and the items in one of them.


@dataclass(frozen=True)
class StoreItem:
    """An item as a page shows it."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created_at: datetime
    # None: it never expires.
    expires_at: datetime | None
    # How long it lives after it was put or read.
    ttl_minutes: float | None
    # Which paths of its value are embedded; None: those of `langgraph.json`.
    index: list[str] | None


async def namespace_levels(
    principal: Principal, parent: tuple[str, ...], *, limit: int = 100, offset: int = 0
) -> "list[Level]":
    """The labels right below a namespace, sorted, each with the number of items there and deeper."""
    from platform_site.core.items.browsing import levels

    path = str(principal.workspace_id), *namespace_of(parent)
    return await on_items(lambda store: levels(store, path, limit=limit, offset=offset))


async def items_page(
    principal: Principal, namespace: tuple[str, ...], *, limit: int = 50, offset: int = 0
) -> tuple[int, list[StoreItem]]:
    """How many items lie right in a namespace, and a page of them. Nothing is prolonged by looking."""
    from platform_site.core.items.browsing import page

    path = str(principal.workspace_id), *namespace_of(namespace)
    total, shown = await on_items(lambda store: page(store, path, limit=limit, offset=offset))
    return total, [_store_item(item) for item in shown]


async def item_detail(principal: Principal, namespace: tuple[str, ...], key: str) -> StoreItem | None:
    """One item, None if there is none. Nothing is prolonged by looking."""
    from platform_site.core.items.browsing import one

    path = str(principal.workspace_id), *namespace_of(namespace)
    shown = await on_items(lambda store: one(store, path, key))
    return None if shown is None else _store_item(shown)


def _store_item(shown: "Shown") -> StoreItem:
    item = shown.item
    return StoreItem(
        item.namespace[1:], item.key, item.value, item.created_at, shown.expires_at, shown.ttl_minutes, shown.index
    )


async def items_with_text(principal: Principal, text: str, *, limit: int = 50) -> list[StoreItem]:
    """Items whose key, namespace or value has this text in it, the newest first. Nothing is prolonged by looking."""
    from platform_site.core.items.browsing import with_text

    path = (str(principal.workspace_id),)
    return [_store_item(item) for item in await on_items(lambda store: with_text(store, path, text, limit=limit))]
