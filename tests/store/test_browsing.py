"""What pages show of a store: namespaces level by level with counts, items a page at a time, one item."""

from datetime import timedelta

import pytest

from platform_site.core.items.browsing import Level, levels, one, page, with_text
from platform_site.core.items.stores import WorkspaceStore
from tests.store.backends import Backend, item_store

PLACES = [("users", "ada"), ("users", "ada"), ("users", "bob", "notes"), ("users",), ("Docs",), ("users-old", "x")]


@pytest.fixture
async def filled(store: WorkspaceStore) -> WorkspaceStore:
    for number, place in enumerate(PLACES):
        await store.aput(place, f"k{number}", {"n": number})
    return store


async def test_levels_are_sorted_and_counted(filled: WorkspaceStore, backend: Backend) -> None:
    opened, top = await item_store(filled), (filled._label,)
    await filled.aput(("gone",), "k", {}, ttl=1)
    backend.time.goes(1)

    assert await levels(opened, top, limit=10, offset=0) == [
        Level("Docs", 1, False),
        Level("users", 4, True),
        Level("users-old", 1, True),
    ]
    assert await levels(opened, (*top, "users"), limit=10, offset=0) == [Level("ada", 2, False), Level("bob", 1, True)]
    assert await levels(opened, top, limit=1, offset=1) == [Level("users", 4, True)]
    assert await levels(opened, (*top, "users", "ada"), limit=10, offset=0) == []


async def test_a_page_has_the_items_right_there_and_their_number(filled: WorkspaceStore) -> None:
    opened, place = await item_store(filled), (filled._label, "users", "ada")

    total, shown = await page(opened, place, limit=1, offset=1)

    assert total == 2
    assert [entry.item.key for entry in shown] == ["k1"]
    assert (await page(opened, place[:2], limit=10, offset=0))[0] == 1


async def test_looking_at_an_item_tells_its_time_and_prolongs_nothing(store: WorkspaceStore, backend: Backend) -> None:
    await store.aput(("n",), "k", {"x": 1}, ttl=10)
    opened, place = await item_store(store), (store._label, "n")
    expires = backend.time.now + timedelta(minutes=10)
    backend.time.goes(6)

    shown = await one(opened, place, "k")
    assert shown is not None
    assert (shown.item.value, shown.expires_at, shown.ttl_minutes) == ({"x": 1}, expires, 10)
    assert [entry.expires_at for entry in (await page(opened, place, limit=1, offset=0))[1]] == [expires]
    backend.time.goes(6)
    assert await one(opened, place, "k") is None
    assert await one(opened, place, "zz") is None


async def test_text_is_found_in_keys_namespaces_and_values_whatever_its_case(
    store: WorkspaceStore, backend: Backend
) -> None:
    await store.aput(("users", "ada"), "note", {"text": "Likes SAILING"})
    await store.aput(("users", "bob"), "Sailing", {"n": 1})
    await store.aput(("sailing",), "k", {"n": 1})
    await store.aput(("users", "eve"), "100%", {"a_b": "back\\slash"})
    await store.aput(("users", "eve"), "trouble", {"text": "Ärger"})
    await store.aput(("users", "eve"), "sailing", {"n": 1}, ttl=1)
    backend.time.goes(1)
    opened, top = await item_store(store), (store._label,)

    async def found(text: str, limit: int = 10) -> list[str]:
        return [entry.item.key for entry in await with_text(opened, top, text, limit=limit)]

    assert await found("sailing") == ["k", "Sailing", "note"]
    assert await found("sailing", limit=1) == ["k"]
    assert await found("users.bob") == ["Sailing"]
    assert await found("0%") == ["100%"]
    for text in ("Ärger", "ärger", "ÄRGER"):
        assert await found(text) == ["trouble"]
    assert await found("a_b") == ["100%"]
    assert await found("axb") == []
    # The workspace is no part of the name.
    assert await found(store._label + ".") == []
