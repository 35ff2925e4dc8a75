"""What pages read of the store, always through the principal; nothing is prolonged by looking."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import async_to_sync
from django.core.paginator import Page, Paginator
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.console.wording import took
from platform_site.core.config import config
from platform_site.core.wire import encode
from store import selectors
from store.schemas import ItemSearch
from store.selectors import StoreItem

LEVELS_SHOWN = 200
PER_PAGE = 50
FOUND_SHOWN = 50
# SQLite takes no longer pattern than 50,000 bytes.
LONGEST_TEXT = 1000
SIMILAR_SHOWN = 20
PREVIEW = 160

Namespace = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A row of the tree of namespaces."""

    label: str
    # Its address as a query: `in=users.ada`.
    query: str
    depth: int
    items: int
    has_more: bool
    is_open: bool
    is_current: bool


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item as a list shows it."""

    namespace: Namespace
    key: str
    query: str
    preview: str
    put_at: datetime
    left: str
    # How similar it is to what was looked for, in percent; None where that was not the question.
    score: float | None = None


def namespace_of(text: str) -> Namespace:
    """The namespace that an address names."""
    return tuple(text.split(".")) if text else ()


def place(namespace: Namespace, key: str | None = None) -> str:
    """A namespace or an item as a query."""
    return urlencode({"in": ".".join(namespace)} | ({} if key is None else {"key": key}))


def has_index() -> bool:
    """Whether items can be found by their meaning."""
    store = config().store
    return store is not None and store.index is not None


def tree(principal: Principal, chosen: Namespace) -> tuple[list[Branch], bool]:
    """The namespaces on the way to the chosen one and beside it, from the top; True if there are more than shown."""
    return async_to_sync(_tree)(principal, chosen)


async def _tree(principal: Principal, chosen: Namespace) -> tuple[list[Branch], bool]:
    more = False

    async def below(parent: Namespace) -> list[Branch]:
        nonlocal more
        levels = await selectors.namespace_levels(principal, parent, limit=LEVELS_SHOWN + 1)
        more = more or len(levels) > LEVELS_SHOWN
        rows: list[Branch] = []
        for level in levels[:LEVELS_SHOWN]:
            here = (*parent, level.label)
            is_open = chosen[: len(here)] == here
            rows.append(
                Branch(level.label, place(here), len(parent), level.items, level.has_more, is_open, here == chosen)
            )
            if is_open and level.has_more:
                rows += await below(here)
        return rows

    return await below(()), more


def items(principal: Principal, namespace: Namespace, page: str) -> tuple[Page[Any], list[ItemRow]]:
    """A page of the items right in a namespace."""
    number = int(page) if page.isdecimal() and 0 < len(page) < 9 else 1
    read = async_to_sync(selectors.items_page)
    total, found = read(principal, namespace, limit=PER_PAGE, offset=(number - 1) * PER_PAGE)
    shown = Paginator(range(total), PER_PAGE).get_page(number)
    if shown.number != number:
        total, found = read(principal, namespace, limit=PER_PAGE, offset=(shown.number - 1) * PER_PAGE)
    return shown, [item_row(item) for item in found]


def item(principal: Principal, namespace: Namespace, key: str) -> StoreItem | None:
    return async_to_sync(selectors.item_detail)(principal, namespace, key)


def with_text(principal: Principal, text: str, count: int = FOUND_SHOWN) -> list[ItemRow]:
    """Items with this text in their key, namespace or value, the newest first."""
    return [
        item_row(item) for item in async_to_sync(selectors.items_with_text)(principal, text[:LONGEST_TEXT], limit=count)
    ]


def with_meaning(principal: Principal, text: str) -> list[ItemRow]:
    """Items that mean something like this, the most similar first. Raises `ApiError`."""
    body = ItemSearch(query=text, limit=SIMILAR_SHOWN, refresh_ttl=False)
    return [
        ItemRow(
            tuple(found["namespace"]),
            found["key"],
            place(tuple(found["namespace"]), found["key"]),
            preview(found["value"]),
            datetime.fromisoformat(found["updated_at"]),
            "",
            100 * max(0.0, found["score"] or 0.0),
        )
        for found in async_to_sync(selectors.items_search)(principal, body)
    ]


def item_row(item: StoreItem) -> ItemRow:
    return ItemRow(
        item.namespace, item.key, place(item.namespace, item.key), preview(item.value), item.created_at, time_left(item)
    )


def time_left(item: StoreItem) -> str:
    """How long the item is still kept; empty if it never expires."""
    if item.expires_at is None:
        return ""
    return took(round((item.expires_at - timezone.now()).total_seconds()))


def preview(value: dict[str, Any]) -> str:
    """The beginning of a value: its text if it has one, else its JSON."""
    text = value.get("text")
    shown = text if isinstance(text, str) and text.strip() else encode(value).decode()
    return " ".join(shown[:PREVIEW].split())
