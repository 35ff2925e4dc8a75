"""The secrets that sign webhooks: where they come from, and how they are rolled."""

from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from platform_site.access.models import Workspace
from platform_site.core.errors import Conflict
from platform_site.webhooks.models import WebhookSecret
from platform_site.webhooks.selectors import secrets_in_force
from platform_site.webhooks.services import secret_roll
from platform_site.webhooks.signatures import secrets_of, signed_headers
from tests.webhooks.conftest import owe, work

ONE, TWO = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def test_every_workspace_has_a_secret_of_its_own(owner, workspace):
    other = Workspace.objects.create(slug="other", name="Other")
    both = secrets_of([workspace.pk, other.pk], workspace.created_at)
    assert [len(found) for found in both.values()] == [1, 1]
    assert both[workspace.pk] != both[other.pk]
    assert WebhookSecret.objects.count() == 0


def test_another_secret_key_makes_another_secret(owner, settings):
    before = secrets_in_force(owner)
    settings.SECRET_KEY = "another"
    assert secrets_in_force(owner) != before


def test_rolled_secret_signs_for_a_day_beside_the_new_one(owner, workspace, clock):
    [old] = secrets_in_force(owner)
    new = secret_roll(owner, workspace)
    assert secrets_in_force(owner) == [new, old]
    newest = secret_roll(owner, workspace)
    assert secrets_in_force(owner) == [newest, new, old]
    later = secrets_of([workspace.pk], clock.now + timedelta(hours=25))
    assert later[workspace.pk] == [newest]


def test_secrets_are_not_in_the_database(owner, workspace):
    made = secret_roll(owner, workspace)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM webhooks_webhooksecret")
        assert made.removeprefix("whsec_") not in str(cursor.fetchall())


async def test_webhook_is_verified_by_each_secret_while_one_is_rolled(
    loopback, owner, workspace, clock, deliverer, receiver
):
    from platform_site.core.database.access import in_db

    [old] = await in_db(secrets_in_force, owner)
    new = await in_db(secret_roll, owner, workspace)
    await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    [received] = receiver.received
    assert received.verified(old)
    assert received.verified(new)
    with pytest.raises(WebhookVerificationError):
        received.verified(ONE)


def test_secrets_of_the_environment_take_the_place_of_all(owner, workspace, settings, clock):
    settings.WEBHOOK_SECRETS = [ONE, TWO]
    assert secrets_in_force(owner) == [ONE, TWO]
    headers = signed_headers(uuid4(), "{}", [ONE, TWO], clock.now)
    for secret in (ONE, TWO):
        assert Webhook(secret).verify("{}", headers) == {}
    with pytest.raises(Conflict, match="WEBHOOK_SECRETS"):
        secret_roll(owner, workspace)


def shown(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("webhook_secret", *arguments, stdout=out)
    return out.getvalue().split()


def test_command_shows_and_rolls(owner):
    [first] = shown("show")
    [second] = shown("roll")
    assert shown("show") == [second, first] == secrets_in_force(owner)


def test_command_names_what_is_wrong(owner, settings):
    with pytest.raises(CommandError, match="There is no workspace 'nope'"):
        shown("show", "--workspace", "nope")
    settings.WEBHOOK_SECRETS = [ONE]
    with pytest.raises(CommandError, match="WEBHOOK_SECRETS"):
        shown("roll")
