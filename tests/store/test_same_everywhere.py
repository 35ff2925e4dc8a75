"""What a store means is the same on every backend: filters, order, namespaces, odd names."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from langgraph.store.base import InvalidNamespaceError, PutOp

from platform_site.core.items.filters import UnsupportedOperator
from platform_site.core.items.store import LONGEST_NAME_BYTES, NotStorable
from platform_site.core.items.stores import WorkspaceStore
from tests.store.backends import Backend, keys

ITEMS: dict[str, Any] = {
    "one": {"x": 1, "t": "a", "n": {"d": 2, "e": 3}, "l": [1, 2], "yes": True},
    "two": {"x": 2.5, "t": "B", "n": {"d": 2}, "l": [1], "yes": False},
    "text": {"x": "10", "t": "ä", "a.b": 1, "it's": "'quoted'", 'say "x"': 1, "$odd": 1, "%": "%", "": 1},
    "null": {"x": None, "t": "aa"},
    "none": {},
    "large": {"x": 1e30, "big": 9007199254740993, "t": "\U0001f600"},
}
FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, list(ITEMS)),
    ({"x": 1}, ["one"]),
    ({"x": 1.0}, ["one"]),
    ({"x": "1"}, []),
    ({"x": True}, []),
    ({"yes": True}, ["one"]),
    ({"yes": 1}, []),
    ({"yes": {"$eq": False}}, ["two"]),
    ({"x": None}, ["null", "none"]),
    ({"x": {"$eq": 2.5}}, ["two"]),
    ({"x": {"$ne": 1}}, ["two", "text", "null", "none", "large"]),
    ({"x": {"$ne": None}}, ["one", "two", "text", "large"]),
    ({"x": {"$gt": 1}}, ["two", "large"]),
    ({"x": {"$gte": 1, "$lt": 3}}, ["one", "two"]),
    ({"x": {"$lte": 2.5}}, ["one", "two"]),
    # Text is not compared with numbers, and by code points with other text.
    ({"x": {"$gt": "0"}}, ["text"]),
    ({"x": {"$lt": 100}}, ["one", "two"]),
    ({"t": {"$gt": "a"}}, ["text", "null", "large"]),
    ({"t": {"$lt": "a"}}, ["two"]),
    ({"t": {"$gte": "\uffff"}}, ["large"]),
    ({"yes": {"$gt": False}}, []),
    ({"x": {"$gt": None}}, []),
    ({"x": {"$gt": [1]}}, []),
    ({"big": 9007199254740993}, ["large"]),
    ({"big": 9007199254740992}, []),
    ({"big": {"$gt": 9007199254740992}}, ["large"]),
    ({"x": 1e30}, ["large"]),
    # Objects and lists are compared whole.
    ({"n": {"d": 2}}, ["two"]),
    ({"n": {"d": 2, "e": 3}}, ["one"]),
    ({"n": {"e": 3, "d": 2}}, ["one"]),
    ({"n": {"$eq": {"d": 2}}}, ["two"]),
    ({"n": {}}, []),
    ({"l": [1, 2]}, ["one"]),
    ({"l": [2, 1]}, []),
    ({"l": {"$ne": [1]}}, ["one", "text", "null", "none", "large"]),
    ({"x": 1, "t": "a"}, ["one"]),
    ({"x": 1, "t": "B"}, []),
    # Keys and values are no part of any language.
    ({"a.b": 1}, ["text"]),
    ({"n.d": 2}, []),
    ({"it's": "'quoted'"}, ["text"]),
    ({'say "x"': 1}, ["text"]),
    ({"$odd": 1}, ["text"]),
    ({"%": "%"}, ["text"]),
    ({"": 1}, ["text"]),
    ({"') OR 1=1 --": 1}, []),
    ({"x": "' OR '1'='1"}, []),
    ({"x": {"$eq": "?%s$1"}}, []),
    ({"l[0]": 1}, []),
    ({"$.x": 1}, []),
]


async def put_all(store: WorkspaceStore, items: dict[str, Any] = ITEMS) -> None:
    for key, value in items.items():
        await store.aput(("items",), key, value)


async def test_filters(store: WorkspaceStore) -> None:
    await put_all(store)

    found = [(wanted, await keys(store.asearch((), filter=wanted, limit=100))) for wanted, _ in FILTERS]

    assert found == FILTERS


async def test_values_come_back_as_they_were(store: WorkspaceStore) -> None:
    await put_all(store)

    for key, value in ITEMS.items():
        item = await store.aget(("items",), key)
        assert item is not None
        assert item.value == value
        assert [type(part) for part in item.value.values()] == [type(value[name]) for name in item.value]


@pytest.mark.parametrize("operators", [{"$in": [1]}, {"$gt": 1, "$nope": 1}, {"$eq": 1, "d": 2}])
async def test_an_unknown_operator_is_an_error_only_when_there_is_something_to_compare(
    store: WorkspaceStore, operators: dict[str, Any]
) -> None:
    assert await store.asearch(("items",), filter={"x": operators}) == []
    await put_all(store)
    with pytest.raises(UnsupportedOperator, match="Unsupported operator: "):
        await store.asearch(("items",), filter={"x": operators})


async def test_items_come_in_the_order_of_insertion(store: WorkspaceStore) -> None:
    for number, key in enumerate("zaydbx"):
        await store.aput(("z" if number % 2 else "a",), key, {})
    await store.aput(("z",), "a", {"again": True})

    assert await keys(store.asearch(())) == list("zydbxa")
    assert await keys(store.asearch((), limit=2, offset=3)) == list("bx")


async def test_items_of_one_batch_come_in_its_order_and_the_last_of_a_name_counts(store: WorkspaceStore) -> None:
    names = ("n",)
    await store.abatch([PutOp(names, key, {"n": n}) for n, key in enumerate(["c", "a", "b", "a"])])

    found = await store.asearch(names)

    assert [(item.key, item.value["n"]) for item in found] == [("c", 0), ("b", 2), ("a", 3)]


async def test_put_again_an_item_is_new(backend: Backend, store: WorkspaceStore) -> None:
    await store.aput(("n",), "k", {"x": 1})
    first = await store.aget(("n",), "k")
    backend.time.goes(1)
    await store.aput(("n",), "k", {"y": 2})
    second = await store.aget(("n",), "k")

    assert first is not None
    assert second is not None
    assert second.value == {"y": 2}
    assert second.created_at == second.updated_at == backend.time.now
    assert second.created_at - first.created_at == timedelta(minutes=1)


PLACES = [
    ("user", "1"),
    ("user", "1", "notes"),
    ("user", "10"),
    ("User", "1"),
    ("user_", "1"),
    ("userX", "1"),
    ("us%", "1"),
    ("us*r", "[a-z]"),
    ("user-1",),
    ("user/1",),
    ("user", "*"),
    ("'; DROP TABLE store; --", 'q"uo"te'),
    ("line\nbreak", "tab\t"),
    ("\\", "^$|()"),
    ("ünï", "日本"),
    ("\x01",),
]


async def test_a_prefix_is_whole_labels_and_nothing_else(store: WorkspaceStore) -> None:
    for place in PLACES:
        await store.aput(place, "k", {})

    for prefix in {place[:depth] for place in PLACES for depth in (0, 1, 2)}:
        expected = [place for place in PLACES if place[: len(prefix)] == prefix]
        assert [item.namespace for item in await store.asearch(prefix, limit=100)] == expected, prefix
        if "*" not in prefix:
            assert await store.alist_namespaces(prefix=prefix) == sorted(expected), prefix


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"prefix": ("*", "1")}, lambda place: place[1:2] == ("1",)),
        ({"prefix": ("user", "*")}, lambda place: place[0] == "user"),
        ({"prefix": ("user", "*", "notes")}, lambda place: place == ("user", "1", "notes")),
        ({"suffix": ("1",)}, lambda place: place[-1] == "1"),
        ({"suffix": ("*", "1")}, lambda place: place[-1] == "1" and len(place) == 2),
        ({"suffix": ("user", "*")}, lambda place: place[0] == "user" and len(place) == 2),
        ({"suffix": ("^$|()",)}, lambda place: place[-1] == "^$|()"),
        ({"suffix": ("tab\t",)}, lambda place: place[-1] == "tab\t"),
        ({"suffix": ("日本",)}, lambda place: place[-1] == "日本"),
        ({"prefix": ("user",), "suffix": ("notes",)}, lambda place: place[-1] == "notes"),
        ({"prefix": ("nobody",)}, lambda place: False),
    ],
)
async def test_labels_are_matched_one_by_one(store: WorkspaceStore, conditions: Any, expected: Any) -> None:
    for place in PLACES:
        await store.aput(place, "k", {})

    assert await store.alist_namespaces(**conditions) == sorted(filter(expected, PLACES))


async def test_namespaces_are_sorted_label_by_label_and_cut_at_a_depth_once(store: WorkspaceStore) -> None:
    for place in (("a", "c"), ("a-b",), ("a", "b", "x"), ("a", "b", "y"), ("a",), ("B",)):
        await store.aput(place, "k", {})

    assert await store.alist_namespaces() == [("B",), ("a",), ("a", "b", "x"), ("a", "b", "y"), ("a", "c"), ("a-b",)]
    assert await store.alist_namespaces(max_depth=2) == [("B",), ("a",), ("a", "b"), ("a", "c"), ("a-b",)]
    assert await store.alist_namespaces(max_depth=1) == [("B",), ("a",), ("a-b",)]
    assert await store.alist_namespaces(max_depth=1, limit=1, offset=1) == [("a",)]


async def test_an_emptied_namespace_is_gone(store: WorkspaceStore) -> None:
    await store.aput(("a", "b"), "k", {})
    await store.adelete(("a", "b"), "k")

    assert await store.alist_namespaces() == []


@pytest.mark.parametrize("key", ["", " ", "a.b", "'", '"', "%", "_", "*", "k\n", "日本", "?", "$1", "\\"])
async def test_keys_are_any_text(store: WorkspaceStore, key: str) -> None:
    await store.aput(("n",), key, {"x": 1})
    await store.aput(("n",), f"{key}x", {"x": 2})
    found = await store.aget(("n",), key)
    await store.adelete(("n",), key)

    assert found is not None
    assert (found.key, found.value) == (key, {"x": 1})
    assert await store.aget(("n",), key) is None
    assert await store.aget(("n",), f"{key}x") is not None


async def test_what_cannot_be_kept_is_refused(store: WorkspaceStore) -> None:
    for key, value in (("a\x00", {}), ("k", {"a": "b\x00"}), ("k", {"a\x00": 1}), ("k" * LONGEST_NAME_BYTES, {})):
        with pytest.raises(NotStorable):
            await store.aput(("n",), key, value)
    with pytest.raises(NotStorable):
        await store.asearch((), filter={"x": "\x00"})
    for minutes in (0, -1, 1e300, float("nan")):
        with pytest.raises(NotStorable):
            await store.aput(("n",), "k", {}, ttl=minutes)
    assert await store.aget(("n",), "a\x00") is None
    await store.adelete(("n",), "a\x00")
    assert await store.asearch(()) == []


async def test_the_longest_names_are_kept(store: WorkspaceStore) -> None:
    # What PostgreSQL cannot compress.
    letters = "".join(chr(0x4E00 + number * 37 % 20_000) for number in range(LONGEST_NAME_BYTES // 3 - 3))
    await store.aput(("n",), letters, {"x": 1})

    assert await store.aget(("n",), letters) is not None


async def test_a_batch_cannot_name_what_a_call_cannot(store: WorkspaceStore) -> None:
    for namespace in (("a.b",), ("",), ("a", "")):
        with pytest.raises(InvalidNamespaceError):
            await store.abatch([PutOp(namespace, "k", {})])


async def test_large_and_deep_values_are_kept(store: WorkspaceStore) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    await store.aput(("n",), "deep", {"x": deep})
    await store.aput(("n",), "large", {"x": "ä" * 5_000_000})

    found = {item.key: item.value for item in await store.asearch(("n",))}

    assert found["deep"] == {"x": deep}
    assert len(found["large"]["x"]) == 5_000_000
    assert await keys(store.asearch(("n",), filter={"x": deep})) == ["deep"]


async def test_what_no_list_of_items_could_show_is_refused(store: WorkspaceStore) -> None:
    deep: Any = 1
    for _ in range(252):
        deep = [deep]
    with pytest.raises(RecursionError):
        await store.aput(("n",), "deep", {"x": deep})

    assert await store.asearch(()) == []


async def test_questions_of_any_length_are_answered(store: WorkspaceStore) -> None:
    await store.aput(("a",), "k", {"x": 1})
    long = ("a",) * 100_000

    assert await store.alist_namespaces(prefix=("*", *long)) == []
    assert await store.alist_namespaces(suffix=long) == []
    assert await store.alist_namespaces(max_depth=2**31 - 1) == [("a",)]
    assert await store.asearch(long) == []
    assert await keys(store.asearch((), filter={"x": {"$lt": 2}} | {str(number): None for number in range(999)})) == [
        "k"
    ]
    with pytest.raises(NotStorable):
        await store.asearch((), filter={str(number): None for number in range(40_000)})


async def test_batches_in_opposite_orders_do_not_wait_for_each_other_for_ever(backend: Backend) -> None:
    stores = [backend.workspace() for _ in range(2)]
    stores[1]._label = stores[0]._label
    names = [f"k{number}" for number in range(20)]
    await asyncio.gather(
        *(
            stores[turn % 2].abatch([PutOp(("n",), key, {"t": turn}) for key in names[:: 1 - turn % 2 * 2]])
            for turn in range(20)
        )
    )

    found = await stores[0].asearch((), limit=100)
    assert sorted(item.key for item in found) == sorted(names)
    # Each batch was written as one.
    assert len({item.value["t"] for item in found}) == 1
