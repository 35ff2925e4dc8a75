"""POST /assistants/search and POST /assistants/count"""

from typing import Any

import pytest

from assistants.schemas import COLUMNS
from tests.api_client import ApiClient
from tests.assistants.conftest import Make


async def names(api: ApiClient, **query: Any) -> list[str]:
    answer = await api.post("/assistants/search", json=query)
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()]


@pytest.fixture
async def three(make: Make) -> list[dict[str, Any]]:
    return [
        await make(name="Billing", graph_id="chat", metadata={"team": "a", "tags": ["x", "y"]}),
        await make(name="Refunds", graph_id="approval", metadata={"team": "b", "n": 1}),
        await make(name="bill splitter", graph_id="slow", metadata={"team": "a", "deep": {"er": True}}),
    ]


async def test_newest_first(api: ApiClient, three: list[dict[str, Any]]) -> None:
    assert (await api.post("/assistants/search", json={})).json() == three[::-1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"name": "BILL"}, ["bill splitter", "Billing"]),
        ({"name": "b_ll"}, []),
        ({"name": "%"}, []),
        ({"graph_id": "approval"}, ["Refunds"]),
        ({"metadata": {"team": "a"}}, ["bill splitter", "Billing"]),
        ({"metadata": {"tags": ["y"]}}, ["Billing"]),
        ({"metadata": {"deep": {"er": True}}}, ["bill splitter"]),
        ({"metadata": {"n": "1"}}, []),
        ({"metadata": {"n": 1}}, ["Refunds"]),
        ({"metadata": {}}, ["bill splitter", "Refunds", "Billing"]),
        ({"metadata": {"team": "a"}, "graph_id": "chat", "name": "bill"}, ["Billing"]),
    ],
)
async def test_filters(api: ApiClient, three: Any, query: dict[str, Any], expected: list[str]) -> None:
    assert await names(api, **query) == expected
    answer = await api.post("/assistants/count", json=query)
    assert (answer.status_code, answer.json()) == (200, len(expected))


@pytest.mark.parametrize(("name", "found"), [("ärzte", 1), ("ÄRZ", 1), ("(ä", 1), ("ä.z", 0), ("ü", 0)])
async def test_case_of_any_letter_is_ignored(api: ApiClient, make: Make, name: str, found: int) -> None:
    await make(name="Die (Ärzte)")
    assert len(await names(api, name=name)) == found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"sort_by": "graph_id", "sort_order": "asc"}, ["Refunds", "Billing", "bill splitter"]),
        ({"sort_by": "graph_id"}, ["bill splitter", "Billing", "Refunds"]),
        ({"sort_by": "created_at", "sort_order": "asc"}, ["Billing", "Refunds", "bill splitter"]),
    ],
)
async def test_sorting(api: ApiClient, three: Any, query: dict[str, Any], expected: list[str]) -> None:
    assert await names(api, **query) == expected


async def test_sorting_by_change(api: ApiClient, three: list[dict[str, Any]]) -> None:
    await api.patch(f"/assistants/{three[0]['assistant_id']}", json={})
    assert (await names(api, sort_by="updated_at"))[0] == "Billing"


async def test_select_gives_only_the_listed_columns(api: ApiClient, three: Any) -> None:
    answer = await api.post("/assistants/search", json={"select": ["name", "version"], "limit": 1})
    assert answer.json() == [{"name": "bill splitter", "version": 1}]


@pytest.mark.parametrize("column", COLUMNS)
async def test_every_column_can_be_selected(api: ApiClient, three: list[dict[str, Any]], column: str) -> None:
    answer = await api.post("/assistants/search", json={"select": [column], "limit": 1})
    assert answer.json() == [{column: three[2][column]}]


@pytest.mark.parametrize(
    ("limit", "offset", "total", "following"),
    [(2, 0, "3", "2"), (2, 2, "3", None), (3, 0, "3", None), (1, 1, "3", "2"), (1, 0, "2", "1"), (10, 5, "5", None)],
)
async def test_pages(api: ApiClient, three: Any, limit: int, offset: int, total: str, following: str | None) -> None:
    answer = await api.post("/assistants/search", json={"limit": limit, "offset": offset})
    assert len(answer.json()) == max(0, min(limit, 3 - offset))
    assert answer.headers["x-pagination-total"] == total
    assert answer.headers.get("x-pagination-next") == following


async def test_ten_are_given_unless_asked_otherwise(api: ApiClient, make: Make) -> None:
    for _ in range(11):
        await make()
    assert len(await names(api)) == 10


async def test_content_type_is_not_checked(api: ApiClient) -> None:
    answer = await api.post("/assistants/search", content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["search", "count"])
async def test_a_graph_that_is_not_configured(api: ApiClient, path: str) -> None:
    answer = await api.post(f"/assistants/{path}", json={"graph_id": "appro"})
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("Graph 'appro' not found. Expected one of: ['approval'")
