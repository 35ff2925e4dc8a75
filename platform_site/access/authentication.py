"""Who calls: `AUTH=open` (everyone on this machine) or `AUTH=keys` (API keys)."""

import asyncio
import os
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils import timezone

from platform_site.access.default_workspace import default_workspace_id, remembered_default_workspace_id
from platform_site.access.models import ApiKey
from platform_site.access.principal import Principal, Role
from platform_site.access.services import LAST_USED_STEP, api_key_check, api_key_digest, api_key_touch
from platform_site.core.config import ConfigError, config
from platform_site.core.database.access import in_db, read_db
from platform_site.core.errors import Unauthorized

_NO_HANDLERS = (
    "authentication by a handler of one's own is not available in this version, and without it everybody would be let "
    "in; take this out to serve the project with API keys (AUTH=keys), or to yourself alone"
)
# How long a verified key is believed without asking the database: the longest a revoked key goes on working.
KEY_CACHE_SECONDS = 5.0
_KEY_CACHE_SIZE = 10_000


class _Known(NamedTuple):
    principal: Principal
    until: float
    expires_at: datetime | None


_known: dict[str, _Known] = {}
_touching: set[asyncio.Task[None]] = set()


def check_settings() -> None:
    """Raise ImproperlyConfigured or ConfigError if the configured way of authentication cannot be had."""
    if settings.AUTH == "handler":
        raise ImproperlyConfigured("AUTH=handler is not available yet: use AUTH=keys, or AUTH=open on loopback")
    used = config()
    if used.auth is not None:
        raise ConfigError(f"{used.path}: `auth`: {_NO_HANDLERS}")
    # Images of the reference server name the handler in a variable instead.
    if used.env.get("LANGGRAPH_AUTH") or os.environ.get("LANGGRAPH_AUTH"):
        raise ConfigError(f"the variable LANGGRAPH_AUTH: {_NO_HANDLERS}")


async def authenticate(request: HttpRequest) -> Principal:
    """The caller; raises Unauthorized."""
    if settings.AUTH == "open":
        workspace_id = remembered_default_workspace_id()
        return _anyone(workspace_id if workspace_id is not None else await in_db(default_workspace_id))
    if settings.AUTH == "keys":
        return await _by_key(_sent_key(request))
    raise ImproperlyConfigured(f"AUTH={settings.AUTH} is not available")


_open: Principal | None = None


def _anyone(workspace_id: int) -> Principal:
    global _open
    if _open is None or _open.workspace_id != workspace_id:
        _open = Principal(workspace_id)
    return _open


def _sent_key(request: HttpRequest) -> str:
    if key := request.META.get("HTTP_X_API_KEY"):
        return str(key).strip()
    scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


async def _by_key(key: str) -> Principal:
    if not key:
        raise Unauthorized
    digest = api_key_digest(key)
    known = _known.get(digest)
    if known is not None and monotonic() < known.until:
        if known.expires_at is None or timezone.now() < known.expires_at:
            return known.principal
        raise Unauthorized
    _known.pop(digest, None)
    api_key = await read_db(api_key_check, key)
    if api_key is None:
        raise Unauthorized
    if len(_known) >= _KEY_CACHE_SIZE:
        _known.clear()
    principal = principal_of(api_key)
    _known[digest] = _Known(principal, monotonic() + KEY_CACHE_SECONDS, api_key.expires_at)
    _note_use(api_key)
    return principal


def principal_of(api_key: ApiKey) -> Principal:
    """Whom a key stands for."""
    return Principal(
        workspace_id=api_key.workspace_id,
        role=Role(api_key.role),
        identity=api_key.prefix,
        display_name=api_key.name,
        permissions=tuple(api_key.scopes),
        user={
            "identity": api_key.prefix,
            "display_name": api_key.name,
            "is_authenticated": True,
            "permissions": list(api_key.scopes),
        },
    )


def _note_use(api_key: ApiKey) -> None:
    """Write the key's last use beside the request, not in its way."""
    if api_key.last_used_at is not None and timezone.now() - api_key.last_used_at < LAST_USED_STEP:
        return
    task = asyncio.create_task(in_db(api_key_touch, api_key.pk))
    _touching.add(task)
    task.add_done_callback(_touching.discard)


def forget_keys() -> None:
    """Drop all verified keys, so that the next use of each asks the database."""
    _known.clear()
