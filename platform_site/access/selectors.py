"""Reads of the access app."""

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from platform_site.access.models import ApiKey, AuditEntry, Workspace
from platform_site.access.principal import Principal

DEFAULT_WORKSPACE = "default"
_default_workspace_id: int | None = None


def default_workspace_id() -> int:
    """The id of the default workspace, remembered; makes the workspace and its superuser if this is the first start."""
    global _default_workspace_id
    if _default_workspace_id is None:
        found = Workspace.objects.filter(slug=DEFAULT_WORKSPACE).values_list("pk", flat=True).first()
        if found is None:
            from platform_site.access.services import ensure_first_start

            found = ensure_first_start().pk
        _default_workspace_id = found
    return _default_workspace_id


def remembered_default_workspace_id() -> int | None:
    """The id of the default workspace if this process knows it already: no query."""
    return _default_workspace_id


def forget_default_workspace() -> None:
    global _default_workspace_id
    _default_workspace_id = None


def usable_api_key(prefix: str, now: datetime | None = None) -> ApiKey | None:
    """The key with this clear prefix, unless it is revoked or has expired."""
    now = now or timezone.now()
    return (
        ApiKey.objects.filter(prefix=prefix, revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now)).first()
    )


def api_key_list(principal: Principal) -> list[ApiKey]:
    """The keys of the caller's workspace, newest first."""
    return list(ApiKey.objects.filter(workspace_id=principal.workspace_id).order_by("-created_at"))


def audit_entries(principal: Principal, limit: int = 100) -> list[AuditEntry]:
    """What was done in the caller's workspace, newest first."""
    return list(AuditEntry.objects.filter(workspace_id=principal.workspace_id).order_by("-created_at", "-pk")[:limit])
