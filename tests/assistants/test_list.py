"""GET /assistants"""

import pytest

from tests.api_client import ApiClient
from tests.assistants.conftest import Make


async def test_all_are_given_newest_first(api: ApiClient, make: Make) -> None:
    made = [await make(name=str(number)) for number in range(12)]
    answer = await api.get("/assistants")
    assert (answer.status_code, answer.json()) == (200, made[::-1])
    assert answer.headers["x-pagination-total"] == "12"
    assert "x-pagination-next" not in answer.headers


async def test_a_page_of_them(api: ApiClient, make: Make) -> None:
    made = [await make(name=str(number)) for number in range(4)]
    answer = await api.get("/assistants?limit=2&offset=1")
    assert answer.json() == [made[2], made[1]]
    assert answer.headers["x-pagination-next"] == "3"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "offset=x", "limit="])
async def test_bad_page(api: ApiClient, query: str) -> None:
    answer = await api.get(f"/assistants?{query}")
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


async def test_methods_of_the_collection(api: ApiClient) -> None:
    answer = await api.delete("/assistants")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
