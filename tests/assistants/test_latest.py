"""POST /assistants/{assistant_id}/latest"""

from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.assistants.conftest import Make


@pytest.fixture
async def path(api: ApiClient, make: Make) -> str:
    """An assistant whose second version differs from the first in everything."""
    made = await make(name="one", description="d1", context={"x": 1}, metadata={"m": 1})
    path = f"/assistants/{made['assistant_id']}"
    second = {"graph_id": "slow", "name": "two", "description": "d2", "context": {"x": 2}, "metadata": {"m": 2}}
    assert (await api.patch(path, json=second)).status_code == 200
    return path


async def test_everything_is_switched_back(api: ApiClient, path: str) -> None:
    before = (await api.get(path)).json()
    answer = await api.post(path + "/latest", json={"version": 1})
    assert answer.status_code == 200
    assert answer.json() == {
        **before,
        "version": 1,
        "graph_id": "chat",
        "name": "one",
        "description": "d1",
        "config": {"configurable": {"x": 1}},
        "context": {"x": 1},
        "metadata": {"m": 1},
        "updated_at": answer.json()["updated_at"],
    }
    assert answer.json()["updated_at"] > before["updated_at"]
    assert (await api.get(path)).json() == answer.json()


async def test_version_in_the_query(api: ApiClient, path: str) -> None:
    assert (await api.post(path + "/latest?version=1")).json()["version"] == 1
    assert (await api.post(path + "/latest?version=2", json={})).json()["version"] == 2


async def test_body_counts_more_than_the_query(api: ApiClient, path: str) -> None:
    assert (await api.post(path + "/latest?version=2", json={"version": 1})).json()["version"] == 1


async def test_next_version_is_the_highest_plus_one(api: ApiClient, path: str) -> None:
    await api.post(path + "/latest", json={"version": 1})
    assert (await api.patch(path, json={"name": "three"})).json()["version"] == 3


@pytest.mark.parametrize("version", [99, 0, -1, 2**40, 2**63])
async def test_unknown_version(api: ApiClient, path: str, version: int) -> None:
    answer = await api.post(path + "/latest", json={"version": version})
    assert answer.status_code == 404
    assert answer.json() == {"detail": f"Version {version} not found for assistant {path.rpartition('/')[2]}"}


async def test_no_version(api: ApiClient, path: str) -> None:
    answer = await api.post(path + "/latest", json={})
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("Version None not found for assistant ")


@pytest.mark.parametrize(("query", "body"), [("", b""), ("?version=x", b""), ("", b'{"version":"1"}'), ("", b"null")])
async def test_bad_version(api: ApiClient, path: str, query: str, body: bytes) -> None:
    answer = await api.post(path + "/latest" + query, content=body)
    assert answer.status_code == 422


async def test_unknown_assistant(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.post(f"/assistants/{unknown}/latest", json={"version": 1})
    assert (answer.status_code, answer.json()) == (404, {"detail": f"Assistant {unknown} not found"})
