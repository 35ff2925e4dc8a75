"""Every method of the store client with all of its parameters, and what each of them does."""

from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk.errors import APIStatusError

from tests.client.sdk.covering import every_parameter


@pytest.fixture
def place() -> list[str]:
    """A namespace of the test's own."""
    return ["sdk", uuid4().hex]


async def test_put_item(sdk: Any, client: Any, place: list[str]) -> None:
    with every_parameter(sdk.store.put_item) as put:
        await put(namespace=place, key="k", value={"x": 1}, index=["x"], ttl=60)
        await put(namespace=place, key="k", value={"x": 2}, index=False, ttl=None)
    found = await client.store.get_item(place, "k")
    assert (found["namespace"], found["key"], found["value"]) == (place, "k", {"x": 2})
    with pytest.raises(APIStatusError, match="namespace"):
        await put(namespace=["langgraph"], key="k", value={})


async def test_get_item(sdk: Any, client: Any, place: list[str]) -> None:
    await client.store.put_item(place, "k", {"x": 1})
    with every_parameter(sdk.store.get_item) as get:
        found = await get(namespace=place, key="k", refresh_ttl=False)
        absent = await get(namespace=place, key="zz")
    assert set(found) == {"namespace", "key", "value", "created_at", "updated_at"}
    assert absent is None


async def test_delete_item(sdk: Any, client: Any, place: list[str]) -> None:
    await client.store.put_item(place, "k", {"x": 1})
    with every_parameter(sdk.store.delete_item) as delete:
        await delete(namespace=place, key="k")
        await delete(namespace=place, key="k")
    assert await client.store.get_item(place, "k") is None


async def test_search_items(sdk: Any, client: Any, place: list[str]) -> None:
    for number in range(4):
        await client.store.put_item([*place, "below"], f"k{number}", {"x": number})
    with every_parameter(sdk.store.search_items) as search:
        found = await search(namespace_prefix=place, filter={"x": {"$gte": 1}}, limit=2, offset=1, refresh_ttl=True)
        unscored = await search(namespace_prefix=place, query="without an index it is ignored")
    assert [item["key"] for item in found["items"]] == ["k2", "k3"]
    assert [item["score"] for item in unscored["items"]] == [None] * 4


async def test_list_namespaces(sdk: Any, client: Any, place: list[str]) -> None:
    for label in ("a", "b", "c"):
        await client.store.put_item([*place, label, "end"], "k", {})
    with every_parameter(sdk.store.list_namespaces) as listed:
        ends = await listed(prefix=["*", place[1]], suffix=["end"], limit=2, offset=1)
        tops = await listed(prefix=place, max_depth=2)
    assert ends == {"namespaces": [[*place, "b", "end"], [*place, "c", "end"]]}
    assert tops == {"namespaces": [place]}
