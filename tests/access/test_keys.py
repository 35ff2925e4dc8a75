"""API keys: `AUTH=keys`."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from platform_site.access import authentication
from platform_site.access.models import ApiKey, AuditEntry
from platform_site.access.principal import Role
from platform_site.access.services import api_key_check, api_key_revoke
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient, client, make_key, settle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def api(settings: Any) -> AsyncIterator[ApiClient]:
    settings.AUTH = "keys"
    async with client() as http:
        yield http


async def status(api: ApiClient, key: str, method: str = "POST", path: str = "/assistants/search") -> int:
    answer = await api.request(method, path, content=b"{}", headers={"X-Api-Key": key})
    return answer.status_code


async def test_no_key_is_unauthorized(api: ApiClient) -> None:
    answer = await api.post("/assistants/search", json={})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized"})


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_public_pages_need_no_key(api: ApiClient, path: str) -> None:
    assert (await api.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/nope", "/assistants/none", "/", "/assistants/search/"])
async def test_unknown_paths_need_a_key_too(api: ApiClient, path: str) -> None:
    assert (await api.post(path, content=b"{broken")).status_code == 401


async def test_key_in_its_own_header(api: ApiClient) -> None:
    assert await status(api, await make_key()) == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_key_as_bearer_token(api: ApiClient, scheme: str) -> None:
    key = await make_key()
    answer = await api.post("/assistants/search", json={}, headers={"Authorization": f"{scheme} {key}"})
    assert answer.status_code == 200


async def test_key_under_another_scheme_is_unauthorized(api: ApiClient) -> None:
    key = await make_key()
    answer = await api.post("/assistants/search", json={}, headers={"Authorization": f"Basic {key}"})
    assert answer.status_code == 401


async def test_wrong_keys_are_unauthorized(api: ApiClient) -> None:
    key = await make_key()
    prefix, _, secret = key.rpartition("_")
    for wrong in (key[:-1], key + "a", f"{prefix}_{'a' * 32}", f"sy_00000000_{secret}", prefix, "sy_", "_", "x" * 5000):
        assert await status(api, wrong) == 401


async def test_key_with_strange_characters_is_unauthorized(api: ApiClient) -> None:
    answer = await api.post("/assistants/search", json={}, headers={b"X-Api-Key": "sy_é_ü".encode()})
    assert answer.status_code == 401


async def test_expired_key_is_unauthorized(api: ApiClient) -> None:
    assert await status(api, await make_key(expires_at=timezone.now() - timedelta(seconds=1))) == 401


async def test_key_that_expires_while_it_is_remembered(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await make_key(expires_at=timezone.now() + timedelta(hours=1))
    assert await status(api, key) == 200
    later = timezone.now() + timedelta(hours=2)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert await status(api, key) == 401


async def test_revoked_key_is_refused_once_it_is_no_longer_remembered(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await make_key(Role.ADMIN)
    assert await status(api, key) == 200

    def revoke() -> None:
        api_key = ApiKey.objects.get()
        api_key_revoke(authentication.principal_of(api_key), api_key)

    await in_db(revoke)
    now = time.monotonic()
    monkeypatch.setattr(authentication, "monotonic", lambda: now + 10)
    assert await status(api, key) == 401


async def test_remembered_key_costs_no_query(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await make_key()
    assert await status(api, key) == 200
    monkeypatch.setattr(authentication, "api_key_check", lambda key: pytest.fail("asked the database"))
    assert await status(api, key) == 200


async def test_use_is_noted_at_most_once_a_minute(api: ApiClient) -> None:
    key = await make_key()

    async def use() -> Any:
        authentication.forget_keys()
        await status(api, key)
        await settle()
        return (await in_db(ApiKey.objects.get)).last_used_at

    first = await use()
    assert first is not None
    assert await use() == first
    await in_db(lambda: ApiKey.objects.update(last_used_at=first - timedelta(seconds=61)))
    assert await use() > first


async def test_only_the_hash_is_stored(api: ApiClient) -> None:
    key = await make_key()
    stored = await in_db(ApiKey.objects.get)
    assert key.startswith("sy_")
    assert key.startswith(stored.prefix + "_")
    assert len(key.rpartition("_")[2]) == 32  # 160 bits in base 32
    assert key.rpartition("_")[2] not in str(vars(stored))


async def test_another_secret_key_makes_stored_hashes_worthless(api: ApiClient, settings: Any) -> None:
    key = await make_key()
    settings.SECRET_KEY = "another"
    assert await in_db(api_key_check, key) is None


READS = [
    ("GET", "/assistants/none"),
    ("POST", "/assistants/search"),
    ("POST", "/assistants/count"),
    ("POST", "/assistants/00000000-0000-0000-0000-000000000000/versions"),
]
WRITES = [
    ("POST", "/assistants"),
    ("PATCH", "/assistants/00000000-0000-0000-0000-000000000000"),
    ("DELETE", "/assistants/00000000-0000-0000-0000-000000000000"),
    ("POST", "/assistants/00000000-0000-0000-0000-000000000000/latest"),
]


@pytest.mark.parametrize(("method", "path"), READS)
async def test_viewer_may_read(api: ApiClient, method: str, path: str) -> None:
    assert await status(api, await make_key(Role.VIEWER), method, path) not in (401, 403)


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_viewer_may_not_write(api: ApiClient, method: str, path: str) -> None:
    answer = await api.request(method, path, content=b"{}", headers={"X-Api-Key": await make_key(Role.VIEWER)})
    assert (answer.status_code, answer.json()) == (403, {"detail": "Forbidden"})


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_member_may_write(api: ApiClient, method: str, path: str) -> None:
    assert await status(api, await make_key(Role.MEMBER), method, path) not in (401, 403)


async def test_scopes_narrow_a_role(api: ApiClient) -> None:
    assert await status(api, await make_key(scopes=["assistants:read"])) == 200
    assert await status(api, await make_key(scopes=["assistants:read"]), path="/assistants") == 403
    assert await status(api, await make_key(scopes=["*:read"])) == 200
    assert await status(api, await make_key(scopes=["assistants:write"]), path="/assistants") == 422
    assert await status(api, await make_key(scopes=["threads:write"])) == 403


async def test_workspaces_do_not_see_each_other(api: ApiClient) -> None:
    ours, theirs = await make_key(workspace="ours"), await make_key(workspace="theirs")
    made = await api.post("/assistants", json={"graph_id": "chat"}, headers={"X-Api-Key": ours})
    path = f"/assistants/{made.json()['assistant_id']}"
    assert await status(api, ours, "GET", path) == 200
    for method in ("GET", "PATCH", "DELETE"):
        assert await status(api, theirs, method, path) == 404
    same = {"graph_id": "chat", "assistant_id": made.json()["assistant_id"], "name": "Theirs"}
    assert (await api.post("/assistants", json=same, headers={"X-Api-Key": theirs})).json()["name"] == "Theirs"
    assert (await api.get(path, headers={"X-Api-Key": ours})).json() == made.json()


async def test_host_and_origin_are_free_with_keys(api: ApiClient) -> None:
    headers = {"Host": "api.example", "Origin": "https://app.example", "X-Forwarded-For": "10.0.0.1"}
    answer = await api.post("/assistants/search", json={}, headers={**headers, "X-Api-Key": await make_key()})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")


def created(*arguments: str) -> str:
    out = StringIO()
    call_command("create_api_key", *arguments, stdout=out)
    return out.getvalue().strip()


def test_command_prints_a_key_that_works() -> None:
    stored = api_key_check(created("ci", "--role", "viewer", "--expires-days", "30"))
    assert stored is not None
    assert (stored.name, stored.role, stored.workspace.slug) == ("ci", "viewer", "default")
    assert stored.expires_at is not None
    assert timedelta(days=29) < stored.expires_at - timezone.now() < timedelta(days=31)


def test_command_leaves_an_audit_entry_without_the_secret() -> None:
    key = created("ci")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.target) == ("command line", "api_key.created", key.rpartition("_")[0])
    assert key not in str(entry.details)


@pytest.mark.parametrize(
    "arguments", [("ci", "--workspace", "nope"), ("ci", "--expires-days", "0"), ("ci", "--role", "owner")]
)
def test_command_refuses_what_makes_no_sense(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        created(*arguments)
    assert not ApiKey.objects.exists()
