"""Assistants in the admin: read-only, because each change has to make a version."""

from django.contrib import admin

from assistants.models import Assistant, AssistantVersion
from platform_site.console.admin import ReadOnly


@admin.register(Assistant)
class AssistantAdmin(ReadOnly):
    list_display = ("name", "graph_id", "version", "workspace", "is_deleted", "created_at", "updated_at")
    list_filter = ("graph_id",)
    list_select_related = ("workspace",)
    search_fields = ("name", "graph_id", "assistant_id")
    readonly_fields = ("assistant_id", "is_deleted")


@admin.register(AssistantVersion)
class AssistantVersionAdmin(ReadOnly):
    list_display = ("assistant", "version", "graph_id", "created_at", "note")
    list_select_related = ("assistant",)
    search_fields = ("assistant__name", "note")
