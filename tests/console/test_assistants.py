"""The list of assistants."""

from django.test import Client

from assistants.models import Assistant
from platform_site.core.graphs.registry import registry
from tests.console.conftest import HOSTILE


def shown(client: Client, **query: str) -> str:
    return client.get("/dashboard/assistants", query).content.decode()


def test_it_tells_name_graph_version_and_last_run(yard, member):
    helper = yard.assistant("Refund agent", version=14)
    yard.run(assistant=helper)
    newest = yard.run(assistant=helper)
    page = shown(member)
    for text in ("Refund agent", "helper", "v14", f"/dashboard/runs/{newest.run_id}"):
        assert text in page


def test_default_assistants_are_seen_by_all_but_not_who_ran_them(elsewhere, yard, member):
    default = Assistant.objects.create(name="chat", graph_id="chat", workspace=None)
    theirs = elsewhere.run(assistant=default)
    page = shown(member)
    assert ">chat<" in page
    assert "default" in page
    assert str(theirs.run_id) not in page
    assert "never" in page


def test_assistants_of_other_workspaces_are_not_listed(elsewhere, yard, member):
    elsewhere.assistant("Theirs")
    assert "Theirs" not in shown(member)


def test_they_are_found_by_name_graph_and_parts_of_the_id(yard, member):
    helper = yard.assistant("Refund agent")
    yard.assistant("Invoice reader")
    for text in ("refund", str(helper.assistant_id), str(helper.assistant_id)[-6:]):
        page = shown(member, q=text)
        assert "Refund agent" in page
        assert "Invoice reader" not in page
    assert "No assistant matches" in shown(member, q="zzz")


def test_hostile_names_are_escaped(yard, member):
    yard.assistant(HOSTILE)
    assert "<script>alert" not in shown(member)


def test_more_rows_do_not_mean_more_queries(yard, member, django_assert_max_num_queries):
    for number in range(30):
        yard.run(assistant=yard.assistant(str(number)))
    with django_assert_max_num_queries(8):
        shown(member)


def test_one_whose_graph_could_not_be_loaded_is_marked(yard, member, monkeypatch):
    yard.assistant("Refund agent")
    assert "broken</span>" not in shown(member)
    monkeypatch.setitem(registry().failures, "helper", "ModuleNotFoundError: No module named 'orders'")
    page = shown(member)
    assert "broken</span>" in page
    assert "orders" not in page


def test_admins_read_why_a_graph_could_not_be_loaded(yard, admin, monkeypatch):
    monkeypatch.setitem(registry().failures, "helper", "./a.py:graph: ModuleNotFoundError: No module named 'orders'")
    page = shown(admin)
    assert "Graphs that cannot be served" in page
    assert "No module named &#x27;orders&#x27;" in page


def test_others_are_told_that_an_admin_sees_why(yard, member, monkeypatch):
    monkeypatch.setitem(registry().failures, "helper", "ModuleNotFoundError: No module named 'orders'")
    page = shown(member)
    assert "An admin sees why here" in page
    assert "orders" not in page


def test_a_hostile_reason_is_escaped(yard, admin, monkeypatch):
    monkeypatch.setitem(registry().failures, HOSTILE, HOSTILE)
    assert "<script>alert" not in shown(admin)
