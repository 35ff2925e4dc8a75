"""A default assistant that the workspace has changed or deleted, on every page that tells of assistants."""

from uuid import UUID

import pytest
from django.test import Client

from assistants.models import Assistant
from crons.models import Cron
from runs.models import RunStatus
from tests.console.conftest import Yard
from tests.console.test_overview import statistic


@pytest.fixture
def default(yard: Yard, elsewhere: Yard) -> Assistant:
    """A system assistant that both workspaces have used."""
    made = Assistant.objects.create(name="plain chat", graph_id="chat", workspace=None)
    for where in (yard, elsewhere):
        statistic(where, made)
        Cron.objects.create(workspace=where.workspace, assistant_id=made.assistant_id, schedule="@daily")
    return made


def shadow(yard: Yard, default: Assistant, **fields: object) -> None:
    Assistant.objects.create(
        assistant_id=default.assistant_id, workspace=yard.workspace, name="our chat", graph_id="chat", **fields
    )


def pages(yard: Yard, assistant_id: UUID) -> list[str]:
    run = yard.run(yard.thread("The lamp"), RunStatus.SUCCESS, assistant=Assistant(assistant_id=assistant_id))
    cron = Cron.objects.get(workspace=yard.workspace)
    return [
        "/dashboard/", "/dashboard/assistants", "/dashboard/assistants?q=chat", "/dashboard/search?q=chat",
        "/dashboard/runs", f"/dashboard/runs?assistant={assistant_id}", f"/dashboard/runs/{run.run_id}",
        f"/dashboard/threads/{run.thread_id}", "/dashboard/crons", "/dashboard/crons?q=chat",
        f"/dashboard/crons?assistant={assistant_id}", f"/dashboard/crons/{cron.pk}", f"/dashboard/crons/{cron.pk}/edit",
        "/dashboard/crons/new",
    ]  # fmt: skip


def test_a_changed_one_is_named_as_the_workspace_names_it(yard, elsewhere, default, member, stranger):
    shadow(yard, default)
    for where, client, name, other in (
        (yard, member, "our chat", "plain chat"),
        (elsewhere, stranger, "plain chat", "our chat"),
    ):
        for path in pages(where, default.assistant_id):
            shown = client.get(path)
            assert shown.status_code == 200, path
            assert name in shown.content.decode(), path
            assert other not in shown.content.decode(), path


def test_runs_and_crons_from_before_the_change_are_its_own(yard, default, member):
    before = yard.run(assistant=default)
    shadow(yard, default)
    after = yard.run(assistant=default)
    found = member.get("/dashboard/runs", {"assistant": str(default.assistant_id)}).content.decode()
    assert str(before.run_id) in found
    assert str(after.run_id) in found
    row = member.get("/dashboard/assistants").content.decode()
    assert f"/dashboard/runs/{after.run_id}" in row


def test_the_list_tells_that_it_is_changed(yard, default, member, stranger):
    shadow(yard, default)
    assert "default, changed" in listed(member)
    assert "default, changed" not in listed(stranger)
    assert ">default</span>" in listed(stranger)


def listed(client: Client) -> str:
    return client.get("/dashboard/assistants").content.decode()


def test_a_deleted_one_is_named_nowhere(yard, default, member):
    shadow(yard, default, is_deleted=True)
    run = yard.run(yard.thread("The lamp"), assistant=default)
    for path in ("/dashboard/", "/dashboard/assistants", "/dashboard/runs", f"/dashboard/runs/{run.run_id}"):
        shown = member.get(path).content.decode()
        assert "plain chat" not in shown, path
        assert "our chat" not in shown, path
    assert "Deleted assistant" in member.get("/dashboard/").content.decode()
    assert "Nothing matches" in member.get("/dashboard/search", {"q": "plain chat"}).content.decode()
