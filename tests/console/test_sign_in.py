"""Signing in with a password or the printed link, and out again."""

from threading import BoundedSemaphore

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from platform_site.access import brake
from platform_site.access.brake import PER_ADDRESS, PER_KNOWN_BROWSER, PER_NAME, PER_NAME_AND_ADDRESS
from platform_site.access.models import SignInAttempts
from platform_site.access.services import sign_in_link_create
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
    for _ in range(PER_NAME_AND_ADDRESS):
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
    for _ in range(PER_NAME_AND_ADDRESS - 1):
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


def test_the_admin_asks_for_no_password(nobody, yard, mara):
    """Somebody who is signed in and no operator could go on guessing there, past every brake."""
    yard.person("root", is_staff=True, is_superuser=True)
    nobody.force_login(mara)
    for password in ("no", "secret"):
        answer = nobody.post("/admin/login/", {"username": "root", "password": password})
        assert answer.status_code == 403
        assert b'name="password"' not in answer.content
    assert nobody.get("/dashboard/").context["me"].get_username() == "mara"


@pytest.mark.parametrize(
    ("wanted", "place"), [("/admin/auth/user/", "/admin/auth/user/"), ("//evil.example", "/admin/")]
)
def test_an_operator_goes_through_the_admins_door(nobody, yard, wanted, place):
    nobody.force_login(yard.person("root", is_staff=True, is_superuser=True))
    answer = nobody.get("/admin/login/", {"next": wanted})
    assert (answer.status_code, answer["Location"]) == (302, place)


def attempt(client: Client, name: str = "mara", password: str = "no", address: str = "203.0.113.7") -> int:
    return client.post("/dashboard/sign-in", {"username": name, "password": password}, REMOTE_ADDR=address).status_code


def test_guesses_at_the_same_moment_count_as_those_one_after_the_other(nobody, mara, monkeypatch):
    """Each guess is counted before its password is looked at."""
    tried = []

    def authenticate(request, username, password):
        # While one is being hashed, others arrive.
        tried.append(password)
        if len(tried) < 3 * PER_NAME_AND_ADDRESS:
            attempt(Client())
        return None

    monkeypatch.setattr(brake, "_HASHES_AT_ONCE", BoundedSemaphore(1000))
    monkeypatch.setattr("platform_site.console.pages.authenticate", authenticate)
    attempt(nobody)
    assert len(tried) == PER_NAME_AND_ADDRESS


def test_a_stranger_elsewhere_does_not_keep_the_owner_out(nobody, mara):
    for _ in range(2 * PER_NAME_AND_ADDRESS):
        attempt(nobody, address="198.51.100.9")
    assert attempt(nobody, password="secret", address="198.51.100.9") == 429
    assert attempt(Client(), password="secret") == 302


def test_a_name_that_is_guessed_from_everywhere_is_slowed_down(nobody, mara):
    for number in range(PER_NAME):
        assert attempt(nobody, address=f"10.1.{number // 250}.{number % 250}") == 422
    assert attempt(nobody, password="secret") == 429


def test_a_known_browser_is_never_kept_out_by_others(nobody, mara):
    """Neither by those who guess the name from everywhere, nor by those behind the same address."""
    assert attempt(nobody, password="secret") == 302
    nobody.post("/dashboard/sign-out")
    stranger = Client()
    for number in range(PER_NAME + 1):
        attempt(stranger, address=f"10.1.{number // 250}.{number % 250}")
    for number in range(PER_ADDRESS + 1):
        attempt(stranger, name=f"somebody {number}")
    assert attempt(stranger, password="secret") == 429
    assert attempt(nobody, password="secret") == 302


def test_a_known_browser_guesses_no_further_than_its_own_limit(nobody, mara):
    assert attempt(nobody, password="secret") == 302
    nobody.post("/dashboard/sign-out")
    found = [attempt(nobody) for _ in range(PER_KNOWN_BROWSER + 1)]
    assert found == [422] * PER_KNOWN_BROWSER + [429]


@pytest.mark.parametrize("forgery", ["other person", "other password", "no signature"])
def test_a_browser_that_only_says_so_is_not_known(nobody, yard, mara, forgery):
    yard.person("olaf")
    name = "olaf" if forgery == "other person" else "mara"
    assert attempt(nobody, name=name, password="secret") == 302
    nobody.post("/dashboard/sign-out")
    if forgery == "other password":
        mara.set_password("changed")
        mara.save()
    elif forgery == "no signature":
        nobody.cookies["known_browser"] = brake.browser_mark(mara)
    found = [attempt(nobody) for _ in range(PER_NAME_AND_ADDRESS + 1)]
    assert found == [422] * PER_NAME_AND_ADDRESS + [429]


def test_the_window_ends(nobody, mara, monkeypatch):
    for _ in range(PER_NAME_AND_ADDRESS + 1):
        attempt(nobody)
    later = timezone.now() + brake.WINDOW
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert attempt(nobody, password="secret") == 302


def test_an_ipv6_customer_is_one_address(nobody, mara):
    for number in range(PER_ADDRESS):
        attempt(nobody, name=f"somebody {number}", address=f"2001:db8::{number:x}")
    assert attempt(nobody, password="secret", address="2001:db8::ffff:1") == 429
    assert attempt(nobody, password="secret", address="2001:db8:0:1::1") == 302


def test_the_counters_are_bounded(nobody, mara, monkeypatch):
    monkeypatch.setattr(brake, "MOST_COUNTERS", 10)
    for number in range(20):
        attempt(nobody, name=f"somebody {number}", address=f"10.0.0.{number}")
    assert SignInAttempts.objects.count() <= 10 + 3
    assert "somebody" not in str(list(SignInAttempts.objects.values_list("key", flat=True)))


def test_an_address_that_is_refused_makes_no_more_counters(nobody, mara):
    for number in range(PER_ADDRESS):
        attempt(nobody, name=f"somebody {number}")
    kept = SignInAttempts.objects.count()
    assert attempt(nobody, name="one more") == 429
    assert SignInAttempts.objects.count() == kept


def test_counters_whose_window_is_over_go(nobody, mara, monkeypatch):
    attempt(nobody, name="somebody", address="10.0.0.1")
    later = timezone.now() + brake.WINDOW
    monkeypatch.setattr(timezone, "now", lambda: later)
    attempt(nobody)
    assert SignInAttempts.objects.count() == 3


def test_few_passwords_are_hashed_at_the_same_time(nobody, mara, monkeypatch):
    monkeypatch.setattr(brake, "_HASHES_AT_ONCE", BoundedSemaphore(1))
    monkeypatch.setattr(brake, "HASH_PATIENCE_SECONDS", 0.0)
    with brake.hashing():
        assert attempt(nobody, password="secret") == 503
    assert attempt(nobody, password="secret") == 302


def test_who_found_no_turn_has_not_guessed(nobody, mara, monkeypatch):
    monkeypatch.setattr(brake, "_HASHES_AT_ONCE", BoundedSemaphore(1))
    monkeypatch.setattr(brake, "HASH_PATIENCE_SECONDS", 0.0)
    with brake.hashing():
        assert {attempt(nobody) for _ in range(2 * PER_NAME_AND_ADDRESS)} == {503}
    assert attempt(nobody, password="secret") == 302
