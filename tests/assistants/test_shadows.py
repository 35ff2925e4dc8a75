"""Default assistants are the system's. A workspace that changes one has a row of its own, which shadows it there."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest

from assistants.models import Assistant, AssistantVersion
from assistants.services import ensure_default_assistants
from platform_site.access.models import AuditEntry
from platform_site.core.database.access import in_db
from platform_site.core.graphs.registry import default_assistant_id
from tests.api_client import ApiClient, client, make_key
from threads.models import Thread

CHAT = str(default_assistant_id("chat"))
PATH = f"/assistants/{CHAT}"
Body = dict[str, Any]


async def restart(*graphs: str) -> None:
    """What a start of the server does."""
    await in_db(ensure_default_assistants, graphs or ["chat", "slow"])


@pytest.fixture
async def evil(api: ApiClient, settings: Any) -> AsyncIterator[ApiClient]:
    """The admin of a workspace, which is nobody's in the others."""
    await restart()
    settings.AUTH = "keys"
    async with client(headers={"X-Api-Key": await make_key("admin", workspace="evil")}) as http:
        yield http


@pytest.fixture
async def minion(evil: ApiClient) -> AsyncIterator[ApiClient]:
    """A member of the same workspace."""
    async with client(headers={"X-Api-Key": await make_key(workspace="evil")}) as http:
        yield http


@pytest.fixture
async def victim(evil: ApiClient) -> AsyncIterator[ApiClient]:
    """The admin of another workspace."""
    async with client(headers={"X-Api-Key": await make_key("admin")}) as http:
        yield http


async def seen(http: ApiClient) -> dict[str, Any]:
    """All that a workspace is told of default assistants."""
    answers = {
        "get": await http.get(PATH),
        "graph": await http.get("/assistants/chat/graph"),
        "schemas": await http.get(PATH + "/schemas"),
        "versions": await http.post(PATH + "/versions", json={}),
        "list": await http.get("/assistants"),
        "search": await http.post("/assistants/search", json={"graph_id": "chat", "sort_by": "name"}),
        "system": await http.post("/assistants/search", json={"metadata": {"created_by": "system"}}),
        "count": await http.post("/assistants/count", json={}),
    }
    return {name: (answer.status_code, answer.json()) for name, answer in answers.items()}


async def patch(http: ApiClient, **changes: Any) -> Body:
    answer = await http.patch(PATH, json=changes)
    assert answer.status_code == 200, answer.text
    changed: Body = answer.json()
    return changed


async def get(http: ApiClient) -> Body:
    found: Body = (await http.get(PATH)).json()
    return found


async def versions(http: ApiClient) -> list[Body]:
    found: list[Body] = (await http.post(PATH + "/versions", json={})).json()
    return found


CHANGES: dict[str, Callable[[ApiClient], Coroutine[Any, Any, Any]]] = {
    "patch": lambda http: http.patch(PATH, json={"config": {"configurable": {"injected": 1}}, "graph_id": "slow"}),
    "put": lambda http: http.put(PATH, json={"name": "mine", "metadata": {"created_by": "me"}}),
    "latest": lambda http: http.post(PATH + "/latest", json={"version": 1}),
    "delete": lambda http: http.delete(PATH + "?delete_threads=true"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_others_see_nothing_of_a_change(evil: ApiClient, victim: ApiClient, change: str) -> None:
    before = await seen(victim)
    assert (await CHANGES[change](evil)).status_code in (200, 204)
    assert await seen(victim) == before
    assert await seen(evil) != before


async def test_others_see_nothing_of_many_changes(evil: ApiClient, victim: ApiClient) -> None:
    before = await seen(victim)
    for change in CHANGES.values():
        await change(evil)
    await evil.post("/assistants", json={"graph_id": "slow", "assistant_id": CHAT})
    await restart()
    assert await seen(victim) == before


async def test_an_id_taken_in_advance_takes_nothing_from_others(evil: ApiClient, victim: ApiClient) -> None:
    memory = str(default_assistant_id("memory"))
    assert (await evil.post("/assistants", json={"graph_id": "slow", "assistant_id": memory})).status_code == 200
    await restart("chat", "memory")
    assert (await victim.get(f"/assistants/{memory}")).json()["graph_id"] == "memory"
    assert (await evil.get(f"/assistants/{memory}")).json()["graph_id"] == "slow"


async def test_a_change_looks_as_that_of_any_assistant(evil: ApiClient) -> None:
    before = await get(evil)
    changed = await patch(evil, name="Mine", metadata={"team": "a"})
    assert changed == {
        **before,
        "name": "Mine",
        "metadata": {"created_by": "system", "team": "a"},
        "version": 2,
        "updated_at": changed["updated_at"],
    }
    assert changed["updated_at"] > before["updated_at"]
    assert await get(evil) == changed


async def test_its_versions_begin_with_the_systems(evil: ApiClient, victim: ApiClient) -> None:
    await patch(evil, name="Mine")
    await patch(evil, name="Ours")
    three, two, one = await versions(evil)
    assert (three["version"], three["name"], two["version"], two["name"]) == (3, "Ours", 2, "Mine")
    assert [one] == await versions(victim)


async def test_it_is_listed_and_counted_once(evil: ApiClient) -> None:
    changed = await patch(evil, name="Mine")
    listed = (await evil.get("/assistants")).json()
    assert [one for one in listed if one["assistant_id"] == CHAT] == [changed]
    assert (await evil.post("/assistants/count", json={})).json() == len(listed) == 2
    assert (await evil.post("/assistants/search", json={"name": "mine"})).json() == [changed]
    assert (await evil.post("/assistants/count", json={"name": "chat"})).json() == 0


async def test_its_graph_is_that_of_the_change(evil: ApiClient, victim: ApiClient) -> None:
    await patch(evil, graph_id="slow")
    for path in ("/assistants/chat/graph", PATH + "/schemas", PATH + "/subgraphs"):
        ours, theirs, slow = [await http.get(path) for http in (evil, victim)] + [
            await victim.get(path.replace("chat", "slow").replace(CHAT, str(default_assistant_id("slow"))))
        ]
        assert ours.json() == slow.json()
        assert theirs.status_code == 200
    assert (await victim.get(PATH + "/schemas")).json()["graph_id"] == "chat"


async def test_it_goes_back_to_the_systems_version(evil: ApiClient) -> None:
    before = await get(evil)
    await patch(evil, name="Mine", context={"a": 1}, description="d")
    chosen = (await evil.post(PATH + "/latest", json={"version": 1})).json()
    assert chosen == {**before, "updated_at": chosen["updated_at"]}
    assert (await patch(evil))["version"] == 3


async def test_a_refused_change_leaves_no_shadow(evil: ApiClient) -> None:
    rows = await in_db(Assistant.objects.count)
    refused = [
        await evil.patch(PATH, json={"graph_id": "nope"}),
        await evil.patch(PATH, json={"config": {"configurable": {"a": 1}}, "context": {"b": 1}}),
        await evil.post(PATH + "/latest", json={"version": 2}),
    ]
    assert [answer.status_code for answer in refused] == [404, 400, 404]
    assert await in_db(Assistant.objects.count) == rows


async def test_members_use_it_and_admins_change_it(evil: ApiClient, minion: ApiClient) -> None:
    for _ in ("the system's", "the shadow"):
        for change in CHANGES.values():
            assert (await change(minion)).status_code == 403
        await patch(evil, name="Mine")
        assert (await get(minion))["name"] == "Mine"


async def test_the_audit_log_is_the_workspaces_own(evil: ApiClient, victim: ApiClient) -> None:
    await patch(evil)
    await evil.post(PATH + "/latest", json={"version": 1})
    await evil.delete(PATH)

    def entries() -> list[tuple[Any, ...]]:
        told = AuditEntry.objects.filter(action__startswith="assistant.").order_by("pk")
        return list(told.values_list("workspace__slug", "action", "target"))

    assert await in_db(entries) == [
        ("evil", f"assistant.{action}", CHAT) for action in ("updated", "version_chosen", "deleted")
    ]


# Its id is taken, as that of any assistant.


@pytest.mark.parametrize("is_changed", [False, True])
async def test_creating_one_of_its_id(evil: ApiClient, minion: ApiClient, is_changed: bool) -> None:
    stored = await patch(evil, name="Mine") if is_changed else await get(evil)
    body = {"graph_id": "slow", "assistant_id": CHAT, "name": "Another"}
    for http in (evil, minion):
        answer = await http.post("/assistants", json=body)
        assert (answer.status_code, answer.json()) == (409, {"detail": f"Assistant {CHAT} already exists"})
        assert (await http.post("/assistants", json={**body, "if_exists": "do_nothing"})).json() == stored
    assert await get(evil) == stored


# A delete is the workspace's own, and in force until the next start.


async def test_a_deleted_one_is_nowhere(evil: ApiClient) -> None:
    await patch(evil, name="Mine", config={"configurable": {"secret": 1}})
    assert (await evil.delete(PATH)).status_code == 204
    answers = [
        await evil.get(PATH),
        await evil.get("/assistants/chat/graph"),
        await evil.patch(PATH, json={}),
        await evil.delete(PATH),
        await evil.post(PATH + "/latest", json={"version": 1}),
        await evil.post(PATH + "/versions", json={}),
        await evil.post("/runs", json={"assistant_id": "chat"}),
        await evil.post("/threads/" + str(uuid4()) + "/runs", json={"assistant_id": CHAT, "if_not_exists": "create"}),
        await evil.post("/runs/crons", json={"assistant_id": "chat", "schedule": "@daily"}),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert [one["graph_id"] for one in (await evil.get("/assistants")).json()] == ["slow"]
    assert (await evil.post("/assistants/count", json={})).json() == 1


async def test_of_a_deleted_one_nothing_is_kept(evil: ApiClient) -> None:
    await patch(evil, config={"configurable": {"secret": 1}}, metadata={"secret": 1}, description="secret")
    await evil.delete(PATH)

    def kept() -> tuple[Any, int]:
        row = Assistant.objects.values("config", "context", "metadata", "description").get(is_deleted=True)
        return row, AssistantVersion.objects.filter(assistant__is_deleted=True).count()

    empty: dict[str, Any] = {"config": {}, "context": {}, "metadata": {}, "description": None}
    assert await in_db(kept) == (empty, 0)


@pytest.mark.parametrize("was_changed", [False, True])
async def test_a_deleted_one_is_the_systems_after_a_restart(evil: ApiClient, was_changed: bool) -> None:
    before = await seen(evil)
    if was_changed:
        await patch(evil, name="Mine")
    await evil.delete(PATH)
    await restart()
    assert await seen(evil) == before


async def test_in_place_of_a_deleted_one_an_admin_puts_another(evil: ApiClient, minion: ApiClient) -> None:
    await evil.delete(PATH)
    body = {"graph_id": "slow", "assistant_id": CHAT, "name": "Another"}
    assert (await minion.post("/assistants", json=body)).status_code == 403
    made = (await evil.post("/assistants", json=body)).json()
    assert (made["name"], made["version"], made["metadata"]) == ("Another", 1, {})
    await restart()
    assert await get(minion) == made
    assert [version["name"] for version in await versions(evil)] == ["Another"]


async def test_only_threads_of_the_workspace_go_with_it(evil: ApiClient, victim: ApiClient) -> None:
    made = {http: (await http.post("/threads", json={"metadata": {"assistant_id": CHAT}})) for http in (evil, victim)}
    assert (await evil.delete(PATH + "?delete_threads=true")).status_code == 204
    left = await in_db(lambda: [str(thread_id) for thread_id in Thread.objects.values_list("thread_id", flat=True)])
    assert left == [made[victim].json()["thread_id"]]


# A start changes the system's rows, and no shadow.


async def test_a_changed_one_survives_a_restart(evil: ApiClient) -> None:
    changed = await patch(evil, name="Mine")
    await restart()
    assert await get(evil) == changed
    assert len(await versions(evil)) == 2


async def test_what_the_server_changes_is_not_seen_through_a_shadow(evil: ApiClient, victim: ApiClient) -> None:
    changed = await patch(evil, name="Mine")
    await in_db(Assistant.objects.filter(workspace=None, assistant_id=CHAT).update, name="Chat, second edition")
    assert await get(evil) == changed
    assert (await get(victim))["name"] == "Chat, second edition"
    await evil.delete(PATH)
    await restart()
    assert await get(evil) == await get(victim)


async def test_without_its_graph_all_stays_as_it_is(evil: ApiClient, victim: ApiClient) -> None:
    changed, plain = await patch(evil, name="Mine"), await get(victim)
    await restart("slow")
    assert (await get(evil), await get(victim)) == (changed, plain)
    await evil.delete(PATH)
    await restart("slow")
    assert (await evil.get(PATH)).status_code == 404
    await restart("slow", "chat")
    assert await get(evil) == plain


async def test_in_open_mode_the_default_workspace_has_the_shadow(api: ApiClient, settings: Any) -> None:
    await restart()
    changed = await patch(api, name="Mine")
    settings.AUTH = "keys"
    async with client(headers={"X-Api-Key": await make_key("viewer")}) as http:
        assert await get(http) == changed
    async with client(headers={"X-Api-Key": await make_key("viewer", workspace="other")}) as http:
        assert (await get(http))["name"] == "chat"
