"""The assistant that every graph has from the start."""

from typing import Any

import pytest

from assistants.models import Assistant
from assistants.services import ensure_default_assistants
from platform_site.access.principal import Role
from platform_site.core.database import in_db
from tests.api_client import ApiClient, client, make_key

ECHO = "046b5dc7-2108-582c-9c6c-31d556d138f0"


async def test_id_and_fields(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["echo"])
    found = (await api.get(f"/assistants/{ECHO}")).json()
    assert {key: found[key] for key in found if not key.endswith("_at")} == {
        "assistant_id": ECHO,
        "graph_id": "echo",
        "name": "echo",
        "description": None,
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "version": 1,
    }


async def test_has_a_first_version(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["echo"])
    rows = (await api.post(f"/assistants/{ECHO}/versions", json={})).json()
    assert [row["version"] for row in rows] == [1]


async def test_a_changed_one_is_left_alone(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["echo"])
    await api.patch(f"/assistants/{ECHO}", json={"name": "mine"})
    await in_db(ensure_default_assistants, ["echo"])
    assert (await api.get(f"/assistants/{ECHO}")).json()["name"] == "mine"


async def test_a_deleted_one_is_back_after_a_restart(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["echo", "chat"])
    assert (await api.delete(f"/assistants/{ECHO}")).status_code == 204
    assert (await api.get(f"/assistants/{ECHO}")).status_code == 404
    await in_db(ensure_default_assistants, ["echo", "chat"])
    assert (await api.get(f"/assistants/{ECHO}")).status_code == 200
    assert await in_db(Assistant.objects.count) == 2


@pytest.mark.parametrize(("role", "status"), [(Role.MEMBER, 403), (Role.ADMIN, 200)])
async def test_only_admins_change_what_all_workspaces_see(
    api: ApiClient, settings: pytest.FixtureRequest, role: Role, status: int
) -> None:
    await in_db(ensure_default_assistants, ["echo"])
    settings.AUTH = "keys"  # type: ignore[attr-defined]
    async with client(headers={"X-Api-Key": await make_key(role)}) as http:
        assert (await http.get(f"/assistants/{ECHO}")).status_code == 200
        assert (await http.patch(f"/assistants/{ECHO}", json={})).status_code == status


async def test_a_config_of_langgraph_config_is_the_system_assistants_next_version(api: ApiClient) -> None:
    def configured(configs: dict[str, dict[str, Any]]) -> tuple[Assistant, list[int]]:
        ensure_default_assistants(["echo"], configs)
        ensure_default_assistants(["echo"], configs)
        found = Assistant.objects.get(assistant_id=ECHO)
        return found, sorted(found.versions.values_list("version", flat=True))

    first, versions = await in_db(configured, {"echo": {"configurable": {"a": 1}}, "other": {"tags": ["x"]}})
    assert (first.config, first.context, versions) == ({"configurable": {"a": 1}}, {"a": 1}, [1])
    second, versions = await in_db(configured, {"echo": {"tags": ["x"]}})
    assert (second.config, second.context, versions) == ({"tags": ["x"]}, {}, [1, 2])
    third, versions = await in_db(configured, {})
    assert (third.config, versions) == ({}, [1, 2, 3])
