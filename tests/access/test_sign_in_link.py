"""Links that sign a person in once."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from platform_site.access.default_workspace import ensure_first_start
from platform_site.access.models import AuditEntry, Membership, SignInLink, Workspace
from platform_site.access.services import sign_in_link_create, sign_in_link_use

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> User:
    ensure_first_start()
    return User.objects.get(username="admin")


def link_token(user: User) -> str:
    path = sign_in_link_create(user)
    assert path.startswith("/dashboard/sign-in/")
    return path.rpartition("/")[2]


def test_link_signs_its_person_in(admin: User) -> None:
    assert sign_in_link_use(link_token(admin)) == admin


def test_link_works_once(admin: User) -> None:
    token = link_token(admin)
    sign_in_link_use(token)
    assert sign_in_link_use(token) is None


def test_link_ends_after_ten_minutes(admin: User) -> None:
    token = link_token(admin)
    assert abs(SignInLink.objects.get().expires_at - timezone.now() - timedelta(minutes=10)) < timedelta(minutes=1)
    SignInLink.objects.update(expires_at=timezone.now())
    assert sign_in_link_use(token) is None


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 43, "x\x00"])
def test_unknown_link(admin: User, token: str) -> None:
    link_token(admin)
    assert sign_in_link_use(token) is None


def test_link_of_somebody_who_was_locked_out(admin: User) -> None:
    token = link_token(admin)
    User.objects.update(is_active=False)
    assert sign_in_link_use(token) is None


def test_only_the_hash_is_stored(admin: User) -> None:
    token = link_token(admin)
    assert len(token) >= 43  # 32 bytes
    assert token not in str(vars(SignInLink.objects.get()))


def test_sign_in_is_in_the_audit_log(admin: User) -> None:
    sign_in_link_use(link_token(admin))
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action) == ("admin", "signed_in")
    assert entry.workspace is not None
    assert entry.workspace.slug == "default"


def test_old_links_are_swept_when_a_new_one_is_made(admin: User) -> None:
    link_token(admin)
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    link_token(admin)
    assert SignInLink.objects.count() == 1


def test_first_start_makes_workspace_and_superuser_once() -> None:
    ensure_first_start()
    ensure_first_start()
    assert Workspace.objects.get().slug == "default"
    user = User.objects.get()
    assert (user.username, user.is_superuser, user.has_usable_password()) == ("admin", True, False)
    assert Membership.objects.get().role == "admin"


def test_first_start_leaves_a_changed_superuser_alone() -> None:
    ensure_first_start()
    user = User.objects.get()
    user.set_password("chosen")
    user.save()
    ensure_first_start()
    assert User.objects.get().check_password("chosen")
