"""`AUTH=open`: everyone on this machine is the superuser of the default workspace."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from platform_site.access.models import Workspace
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient, client
from tests.api_client import api as api

pytestmark = pytest.mark.django_db(transaction=True)


async def test_no_credentials_are_needed(api: ApiClient) -> None:
    assert (await api.post("/assistants", json={"graph_id": "chat"})).status_code == 200


@pytest.mark.parametrize("headers", [{"X-Api-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
async def test_sent_keys_are_ignored(api: ApiClient, headers: dict[str, str]) -> None:
    assert (await api.post("/assistants/search", json={}, headers=headers)).status_code == 200


async def test_rows_belong_to_the_default_workspace(api: ApiClient) -> None:
    await api.post("/assistants", json={"graph_id": "chat"})
    workspace = await in_db(lambda: Workspace.objects.filter(assistants__graph_id="chat").get())
    assert workspace.slug == "default"


async def test_default_workspace_is_made_if_nothing_made_it_before(transactional_db: None) -> None:
    async with client() as api:
        assert (await api.post("/assistants/search", json={})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
async def test_pages_of_other_origins_can_do_nothing(api: ApiClient, headers: dict[str, str]) -> None:
    answer = await api.post("/assistants", json={"graph_id": "chat"}, headers=headers)
    assert answer.status_code == 403
    assert (await api.post("/assistants/count", json={})).json() == 0


def test_handler_mode_is_not_available_yet(settings: Any) -> None:
    settings.AUTH = "handler"
    with pytest.raises(ImproperlyConfigured, match="AUTH=handler is not available yet"):
        client()
