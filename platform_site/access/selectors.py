"""Reads of the access app."""

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from platform_site.access.models import ApiKey, AuditEntry
from platform_site.access.principal import Principal


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
