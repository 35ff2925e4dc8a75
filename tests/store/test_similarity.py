"""Search by meaning gives the same items with the same scores on every backend."""

import asyncio
import sqlite3
from typing import Any

import pytest
from langgraph.store.base import PutOp

from platform_site.core.items import embeddings
from platform_site.core.items import sqlite as sqlite_store
from platform_site.core.items.embeddings import EmbeddingFailed
from platform_site.core.items.sqlite import SharedSqliteStore
from platform_site.core.items.store import MOST_TEXTS, NotStorable
from platform_site.core.items.stores import WorkspaceStore
from tests.store.backends import Backend, Letters, item_store, keys, letters, stored_vectors

TEXTS = {"a": "aaa", "ab": "ab", "b": "bb", "abc": "aabbc", "d": "d", "nothing": "xyz"}


async def scored(found: Any) -> list[tuple[str, float]]:
    return [(item.key, item.score) for item in await found]


async def test_an_item_gives_the_model_so_much_and_no_more(backend: Backend) -> None:
    store = backend.workspace(letters())
    for value, paths in (
        ({"x": ["a"] * (MOST_TEXTS + 1)}, ["x[*]"]),
        ({"x": "a" * 1_000_000}, ["{" + "x," * 100 + "x}"]),
        ({"x": "a" * 1_000_000}, ["." * number + "x" for number in range(101)]),
    ):
        with pytest.raises(NotStorable):
            await store.aput(("n",), "k", value, paths)
    await store.aput(("n",), "k", {"x": ["a"] * MOST_TEXTS}, ["x[*]"])

    assert await scored(store.asearch(("n",), query="a")) == [("k", 1.0)]


async def test_the_most_similar_come_first_with_their_scores(backend: Backend) -> None:
    store = backend.workspace(letters(fields=["t"]))
    for key, text in TEXTS.items():
        await store.aput(("n",), key, {"t": text})

    found = await scored(store.asearch(("n",), query="a"))

    assert found == [
        ("a", 1.0),
        ("ab", pytest.approx(0.707107, abs=1e-6)),
        ("abc", pytest.approx(0.666667, abs=1e-6)),
        ("b", 0.0),
        ("d", 0.0),
        # A vector without a length is similar to nothing.
        ("nothing", 0.0),
    ]
    assert await scored(store.asearch(("n",), query="xyz", limit=2)) == [("a", 0.0), ("ab", 0.0)]


async def test_equals_come_in_the_order_of_insertion_and_pages_do_not_overlap(backend: Backend) -> None:
    store = backend.workspace(letters(fields=["t"]))
    for number in range(40):
        await store.aput(("n",), f"k{number}", {"t": "abbcccdddd" if number % 2 else "aab"})

    pages = [await keys(store.asearch(("n",), query="dcba", limit=7, offset=offset)) for offset in range(0, 40, 7)]

    assert [key for page in pages for key in page] == [f"k{number}" for number in (*range(1, 40, 2), *range(0, 40, 2))]


async def test_an_item_counts_once_by_its_most_similar_text(backend: Backend) -> None:
    store = backend.workspace(letters(fields=["parts[*].t", "title"]))
    for key in "xyz":
        await store.aput(("n",), key, {"title": "d", "parts": [{"t": "b"}] * 20 + [{"t": "a" if key == "y" else "ab"}]})

    found = await scored(store.asearch(("n",), query="a", limit=2))

    assert found == [("y", 1.0), ("x", pytest.approx(0.707107, abs=1e-6))]
    assert len(await stored_vectors(store)) == 3 * 22


async def test_only_what_is_below_the_namespace_and_meets_the_filter_is_compared(backend: Backend) -> None:
    stores = backend.stores(letters(fields=["t"]))
    ours, theirs = WorkspaceStore(stores, 901), WorkspaceStore(stores, 90)
    for number in range(200):
        await theirs.aput(("n",), f"{number}", {"t": "a"})
        await ours.aput(("other",), f"{number}", {"t": "a"})
    await ours.aput(("n", "below"), "far", {"t": "abcd", "x": 1})
    await ours.aput(("n",), "farther", {"t": "bcd", "x": 1})
    await ours.aput(("n",), "filtered", {"t": "a", "x": 2})

    assert await keys(ours.asearch(("n",), query="a", filter={"x": 1})) == ["far", "farther"]
    assert await keys(ours.asearch(("n", "below"), query="a")) == ["far"]


async def test_index_says_for_an_item_what_is_embedded(backend: Backend) -> None:
    model = Letters()
    store = backend.workspace(letters(model, fields=["t"]))
    await store.aput(("n",), "by default", {"t": "a", "u": "b"})
    await store.aput(("n",), "other", {"t": "a", "u": "b"}, index=["u"])
    await store.aput(("n",), "not", {"t": "a", "u": "b"}, index=False)
    await store.aput(("n",), "no such field", {"v": "a"})

    assert model.asked == ["a", "b"]
    assert await keys(store.asearch(("n",), query="b")) == ["other", "by default"]
    assert await keys(store.asearch(("n",))) == ["by default", "other", "not", "no such field"]


async def test_without_fields_the_whole_value_is_embedded(backend: Backend) -> None:
    model = Letters()
    store = backend.workspace(letters(model))
    await store.aput(("n",), "k", {"y": 1, "x": "ä"})

    assert model.asked == ['{"x": "ä", "y": 1}']


async def test_no_vector_outlives_its_item(backend: Backend) -> None:
    store = backend.workspace(letters(fields=["t", "u"]))
    for key in ("replaced", "deleted", "unindexed", "kept"):
        await store.aput(("n",), key, {"t": "a", "u": "b"})
    await store.aput(("n",), "replaced", {"u": "b"})
    await store.adelete(("n",), "deleted")
    await store.aput(("n",), "unindexed", {"t": "a"}, index=False)

    assert await stored_vectors(store) == [("kept", "t"), ("kept", "u"), ("replaced", "u")]


async def test_without_an_index_a_query_is_ignored_but_vectors_still_go_with_their_items(backend: Backend) -> None:
    store = backend.workspace(letters(fields=["t"]))
    await store.aput(("n",), "k", {"t": "a"})
    later = backend.workspace()
    later._label = store._label

    assert [(item.key, item.score) for item in await later.asearch(("n",), query="b")] == [("k", None)]
    await later.aput(("n",), "k", {"t": "b"})
    assert await stored_vectors(later) == []


async def test_equal_texts_of_a_batch_are_embedded_once(backend: Backend) -> None:
    model = Letters()
    store = backend.workspace(letters(model, fields=["t"]))
    await store.abatch([PutOp(("n",), f"k{number}", {"t": "ab"[number % 2]}) for number in range(10)])

    assert sorted(model.asked) == ["a", "b"]
    assert await keys(store.asearch(("n",), query="a", limit=3)) == ["k0", "k2", "k4"]


async def test_portions_of_any_size_give_the_same(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "_CHUNK", 3)
    monkeypatch.setattr(sqlite_store, "_MOST_PARAMETERS", 2)
    store = backend.workspace(letters(fields=["parts[*]"]))
    for number in range(10):
        await store.aput(("n",), f"k{number}", {"parts": ["b", "a" * number + "b", "c", "ab", "d"]})

    found = await keys(store.asearch(("n",), query="a", limit=10))

    # The first two have no text with more of an `a` than "ab".
    assert found == [*(f"k{number}" for number in range(9, 1, -1)), "k0", "k1"]


class Faulty(Letters):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    async def aembed_documents(self, texts: list[str]) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aembed_query(self, text: str) -> Any:
        return (await self.aembed_documents([text]))[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[1.0, 2.0]], r"vector of 2 numbers, but `store\.index\.dims` is 4"),
        ([[1.0] * 5], "vector of 5 numbers"),
        ([], "made 0 vectors of 1 texts"),
        ([[1.0, 2.0, 3.0, float("nan")]], "not finite"),
        ([[1.0, 2.0, 3.0, 1e39]], "not finite"),
        ([None], "no list of numbers"),
        ([["a", "b", "c", "d"]], "no list of numbers"),
        (OSError("no network"), "OSError: no network"),
    ],
)
async def test_what_a_model_does_wrong_is_said_and_nothing_is_stored(
    backend: Backend, answer: Any, message: str
) -> None:
    store = backend.workspace(letters(Faulty(answer)))

    with pytest.raises(EmbeddingFailed, match=message):
        await store.aput(("n",), "k", {"t": "a"})
    assert await store.aget(("n",), "k") is None


async def test_a_model_that_does_not_answer_is_given_up(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Letters):
        async def aembed_documents(self, texts: list[str]) -> Any:
            await asyncio.Event().wait()

    monkeypatch.setattr(embeddings, "EMBED_SECONDS", 0.01)
    store = backend.workspace(letters(Silent()))

    with pytest.raises(EmbeddingFailed, match="did not answer in time"):
        await store.aput(("n",), "k", {"t": "a"})


async def test_the_backends_are_those_that_the_tests_mean(backend: Backend) -> None:
    opened = await item_store(backend.workspace(letters()))

    if backend.kind == "postgres":
        assert not isinstance(opened, SharedSqliteStore)
    else:
        assert isinstance(opened, SharedSqliteStore)
        expected = backend.kind == "sqlite-vec" or hasattr(sqlite3.Connection, "enable_load_extension")
        assert opened.has_extension is expected
