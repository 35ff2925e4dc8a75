"""Items with a time to live: absent from the moment on, swept later, prolonged by reading where that is wanted."""

import asyncio
from typing import Any

import pytest

from platform_site.core.items.stores import WorkspaceStore
from tests.store.backends import Backend, item_store, keys, letters, stored_vectors

PLACE = ("n",)


async def rows(store: WorkspaceStore) -> int:
    """How many items the table holds, expired or not."""
    opened = await item_store(store)
    async with opened.reading() as cursor:
        return int((await opened.rows(cursor, "SELECT COUNT(*) FROM store", []))[0][0])


async def test_an_expired_item_is_absent_from_everything_before_any_sweep(backend: Backend) -> None:
    store = backend.workspace(letters(fields=["t"]))
    await store.aput(PLACE, "short", {"t": "a"}, ttl=5)
    await store.aput(("kept",), "long", {"t": "a"}, ttl=60)
    await store.aput(("kept",), "ever", {"t": "a"})
    backend.time.goes(5)

    assert await store.aget(PLACE, "short") is None
    assert await keys(store.asearch(())) == ["long", "ever"]
    assert await keys(store.asearch((), query="a")) == ["long", "ever"]
    assert await store.alist_namespaces() == [("kept",)]
    assert await rows(store) == 3


async def test_it_lives_to_the_moment_also_for_parts_of_a_minute(backend: Backend) -> None:
    store = backend.workspace()
    await store.aput(PLACE, "k", {}, ttl=0.5)
    backend.time.goes(0.49)
    assert await store.aget(PLACE, "k", refresh_ttl=False) is not None
    backend.time.goes(0.011)
    assert await store.aget(PLACE, "k", refresh_ttl=False) is None


@pytest.mark.parametrize("read", ["get", "search", "query"])
async def test_reading_begins_its_time_anew(backend: Backend, read: str) -> None:
    store = backend.workspace(letters())
    await store.aput(PLACE, "k", {"t": "a"}, ttl=0.5)
    for _ in range(3):
        backend.time.goes(0.4)
        if read == "get":
            assert await store.aget(PLACE, "k") is not None
        else:
            assert await keys(store.asearch(PLACE, query="a" if read == "query" else None)) == ["k"]
    backend.time.goes(0.5)

    assert await store.aget(PLACE, "k") is None


@pytest.mark.parametrize(
    ("configured", "call", "prolonged"),
    [
        ({}, None, True),
        ({"refresh_on_read": False}, None, False),
        ({"refresh_on_read": False}, True, True),
        ({"refresh_on_read": True}, False, False),
    ],
)
async def test_the_call_decides_before_the_configuration(
    backend: Backend, configured: dict[str, Any], call: bool | None, prolonged: bool
) -> None:
    store = backend.workspace(**configured)
    await store.aput(PLACE, "got", {}, ttl=10)
    await store.aput(PLACE, "found", {}, ttl=10)
    backend.time.goes(6)
    await store.aget(PLACE, "got", refresh_ttl=call)
    await store.asearch(PLACE, filter={}, limit=1, offset=1, refresh_ttl=call)
    backend.time.goes(6)

    assert await keys(store.asearch(PLACE, refresh_ttl=False)) == (["got", "found"] if prolonged else [])


async def test_only_what_was_shown_is_prolonged(backend: Backend) -> None:
    store = backend.workspace()
    for key in "abc":
        await store.aput(PLACE, key, {"k": key}, ttl=10)
    backend.time.goes(6)
    await store.asearch(PLACE, filter={"k": {"$ne": "a"}}, limit=1)
    backend.time.goes(6)

    assert await keys(store.asearch(PLACE)) == ["b"]


async def test_an_expired_item_is_not_brought_back_by_reading(backend: Backend) -> None:
    store = backend.workspace()
    await store.aput(PLACE, "k", {}, ttl=1)
    backend.time.goes(2)
    assert await store.aget(PLACE, "k", refresh_ttl=True) is None
    assert await store.asearch((), refresh_ttl=True) == []
    backend.time.goes(-0.5)

    assert await store.aget(PLACE, "k") is None


async def test_putting_again_sets_or_ends_the_time(backend: Backend) -> None:
    store = backend.workspace()
    for key in ("shorter", "endless", "again"):
        await store.aput(PLACE, key, {}, ttl=10)
    backend.time.goes(9)
    await store.aput(PLACE, "shorter", {}, ttl=1)
    await store.aput(PLACE, "endless", {}, ttl=None)
    await store.aput(PLACE, "again", {}, ttl=10)
    backend.time.goes(2)

    assert await keys(store.asearch(PLACE, refresh_ttl=False)) == ["endless", "again"]


async def test_items_take_the_default_unless_they_say_otherwise(backend: Backend) -> None:
    store = backend.workspace(default_ttl=10)
    await store.aput(PLACE, "default", {})
    await store.aput(PLACE, "longer", {}, ttl=20)
    await store.aput(PLACE, "endless", {}, ttl=None)
    backend.time.goes(15)
    assert await keys(store.asearch(PLACE, refresh_ttl=False)) == ["longer", "endless"]
    backend.time.goes(15)
    assert await keys(store.asearch(PLACE, refresh_ttl=False)) == ["endless"]


async def test_a_sweep_deletes_what_has_expired_with_its_vectors_in_batches(backend: Backend) -> None:
    store = backend.workspace(letters(fields=["t"]))
    for number in range(5):
        await store.aput(PLACE, f"gone {number}", {"t": "a"}, ttl=1 + number)
    await store.aput(PLACE, "kept", {"t": "a"}, ttl=60)
    await store.aput(PLACE, "ever", {"t": "a"})
    backend.time.goes(10)
    opened = await item_store(store)

    assert [await opened.sweep(3) for _ in range(3)] == [3, 2, 0]
    assert await rows(store) == 2
    assert await stored_vectors(store) == [("ever", "t"), ("kept", "t")]


async def test_sweeps_of_several_processes_delete_each_item_once_while_others_read_and_put(backend: Backend) -> None:
    stores = [backend.workspace(letters(fields=["t"])) for _ in range(3)]
    for store in stores:
        store._label = stores[0]._label
    for number in range(60):
        await stores[0].aput(PLACE, f"k{number}", {"t": "abcd"}, ttl=1 if number % 2 else 60)
    backend.time.goes(1)
    opened = [await item_store(store) for store in stores]

    async def use(store: WorkspaceStore, first: int) -> None:
        for number in range(first, 60, 2):
            await store.asearch(PLACE, query="ab", limit=60, refresh_ttl=True)
            await store.aput(PLACE, f"k{number}", {"t": "dcba"}, ttl=60)

    swept = [opened[number % 3].sweep(7) for number in range(12)]
    counts, *_ = await asyncio.gather(asyncio.gather(*swept), use(stores[1], 0), use(stores[2], 0))

    assert sum(counts) == 30
    assert len(await stores[0].asearch(PLACE, limit=100)) == 30
    assert len(await stored_vectors(stores[0])) == 30
