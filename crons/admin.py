"""Crons in the admin: read-only, because a change has to move the next due time and to wake the scheduler."""

from django.contrib import admin

from crons.models import Cron, CronTick
from platform_site.console.admin import ReadOnly


@admin.register(Cron)
class CronAdmin(ReadOnly):
    list_display = (
        "cron_id",
        "schedule",
        "timezone",
        "assistant_id",
        "thread",
        "enabled",
        "next_run_date",
        "created_at",
    )
    list_filter = ("enabled", "misfire_policy", "overlap_policy")
    list_select_related = ("thread",)
    search_fields = ("cron_id", "schedule", "assistant_id")
    readonly_fields = ("cron_id",)
    ordering = ("-created_at",)


@admin.register(CronTick)
class CronTickAdmin(ReadOnly):
    list_display = ("due_at", "cron", "outcome", "reason", "run_id", "fired_at")
    list_filter = ("outcome",)
    list_select_related = ("cron",)
    search_fields = ("cron__cron_id", "run_id", "reason")
    ordering = ("-due_at",)
