"""One search over threads, runs and assistants."""

import pytest
from django.test import Client

from crons.models import Cron
from runs.models import RunStatus


def shown(client: Client, text: str) -> str:
    return client.get("/dashboard/search", {"q": text}).content.decode()


def test_it_finds_all_kinds_by_their_words(yard, member):
    run = yard.run(yard.thread("The lamp"), RunStatus.ERROR, error_class="LampError")
    yard.assistant("Lamp seller")
    page = shown(member, "lamp")
    for text in ("Lamp seller", "LampError", f"/dashboard/threads/{run.thread_id}", f"/dashboard/runs/{run.run_id}"):
        assert text in page


def test_it_finds_by_a_part_of_an_id(yard, member):
    run = yard.run()
    assert f"/dashboard/runs/{run.run_id}" in shown(member, str(run.run_id)[-8:])


def test_it_finds_nothing_of_others(yard, elsewhere, member):
    run = elsewhere.run(elsewhere.thread("The lamp"))
    elsewhere.assistant("Lamp seller")
    assert "Nothing matches" in shown(member, "lamp")
    assert "Nothing matches" in shown(member, str(run.run_id))


def test_without_words_it_says_what_it_can_find(member):
    assert "a part of an id finds all four" in shown(member, "")


def test_crons_and_items_of_the_store_are_found_too(yard, elsewhere, put, member):
    for where in (yard, elsewhere):
        Cron.objects.create(
            workspace=where.workspace,
            assistant_id=where.assistant().assistant_id,
            schedule="@daily",
            metadata={"name": "night watch"},
        )
        put(f"users.{where.workspace.slug}", "note", {"text": "Likes the night"}, of=where)
    page = shown(member, "night")
    assert page.count("night watch") == 1
    assert "/dashboard/store?in=users.harbour&amp;key=note" in page
    assert "users.elsewhere" not in page


@pytest.mark.parametrize("path", ["search", "runs", "threads", "assistants", "crons", "store"])
@pytest.mark.parametrize("character", ["a", "%", "_", "ä"])
def test_a_text_of_any_length_is_looked_for_or_refused(yard, admin, path, character):
    """SQLite takes patterns of 50,000 bytes."""
    longest = 16_000 // (3 * len(character.encode()) if character in "%ä" else 1)
    assert admin.get(f"/dashboard/{path}", {"q": character * longest}).status_code == 200
    refused = admin.get(f"/dashboard/{path}", {"q": character * 100_000})
    assert refused.status_code == 414
    assert "at most 16384 characters" in refused.content.decode()


def test_the_admin_refuses_such_a_text_too(yard, admin):
    assert admin.get("/admin/access/workspace/", {"q": "a" * 16_000}).status_code in (200, 302)
    assert admin.get("/admin/access/workspace/", {"q": "a" * 100_000}).status_code == 414
