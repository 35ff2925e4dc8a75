"""Signing in with a password or the printed link, and out again."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from platform_site.access.services import sign_in_link_create
from platform_site.console.guesses import PER_ADDRESS, PER_NAME
from tests.console.conftest import Yard


@pytest.fixture
def mara(yard: Yard) -> User:
    return yard.person("mara")


def is_signed_in(client: Client) -> bool:
    return client.get(reverse("overview")).status_code == 200


def test_a_right_password_leads_to_where_one_wanted_to_go(nobody, mara):
    answer = nobody.post("/dashboard/sign-in", {"username": "mara", "password": "secret", "next": "/dashboard/runs"})
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard/runs")
    assert is_signed_in(nobody)


def test_a_wrong_password_says_so_and_keeps_the_name(nobody, mara):
    answer = nobody.post("/dashboard/sign-in", {"username": "mara", "password": "no"})
    assert answer.status_code == 422
    assert b"do not match" in answer.content
    assert b'value="mara"' in answer.content


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_it_never_leads_to_another_site(nobody, mara, elsewhere):
    answer = nobody.post("/dashboard/sign-in", {"username": "mara", "password": "secret", "next": elsewhere})
    assert answer["Location"] == "/dashboard/"


def test_too_many_wrong_passwords_close_the_door_for_the_right_one(nobody, mara):
    for _ in range(PER_NAME):
        nobody.post("/dashboard/sign-in", {"username": "Mara", "password": "no"})
    answer = nobody.post("/dashboard/sign-in", {"username": "mara", "password": "secret"})
    assert answer.status_code == 429
    assert not is_signed_in(nobody)


@pytest.mark.parametrize(("behind_proxy", "status"), [(True, 302), (False, 429)])
def test_many_wrong_passwords_close_the_door_for_their_address_only(nobody, mara, settings, behind_proxy, status):
    """The address is the one that the proxy adds: what stands before it may be made up."""
    settings.BEHIND_TLS_PROXY = behind_proxy
    for number in range(PER_ADDRESS):
        attempt = {"username": f"somebody {number}", "password": "no"}
        nobody.post("/dashboard/sign-in", attempt, headers={"X-Forwarded-For": f"10.0.0.{number}, 203.0.113.7"})
    right = {"username": "mara", "password": "secret"}
    refused = nobody.post("/dashboard/sign-in", right, headers={"X-Forwarded-For": "203.0.113.7"})
    assert refused.status_code == 429
    elsewhere = nobody.post("/dashboard/sign-in", right, headers={"X-Forwarded-For": "203.0.113.8"})
    assert elsewhere.status_code == status


def test_a_right_password_clears_the_count(nobody, mara):
    for _ in range(PER_NAME - 1):
        nobody.post("/dashboard/sign-in", {"username": "mara", "password": "no"})
    nobody.post("/dashboard/sign-in", {"username": "mara", "password": "secret"})
    nobody.post("/dashboard/sign-out")
    nobody.post("/dashboard/sign-in", {"username": "mara", "password": "no"})
    assert nobody.post("/dashboard/sign-in", {"username": "mara", "password": "secret"}).status_code == 302


def test_looking_at_the_link_does_not_use_it_up(nobody, mara):
    link = sign_in_link_create(mara)
    for _ in range(3):
        assert nobody.get(link).status_code == 200
    assert not is_signed_in(nobody)
    assert nobody.post(link)["Location"] == "/dashboard/"
    assert is_signed_in(nobody)


def test_the_link_works_once(nobody, mara):
    link = sign_in_link_create(mara)
    nobody.post(link)
    other = Client()
    answer = other.post(link)
    assert answer.status_code == 410
    assert b"no longer works" in answer.content
    assert not is_signed_in(other)


def test_an_invented_link_is_refused(nobody, db):
    assert nobody.post("/dashboard/sign-in/nonsense").status_code == 410


def test_the_link_needs_the_page_s_token(mara):
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(sign_in_link_create(mara)).status_code == 403
    assert not is_signed_in(strict)


def test_signing_out_ends_the_session_and_is_no_mere_link(member):
    assert member.get("/dashboard/sign-out").status_code == 405
    assert is_signed_in(member)
    member.post("/dashboard/sign-out")
    assert not is_signed_in(member)


def test_the_admin_has_the_same_door(nobody, db):
    answer = nobody.get("/admin/login/?next=/admin/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/dashboard/sign-in")
