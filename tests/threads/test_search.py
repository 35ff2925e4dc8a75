"""POST /threads/search and /threads/count"""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from platform_site.core.database.access import IS_POSTGRES, in_db
from tests.api_client import ApiClient
from tests.threads.conftest import Make
from threads import search
from threads.models import Thread

BIG = 1234567890123456789
sqlite_only = pytest.mark.skipif(IS_POSTGRES, reason="PostgreSQL has an index of its own")


async def found(api: ApiClient, **query: Any) -> list[Any]:
    answer = await api.post("/threads/search", json={"sort_by": "created_at", "sort_order": "asc", **query})
    assert answer.status_code == 200, answer.text
    rows: list[Any] = answer.json()
    return rows


async def ids(api: ApiClient, **query: Any) -> list[str]:
    return [row["thread_id"] for row in await found(api, **query)]


# --- containment: what PostgreSQL's `@>` says -------------------------------------------------------

CASES: list[tuple[Any, Any, bool]] = [
    ({"a": 1}, {}, True),
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": 1}, {"a": 1, "b": 2}, False),
    ({"a": 1}, {"a": "1"}, False),
    ({"a": "1"}, {"a": 1}, False),
    ({"a": 1}, {"a": 1.0}, True),
    ({"a": 1.0}, {"a": 1}, True),
    ({"a": 100}, {"a": 1e2}, True),
    ({"a": 0.1}, {"a": 0.1}, True),
    ({"a": 0.1}, {"a": 0.2}, False),
    ({"a": 0.1234567890123456}, {"a": 0.1234567890123457}, False),
    ({"a": BIG}, {"a": BIG}, True),
    ({"a": BIG}, {"a": BIG + 1}, False),
    ({"a": -5}, {"a": -5}, True),
    ({"a": 1}, {"a": True}, False),
    ({"a": True}, {"a": True}, True),
    ({"a": True}, {"a": False}, False),
    ({"a": False}, {"a": 0}, False),
    ({"a": True}, {"a": "true"}, False),
    ({"a": None}, {"a": None}, True),
    ({}, {"a": None}, False),
    ({"a": "null"}, {"a": None}, False),
    ({"a": ""}, {"a": ""}, True),
    ({"a": "x"}, {"a": "X"}, False),
    ({"a": "näïve ☃"}, {"a": "näïve ☃"}, True),
    ({"a": 'it\'s "quoted" % _ \\'}, {"a": 'it\'s "quoted" % _ \\'}, True),
    ({"": 1}, {"": 1}, True),
    ({"a.b": 1}, {"a.b": 1}, True),
    ({"a.b": 1}, {"a": {"b": 1}}, False),
    ({"it's": 1}, {"it's": 1}, True),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
    ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, False),
    ({"a": {"b": {"c": "1"}}}, {"a": {"b": {"c": 1}}}, False),
    ({"a": {}}, {"a": {}}, True),
    ({"a": []}, {"a": {}}, False),
    ({"a": [1, 2, 3]}, {"a": [3, 1]}, True),
    ({"a": [1, 2, 3]}, {"a": [1, 1]}, True),
    ({"a": [1, 2]}, {"a": [4]}, False),
    ({"a": [1, 2]}, {"a": 1}, False),
    ({"a": 1}, {"a": [1]}, False),
    ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
    ({"a": [[1, 2], [3]]}, {"a": [[1]]}, True),
    ({"a": [1]}, {"a": []}, True),
    ({"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 2}}, False),
    # What looks like a pattern is text, within lists and objects too.
    ({"a": ["*", "[x]", "?"]}, {"a": ["[x]", "?", "*"]}, True),
    ({"a": {"b": "abc"}}, {"a": {"b": "a*"}}, False),
    ({"a": {"b": "abc"}}, {"a": {"b": "a?c"}}, False),
    ({"a": {"b": "abc"}}, {"a": {"b": "[a]bc"}}, False),
    ({"a": {"[k*]?": 1}}, {"a": {"[k*]?": 1}}, True),
    # Equal numbers may be written in many ways.
    ({"a": {"b": 0}}, {"a": {"b": -0.0}}, True),
    ({"a": [0.0]}, {"a": [0]}, True),
    ({"a": [100]}, {"a": [1e2]}, True),
    ({"a": [1e20]}, {"a": [10**19 * 10.0]}, True),
    ({"a": [12]}, {"a": [1]}, False),
    ({"a": {"b": "x" * 500}}, {"a": {"b": "x" * 500}}, True),
    ({"a": {"b": "x" * 500}}, {"a": {"b": "x" * 499}}, False),
]


@pytest.mark.parametrize(("metadata", "query", "expected"), CASES, ids=lambda value: str(value)[:40])
async def test_containment(api: ApiClient, make: Make, metadata: Any, query: Any, expected: bool) -> None:
    thread = await make(metadata=metadata)
    await in_db(lambda: Thread.objects.update(values=metadata))
    wanted = [thread["thread_id"]] if expected else []
    assert await ids(api, metadata=query) == wanted
    assert await ids(api, values=query) == wanted
    assert (await api.post("/threads/count", json={"metadata": query})).json() == len(wanted)


async def test_threads_without_values_hold_nothing(api: ApiClient, make: Make) -> None:
    await make()
    assert await ids(api, values={"a": 1}) == []


@pytest.mark.skipif(IS_POSTGRES, reason="PostgreSQL stores no NUL")
async def test_a_filter_of_many_keys(api: ApiClient, make: Make) -> None:
    many = {str(number): number for number in range(1500)}
    thread = await make(metadata=many)
    await make(metadata={**many, "1499": 0})
    assert await ids(api, metadata=many) == [thread["thread_id"]]
    assert await ids(api, metadata={**many, "x": 1}) == []
    assert await ids(api, values=many) == []
    for path in ("/threads/search", "/threads/count", "/assistants/search", "/runs/crons/search", "/runs/crons/count"):
        answer = await api.post(path, json={"metadata": {"a": "x" * 100_000}})
        assert (answer.status_code, "at most" in answer.text) == (422, True)


async def test_text_counts_to_its_end(api: ApiClient, make: Make) -> None:
    await make(metadata={"a": "x\x00y"})
    assert await ids(api, metadata={"a": "x\x00z"}) == []


@sqlite_only
@pytest.mark.parametrize("column", ["status", "created_at", "updated_at", "state_updated_at"])
async def test_an_order_is_read_from_its_index(make: Make, column: str) -> None:
    """Nothing is sorted but what stands together in the index: with 100,000 threads that would take long."""
    await make()

    def plan() -> list[str]:
        where = search.where_threads(1)
        table = search.searched_table(where, column)
        order = search.order_by(column, "desc")
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE {where} ORDER BY {order}", where.params)
            return [row[3] for row in cursor.fetchall()]

    steps = await in_db(plan)
    assert "USING INDEX" in steps[0]
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps


# --- the index of terms on SQLite --------------------------------------------------------------------


def terms() -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, value FROM threads_metadata_term")
        return set(cursor.fetchall())


@sqlite_only
def test_terms_are_kept_over_insert_update_and_delete(principal: Any) -> None:
    thread = Thread.objects.create(workspace_id=principal.workspace_id, metadata={"a": "1", "b": {"c": 1}, "d": None})
    assert terms() == {("a", "t1"), ("d", "null")}
    thread.metadata = {"a": "2"}
    thread.save()
    assert terms() == {("a", "t2")}
    Thread.objects.filter(pk=thread.pk).update(title="x")
    assert terms() == {("a", "t2")}
    thread.delete()
    assert terms() == set()


@sqlite_only
def test_terms_tell_types_apart(principal: Any) -> None:
    metadata = {"text": "1", "number": 1, "float": 1.0, "true": True, "word": "true"}
    Thread.objects.create(workspace_id=principal.workspace_id, metadata=metadata)
    by_key = dict(terms())
    assert by_key["number"] == by_key["float"]
    assert by_key["text"] != by_key["number"]
    assert by_key["true"] != by_key["word"]


@sqlite_only
async def test_filter_that_matches_too_many_to_collect(
    api: ApiClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "COLLECT_LIMIT", 3)
    made = [(await make(metadata={"team": "a", "n": n}))["thread_id"] for n in range(5)]
    await make(metadata={"team": "b"})
    assert await ids(api, metadata={"team": "a"}) == made
    assert await ids(api, metadata={"team": "a", "n": 3}) == [made[3]]
    assert (await api.post("/threads/count", json={"metadata": {"team": "a"}})).json() == 5


# --- other filters -----------------------------------------------------------------------------------


async def test_status(api: ApiClient, make: Make) -> None:
    await make()
    busy = await make()
    await in_db(lambda: Thread.objects.filter(pk=busy["thread_id"]).update(status="busy"))
    assert await ids(api, status="busy") == [busy["thread_id"]]


async def test_ids(api: ApiClient, make: Make) -> None:
    made = [(await make())["thread_id"] for _ in range(3)]
    assert await ids(api, ids=[made[2], made[0], str(uuid4())]) == [made[0], made[2]]
    assert await ids(api, ids=[]) == []


async def test_many_ids(api: ApiClient, make: Make) -> None:
    made = (await make())["thread_id"]
    assert await ids(api, ids=[*(str(uuid4()) for _ in range(70_000)), made]) == [made]


async def test_bad_id(api: ApiClient) -> None:
    answer = await api.post("/threads/search", json={"ids": ["bad"]})
    assert (answer.status_code, answer.json()["detail"]) == (400, "Invalid thread ID bad")


async def test_filters_are_joined_by_and(api: ApiClient, make: Make) -> None:
    first, second = await make(metadata={"a": 1}), await make(metadata={"a": 1})
    await in_db(lambda: Thread.objects.filter(pk=second["thread_id"]).update(values={"x": 1}))
    assert await ids(api, metadata={"a": 1}, values={"x": 1}) == [second["thread_id"]]
    assert await ids(api, metadata={"a": 1}, ids=[first["thread_id"]], status="idle") == [first["thread_id"]]


async def test_threads_of_other_workspaces_are_not_found(api: ApiClient, make: Make) -> None:
    from platform_site.access.models import Workspace

    def elsewhere() -> None:
        other = Workspace.objects.create(slug="other", name="Other")
        Thread.objects.create(workspace=other, metadata={"a": 1})

    await in_db(elsewhere)
    assert await ids(api) == []
    assert await ids(api, metadata={"a": 1}) == []
    assert (await api.post("/threads/count", json={})).json() == 0


# --- order, pages, columns ---------------------------------------------------------------------------


async def test_most_recently_updated_first(api: ApiClient, make: Make) -> None:
    made = [(await make())["thread_id"] for _ in range(3)]
    await api.patch(f"/threads/{made[0]}", json={"metadata": {"a": 1}})
    rows = (await api.post("/threads/search", json={})).json()
    assert [row["thread_id"] for row in rows] == [made[0], made[2], made[1]]


@pytest.mark.parametrize("column", ["thread_id", "created_at", "updated_at", "state_updated_at"])
async def test_sort(api: ApiClient, make: Make, column: str) -> None:
    made = [(await make())["thread_id"] for _ in range(3)]
    assert await ids(api, sort_by=column, sort_order="asc") == made
    assert await ids(api, sort_by=column, sort_order="desc") == made[::-1]


async def test_sort_by_status(api: ApiClient, make: Make) -> None:
    """Within a status the order is that of the updates, backwards when the whole order is."""
    made = [(await make())["thread_id"] for _ in range(4)]
    await in_db(lambda: Thread.objects.filter(pk__in=made[1:3]).update(status="error"))
    assert await ids(api, sort_by="status", sort_order="asc") == [made[2], made[1], made[3], made[0]]
    assert await ids(api, sort_by="status", sort_order="desc") == [made[0], made[3], made[1], made[2]]


@pytest.mark.parametrize("column", ["thread_id", "status", "created_at", "updated_at", "state_updated_at"])
@pytest.mark.parametrize("limit", [2, 1000], ids=["many", "few"])
async def test_every_order_with_every_filter(
    api: ApiClient, make: Make, monkeypatch: pytest.MonkeyPatch, column: str, limit: int
) -> None:
    """What is found does not depend on whether it is few, and so collected, or many, and so walked to."""
    monkeypatch.setattr(search, "COLLECT_LIMIT", limit)
    made = {(await make(metadata={"a": 1, "b": {"c": "x"}}))["thread_id"] for _ in range(4)}
    await make(metadata={"a": 2, "b": {"c": "y"}})
    await in_db(lambda: Thread.objects.filter(pk__in=made).update(values={"v": [1]}, status="error"))
    for query in ({"metadata": {"a": 1}}, {"metadata": {"b": {"c": "x"}}}, {"values": {"v": [1]}}, {"status": "error"}):
        assert set(await ids(api, sort_by=column, **query)) == made
        assert (await api.post("/threads/count", json=query)).json() == 4
    together = {"metadata": {"a": 1, "b": {"c": "x"}}, "values": {"v": [1]}, "status": "error"}
    assert set(await ids(api, sort_by=column, sort_order="desc", **together)) == made


async def test_pages_say_what_follows(api: ApiClient, make: Make) -> None:
    made = [(await make())["thread_id"] for _ in range(5)]

    async def page(**query: Any) -> tuple[list[str], str | None, str | None]:
        body = {"sort_by": "created_at", "sort_order": "asc", **query}
        answer = await api.post("/threads/search", json=body)
        headers = answer.headers.get("x-pagination-total"), answer.headers.get("x-pagination-next")
        return [row["thread_id"] for row in answer.json()], *headers

    assert await page(limit=2) == (made[:2], "3", "2")
    assert await page(limit=2, offset=3) == (made[3:], "5", None)
    assert await page(limit=5) == (made, "5", None)
    assert await page(offset=5) == ([], "5", None)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"limit": 0}, "0 is less than the minimum of 1"),
        ({"limit": 1001}, "1001 is greater than the maximum of 1000"),
        ({"offset": -1}, "-1 is less than the minimum of 0"),
        ({"offset": 2**63}, ""),
        ({"status": "x"}, '"x" is not one of'),
        ({"sort_by": "values"}, '"values" is not one of'),
        ({"sort_order": "up"}, '"up" is not one of "asc" or "desc"'),
        ({"select": ["ttl"]}, '"ttl" is not one of'),
        ({"metadata": []}, '[] is not of type "object"'),
        ({"extract": {"x": "zzz.count"}}, "Extract path 'zzz.count' must start with one of: config, interrupts"),
        ({"extract": {str(n): "values.x" for n in range(11)}}, "At most 10"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_bad_queries(api: ApiClient, query: dict[str, Any], detail: str) -> None:
    answer = await api.post("/threads/search", json=query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"].startswith(detail)


async def test_offset_beyond_everything(api: ApiClient, make: Make) -> None:
    await make()
    assert await ids(api, offset=2**31 - 1) == []


async def test_select(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"a": 1})
    assert await found(api, select=["metadata", "thread_id"]) == [
        {"metadata": {"a": 1}, "thread_id": thread["thread_id"]}
    ]


async def test_extract(api: ApiClient, make: Make) -> None:
    await make(metadata={"a": {"b": 1}})
    await in_db(lambda: Thread.objects.update(values={"log": [1, 2, 3]}))
    paths = {"last": "values.log[-1]", "deep": "metadata.a.b", "none": "values.x.y", "far": "values.log[9]"}
    [row] = await found(api, extract=paths, select=["status"])
    assert row == {"status": "idle", "extracted": {"last": 3, "deep": 1, "none": None, "far": None}}
