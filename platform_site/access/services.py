"""Writes of the access app: first start, API keys, sign-in links, the audit log."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from platform_site.access.models import ApiKey, AuditEntry, Membership, SignInLink, Workspace
from platform_site.access.principal import Principal, Role
from platform_site.access.selectors import usable_api_key
from platform_site.core.errors import Forbidden

KEY_PREFIX = "sy_"
SIGN_IN_LINK_LIFETIME = timedelta(minutes=10)
# How exact a key's last use is known.
LAST_USED_STEP = timedelta(minutes=1)


def audit(workspace_id: int | None, actor: str, action: str, target: str = "", **details: Any) -> AuditEntry:
    """Record what a person did, or a change of configuration. Call it in the transaction of the deed.

    An empty actor is the nameless caller of open mode.
    """
    return AuditEntry.objects.create(
        workspace_id=workspace_id,
        actor=(actor or "anonymous")[:200],
        action=action,
        target=target[:200],
        details=details,
    )


def actor_of(principal: Principal | None) -> str:
    """How the audit log names a caller; None is the operator at the command line."""
    return "command line" if principal is None else principal.display_name or principal.identity


def _digest(purpose: str, secret: str) -> str:
    return salted_hmac(f"switchyard.access.{purpose}", secret, algorithm="sha256").hexdigest()


def api_key_digest(key: str) -> str:
    """The keyed hash of an API key. Without SECRET_KEY the table of hashes is worth nothing."""
    return _digest("api_key", key)


def api_key_create(
    principal: Principal | None,
    *,
    workspace: Workspace,
    name: str,
    role: Role = Role.MEMBER,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
    created_by: User | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which nobody can ask for again.

    `principal` None is the operator at the command line. Others must be admins of the workspace.
    """
    if principal is not None and (principal.role is not Role.ADMIN or principal.workspace_id != workspace.pk):
        raise Forbidden
    prefix = KEY_PREFIX + secrets.token_hex(4)
    key = f"{prefix}_{base64.b32encode(secrets.token_bytes(20)).decode().lower()}"
    with transaction.atomic():
        api_key = ApiKey.objects.create(
            workspace=workspace,
            name=name,
            prefix=prefix,
            digest=api_key_digest(key),
            role=role,
            scopes=list(scopes),
            expires_at=expires_at,
            created_by=created_by,
        )
        audit(workspace.pk, actor_of(principal), "api_key.created", prefix, name=name, role=str(role))
    return api_key, key


def api_key_revoke(principal: Principal, api_key: ApiKey) -> None:
    """End a key. Processes that remember it as valid refuse it within ten seconds."""
    if principal.role is not Role.ADMIN or principal.workspace_id != api_key.workspace_id:
        raise Forbidden
    with transaction.atomic():
        if ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit(api_key.workspace_id, actor_of(principal), "api_key.revoked", api_key.prefix, name=api_key.name)


def api_key_check(key: str) -> ApiKey | None:
    """The usable key that `key` is, None if there is none."""
    prefix, _, secret = key.rpartition("_")
    if not secret or not prefix.startswith(KEY_PREFIX) or not key.isascii():
        return None
    api_key = usable_api_key(prefix)
    # A missing key takes as long as a wrong one.
    expected = api_key.digest if api_key else "0" * 64
    return api_key if secrets.compare_digest(expected, api_key_digest(key)) else None


def api_key_touch(pk: int) -> None:
    """Note that a key was used, at most once a minute."""
    now = timezone.now()
    ApiKey.objects.filter(pk=pk).filter(Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_STEP)).update(
        last_used_at=now
    )


def sign_in_link_create(user: User) -> str:
    """The path of a link that signs `user` in once within ten minutes. Only the link's hash is stored."""
    token = secrets.token_urlsafe(32)
    now = timezone.now()
    with transaction.atomic():
        SignInLink.objects.filter(expires_at__lt=now).delete()
        SignInLink.objects.create(
            user=user, digest=_digest("sign_in_link", token), expires_at=now + SIGN_IN_LINK_LIFETIME
        )
    return f"/dashboard/sign-in/{token}"


def sign_in_link_use(token: str) -> User | None:
    """The person whom the link signs in; None if it is unknown, was used before, or is too old."""
    now = timezone.now()
    with transaction.atomic():
        links = SignInLink.objects.filter(digest=_digest("sign_in_link", token))
        # Whoever changes the row first has used the link.
        if not links.filter(used_at=None, expires_at__gt=now, user__is_active=True).update(used_at=now):
            return None
        user: User = links.select_related("user").get().user
        workspace_id = Membership.objects.filter(user=user).values_list("workspace_id", flat=True).first()
        audit(workspace_id, user.get_username(), "signed_in", "sign-in link")
    return user
