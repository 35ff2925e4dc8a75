"""POST /assistants/{assistant_id}/versions"""

from uuid import uuid4

from assistants.schemas import AssistantVersion
from tests.api_client import ApiClient
from tests.assistants.conftest import Make


async def test_newest_first(api: ApiClient, make: Make) -> None:
    made = await make(name="one", metadata={"m": 1})
    path = f"/assistants/{made['assistant_id']}"
    changed = (await api.patch(path, json={"name": "two"})).json()
    answer = await api.post(path + "/versions", json={})
    assert answer.status_code == 200
    two, one = answer.json()
    assert one == {key: value for key, value in made.items() if key != "updated_at"}
    assert (two["version"], two["name"], two["created_at"]) == (2, "two", changed["updated_at"])
    for version in answer.json():
        AssistantVersion.model_validate(version, strict=False)


async def test_pages(api: ApiClient, make: Make) -> None:
    path = f"/assistants/{(await make())['assistant_id']}"
    for _ in range(11):
        await api.patch(path, json={})

    async def versions(**query: int) -> list[int]:
        return [row["version"] for row in (await api.post(path + "/versions", json=query)).json()]

    assert await versions() == list(range(12, 2, -1))
    assert await versions(limit=2, offset=1) == [11, 10]
    assert await versions(offset=12) == []


async def test_metadata_filter(api: ApiClient, make: Make) -> None:
    path = f"/assistants/{(await make(metadata={'a': 1}))['assistant_id']}"
    await api.patch(path, json={"metadata": {"b": 2}})
    rows = (await api.post(path + "/versions", json={"metadata": {"b": 2}})).json()
    assert [row["version"] for row in rows] == [2]


async def test_unknown_assistant(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.post(f"/assistants/{unknown}/versions", json={})
    assert (answer.status_code, answer.json()) == (404, {"detail": f"Assistant {unknown} not found"})
