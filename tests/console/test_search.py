"""One search over threads, runs and assistants."""

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
