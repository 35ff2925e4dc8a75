"""Workspaces, people's places in them, keys and the audit log in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from platform_site.access.models import ApiKey, AuditEntry, Membership, SignInAttempts, SignInLink, Workspace
from platform_site.access.principal import Principal, Role
from platform_site.access.services import api_key_revoke, audit
from platform_site.console.admin import ReadOnly


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Not deleted here: threads, runs and their checkpoints would have to go through their services."""

    list_display = ("name", "slug", "created_at")
    search_fields = ("name", "slug")

    def get_readonly_fields(self, request: HttpRequest, obj: Workspace | None = None) -> tuple[str, ...]:
        return ("slug", "created_at") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("user", "workspace", "role", "created_at")
    list_filter = ("role", "workspace")
    list_select_related = ("user", "workspace")
    search_fields = ("user__username", "workspace__name")
    autocomplete_fields = ("user", "workspace")

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self._audit(request, "membership.changed" if change else "membership.created", obj)

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        self._audit(request, "membership.deleted", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        for membership in queryset:
            self._audit(request, "membership.deleted", membership)
        super().delete_queryset(request, queryset)

    def _audit(self, request: HttpRequest, action: str, obj: Membership) -> None:
        audit(obj.workspace_id, request.user.get_username(), action, obj.user.get_username(), role=str(obj.role))


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys are made with `manage.py create_api_key`, which shows them once; here they can be ended."""

    list_display = ("name", "prefix", "workspace", "role", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_filter = ("role", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("name", "prefix")
    exclude = ("digest",)
    actions = ("revoke",)

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        keys = list(queryset.filter(revoked_at=None))
        for key in keys:
            # Whoever may use the admin acts as an admin of the key's workspace; the audit log has their name.
            api_key_revoke(Principal(key.workspace_id, Role.ADMIN, request.user.get_username()), key)
        messages.success(request, f"{len(keys)} revoked. Processes refuse them within ten seconds.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("access.change_apikey")

    revoke.allowed_permissions = ("revoke",)  # type: ignore[attr-defined]


@admin.register(SignInLink)
class SignInLinkAdmin(ReadOnly):
    list_display = ("user", "expires_at", "used_at")
    list_select_related = ("user",)
    exclude = ("digest",)


@admin.register(SignInAttempts)
class SignInAttemptsAdmin(ReadOnly):
    """Counted by keyed hashes: names that were tried cannot be read here."""

    list_display = ("expires_at", "count", "key")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly):
    list_display = ("created_at", "actor", "action", "target", "workspace")
    list_filter = ("action",)
    list_select_related = ("workspace",)
    search_fields = ("actor", "action", "target")
    date_hierarchy = "created_at"
