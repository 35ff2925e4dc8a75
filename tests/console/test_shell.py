"""What holds for every page: who may come in, the theme, the policy, the errors."""

import psycopg
import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from platform_site.access.models import Membership, Workspace
from tests.console.conftest import HOSTILE, Yard, signed_in

UNKNOWN = "01a1fdf1-816e-70e2-88b7-1cbb01eed137"
LISTS = [
    "/dashboard/", "/dashboard/runs", "/dashboard/threads", "/dashboard/assistants", "/dashboard/search",
    "/dashboard/crons", "/dashboard/crons/new", "/dashboard/store", "/dashboard/operations/webhooks",
]  # fmt: skip


@pytest.mark.parametrize("path", [*LISTS, f"/dashboard/runs/{UNKNOWN}", f"/dashboard/threads/{UNKNOWN}"])
def test_signed_out_one_is_asked_to_sign_in(nobody, db, path):
    answer = nobody.get(path)
    assert (answer.status_code, answer["Location"]) == (302, f"/dashboard/sign-in?next={path}")


def test_a_fragment_for_somebody_signed_out_reloads_the_page(nobody, db):
    answer = nobody.get("/dashboard/runs", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Refresh"]) == (204, "true")


@pytest.mark.parametrize("path", LISTS)
def test_members_and_viewers_see_the_pages(member, viewer, path):
    assert member.get(path).status_code == 200
    assert viewer.get(path).status_code == 200


@pytest.mark.parametrize("path", LISTS)
def test_the_policy_is_strict_and_no_page_carries_inline_code(member, path):
    answer = member.get(path)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = answer.content.decode()
    assert "<script>" not in page
    assert " style=" not in page
    assert " onclick" not in page


@pytest.mark.parametrize("path", LISTS)
def test_nothing_is_loaded_from_another_host(member, path):
    page = member.get(path).content.decode()
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_without_a_workspace_one_is_told(yard):
    lonely = signed_in(yard.person("lonely", role=None))
    answer = lonely.get("/dashboard/")
    assert answer.status_code == 403
    assert b"You are in no workspace" in answer.content


def test_a_superuser_sees_the_default_workspace_without_a_membership(yard, db):
    Workspace.objects.get_or_create(slug="default", defaults={"name": "Default"})
    root = signed_in(yard.person("root", role=None, is_superuser=True))
    assert b"Default" in root.get("/dashboard/").content


def test_only_staff_gets_a_link_to_the_admin(admin, member):
    assert b'href="/admin/"' in admin.get("/dashboard/").content
    assert b'href="/admin/"' not in member.get("/dashboard/").content


def test_of_several_workspaces_one_is_looked_at_and_can_be_changed(yard: Yard, elsewhere: Yard):
    user = yard.person("mara")
    Membership.objects.create(workspace=elsewhere.workspace, user=user)
    elsewhere.thread("There")
    yard.thread("Here")
    mara = signed_in(user)
    assert b"There" in mara.get("/dashboard/threads").content
    mara.post("/dashboard/workspace", {"workspace": yard.workspace.pk})
    page = mara.get("/dashboard/threads").content
    assert b"Here" in page
    assert b"There" not in page


def test_a_workspace_of_others_cannot_be_chosen(yard: Yard, elsewhere: Yard, member):
    member.post("/dashboard/workspace", {"workspace": elsewhere.workspace.pk})
    assert b"Harbour Support" in member.get("/dashboard/").content


def test_the_theme_is_rendered_by_the_server(member):
    assert b"data-theme" not in member.get("/dashboard/").content.split(b">")[1]
    answer = member.post("/dashboard/theme", {"theme": "dark", "next": "/dashboard/runs"})
    assert answer["Location"] == "/dashboard/runs"
    assert b'data-theme="dark"' in member.get("/dashboard/runs").content
    member.post("/dashboard/theme", {"theme": "system"})
    assert b'data-theme="dark"' not in member.get("/dashboard/").content


def test_an_invented_theme_is_ignored(member):
    member.cookies["theme"] = '"><script>'
    assert b"<script>" not in member.get("/dashboard/").content


def test_a_missing_page_shows_the_shell_and_the_request_id(member):
    answer = member.get("/dashboard/nowhere")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is nothing here" in page
    assert 'aria-label="Main"' in page
    assert answer["X-Request-ID"] in page


def test_a_missing_page_tells_a_stranger_nothing_more(nobody, db):
    answer = nobody.get("/dashboard/nowhere")
    assert answer.status_code == 404
    assert 'aria-label="Main"' not in answer.content.decode()


def test_a_failure_shows_the_request_id_and_nothing_of_the_failure(member, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("platform_site.console.pages.recent_runs", fail)
    member.raise_request_exception = False
    answer = member.get("/dashboard/")
    assert answer.status_code == 500
    assert answer["X-Request-ID"] in answer.content.decode()
    assert "secret detail" not in answer.content.decode()


def test_a_page_whose_rows_are_locked_says_so(member, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("canceled") from psycopg.errors.LockNotAvailable("canceling statement")

    monkeypatch.setattr("platform_site.console.pages.recent_runs", fail)
    answer = member.get("/dashboard/")
    assert answer.status_code == 503
    assert "Another process has locked what this needs; try again." in answer.content.decode()


def test_a_page_whose_database_is_away_says_so(member, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("gone") from psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("platform_site.console.pages.recent_runs", fail)
    answer = member.get("/dashboard/")
    assert answer.status_code == 503
    assert "The database does not answer; try again." in answer.content.decode()


def test_a_form_without_its_token_is_refused_in_the_shell(yard):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(yard.person("mara"))
    answer = strict.post("/dashboard/theme", {"theme": "dark"})
    assert answer.status_code == 403
    assert b"The form was too old" in answer.content


def test_names_are_escaped(yard):
    mallory = signed_in(yard.person("mallory", first_name=HOSTILE[:30]))
    yard.workspace.name = HOSTILE
    yard.workspace.save()
    page = mallory.get("/dashboard/").content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_the_bare_address_leads_to_the_overview(nobody):
    assert nobody.get("/dashboard")["Location"] == reverse("overview")


@pytest.mark.parametrize("path", LISTS)
def test_nobody_looks_for_a_character_that_cannot_be_stored(member, path):
    assert member.get(path, {"q": "a\x00b"}).status_code == 404
