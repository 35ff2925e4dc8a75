"""Looking through a store: what LangGraph's interface has no word for. Namespaces begin with the workspace."""

from dataclasses import dataclass
from datetime import datetime

import orjson
from langgraph.store.base import Item

from platform_site.core.items.store import ALIVE, ORDER, ItemStore, Row, as_utc


@dataclass(frozen=True)
class Level:
    """A label below a namespace, and how many items lie there or deeper."""

    label: str
    items: int
    # Whether there are namespaces below this one.
    has_more: bool


@dataclass(frozen=True)
class Shown:
    """An item and what was said of it when it was put."""

    item: Item
    # None: it never expires.
    expires_at: datetime | None
    ttl_minutes: float | None
    # Which paths of its value are embedded; None: those of `langgraph.json`.
    index: list[str] | None


async def levels(store: ItemStore, parent: tuple[str, ...], *, limit: int, offset: int) -> list[Level]:
    """The labels right below a namespace, sorted, with their counts."""
    path, here = ".".join(parent), store.first_labels(len(parent) + 1)
    place, params = store.within(path)
    below = f"SELECT prefix, {here} AS found FROM store WHERE {place} AND prefix <> ? AND {ALIVE}"
    statement = (
        f"SELECT found, COUNT(*), MAX(CASE WHEN prefix <> found THEN 1 ELSE 0 END) FROM ({below}) AS below "
        f"GROUP BY found ORDER BY found {store.bytewise} LIMIT ? OFFSET ?"
    )
    params = [*params, path, store.moment(store.clock.now()), limit, offset]
    async with store.reading() as cursor:
        rows = await store.rows(cursor, statement, params)
    return [Level(row[0].rpartition(".")[2], row[1], bool(row[2])) for row in rows]


async def page(store: ItemStore, namespace: tuple[str, ...], *, limit: int, offset: int) -> tuple[int, list[Shown]]:
    """How many items lie right in a namespace, and some of them, in the order in which they were put."""
    where, params = f"prefix = ? AND {ALIVE}", [".".join(namespace), store.moment(store.clock.now())]
    order = ORDER.format(bytewise=store.bytewise)
    async with store.reading() as cursor:
        counted = await store.rows(cursor, f"SELECT COUNT(*) FROM store WHERE {where}", params)
        statement = f"{_select(store)} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
        rows = await store.rows(cursor, statement, [*params, limit, offset])
    return counted[0][0], [_shown(store, row) for row in rows]


async def one(store: ItemStore, namespace: tuple[str, ...], key: str) -> Shown | None:
    """An item, read without prolonging its life."""
    params = [".".join(namespace), key, store.moment(store.clock.now())]
    async with store.reading() as cursor:
        statement = f"{_select(store)} WHERE prefix = ? AND key = ? AND {ALIVE}"
        rows = await store.rows(cursor, statement, params)
    return _shown(store, rows[0]) if rows else None


def _select(store: ItemStore) -> str:
    return f"SELECT {store.columns}, index_paths FROM store"


def _shown(store: ItemStore, row: Row) -> Shown:
    expires_at, minutes, paths = row[5:]
    return Shown(
        store.item(row),
        None if expires_at is None else as_utc(expires_at),
        minutes,
        None if paths is None else orjson.loads(paths),
    )


async def with_text(store: ItemStore, parent: tuple[str, ...], text: str, *, limit: int) -> list[Shown]:
    """Items below a namespace with this text in key, namespace or value, in any case, the newest first.

    It looks at all of them.
    """
    place, params = store.within(".".join(parent))
    pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    name = "SUBSTR(prefix, ?) || '.' || key"
    condition = f"(LOWER({name}) LIKE LOWER(?) ESCAPE '\\' OR LOWER(CAST(value AS TEXT)) LIKE LOWER(?) ESCAPE '\\')"
    statement = f"{_select(store)} WHERE {place} AND {ALIVE} AND {condition} ORDER BY created_at DESC LIMIT ?"
    begin = len(".".join(parent)) + 2
    params = [*params, store.moment(store.clock.now()), begin, f"%{pattern}%", f"%{pattern}%", limit]
    async with store.reading() as cursor:
        rows = await store.rows(cursor, statement, params)
    return [_shown(store, row) for row in rows]
