"""The assistant that every graph has from the start."""

from typing import Any

import pytest

from assistants.models import Assistant
from assistants.services import ensure_default_assistants, name_default_assistants
from platform_site.access.principal import Role
from platform_site.core.database.access import in_db
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


async def listed(api: ApiClient) -> list[str]:
    """The graphs of all assistants that are listed, the newest first."""
    found = (await api.post("/assistants/search", json={"limit": 100})).json()
    assert (await api.post("/assistants/count", json={})).json() == len(found)
    assert (await api.get("/assistants")).json() == found
    return [row["graph_id"] for row in found]


async def test_they_have_the_order_of_the_graphs(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["chat", "slow", "approval"])
    assert await listed(api) == ["approval", "slow", "chat"]


async def test_of_a_graph_that_left_the_configuration_it_is_not_listed(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["chat", "echo"])
    assert await listed(api) == ["chat"]
    assert (await api.get(f"/assistants/{ECHO}")).status_code == 200


async def test_neither_is_what_a_workspace_made_of_it(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["chat", "echo"])
    await api.patch(f"/assistants/{ECHO}", json={"name": "mine"})
    assert await listed(api) == ["chat"]
    await api.patch(f"/assistants/{ECHO}", json={"graph_id": "slow"})
    assert sorted(await listed(api)) == ["chat", "slow"]


async def test_an_assistant_that_somebody_made_stays_listed_without_its_graph(api: ApiClient) -> None:
    made = (await api.post("/assistants", json={"graph_id": "chat"})).json()
    await in_db(Assistant.objects.filter(assistant_id=made["assistant_id"]).update, graph_id="echo")
    assert await listed(api) == ["echo"]


async def test_it_has_the_name_that_its_graph_was_compiled_with(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["chat", "echo"])
    await in_db(name_default_assistants, {"echo": "The Echo", "chat": "chat", "slow": "never made"})
    assert (await api.get(f"/assistants/{ECHO}")).json()["name"] == "The Echo"
    [version] = (await api.post(f"/assistants/{ECHO}/versions", json={})).json()
    assert (version["version"], version["name"]) == (1, "The Echo")
    await in_db(name_default_assistants, {"echo": "echo"})
    assert (await api.get(f"/assistants/{ECHO}")).json()["name"] == "echo"


async def test_what_a_workspace_has_changed_keeps_its_name(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["echo"])
    await api.patch(f"/assistants/{ECHO}", json={"description": "mine"})
    await in_db(name_default_assistants, {"echo": "The Echo"})
    assert (await api.get(f"/assistants/{ECHO}")).json()["name"] == "echo"


async def test_a_name_is_cut_where_it_is_longer_than_names_may_be(api: ApiClient) -> None:
    await in_db(ensure_default_assistants, ["echo"])
    await in_db(name_default_assistants, {"echo": "x" * 501})
    assert (await api.get(f"/assistants/{ECHO}")).json()["name"] == "x" * 500


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


async def test_the_description_of_a_graph_is_the_system_assistants(api: ApiClient) -> None:
    def described(descriptions: dict[str, str | None]) -> tuple[str | None, int]:
        ensure_default_assistants(["echo"], descriptions=descriptions)
        ensure_default_assistants(["echo"], descriptions=descriptions)
        found = Assistant.objects.get(assistant_id=ECHO)
        return found.description, found.versions.count()

    assert await in_db(described, {"echo": "Says it again.", "other": "no"}) == ("Says it again.", 1)
    assert await in_db(described, {"echo": "Says it twice."}) == ("Says it twice.", 2)
    assert await in_db(described, {"echo": None}) == (None, 3)
