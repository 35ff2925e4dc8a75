"""Runs and what belongs to them in the admin: the engine's rows, read-only."""

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from platform_site.console.admin import ReadOnly, on_dashboard
from runs.models import PendingInterrupt, Run, RunAttempt, RunSpan, RunStatistic, Worker


@admin.register(Run)
class RunAdmin(ReadOnly):
    list_display = ("run_id", "status", "thread", "assistant_id", "attempt", "error_class", "created_at", "finished_at")
    list_filter = ("status",)
    list_select_related = ("thread",)
    search_fields = ("run_id", "thread__title", "error_class")
    ordering = ("-sequence",)
    readonly_fields = ("run_id", "dashboard")

    @admin.display(description="dashboard")
    def dashboard(self, run: Run) -> SafeString:
        return on_dashboard(reverse("run", args=[run.run_id]))


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "started_at", "alive_until", "patient_until", "died_at")
    list_filter = (("died_at", admin.EmptyFieldListFilter),)
    search_fields = ("name",)
    ordering = ("-started_at",)


@admin.register(RunAttempt)
class RunAttemptAdmin(ReadOnly):
    list_display = ("run", "number", "worker", "reason", "started_at", "ended_at")
    list_filter = ("reason",)
    list_select_related = ("run",)
    search_fields = ("worker",)
    ordering = ("-pk",)


@admin.register(RunSpan)
class RunSpanAdmin(ReadOnly):
    list_display = ("name", "kind", "run", "attempt", "started_at", "ended_at", "input_tokens", "output_tokens")
    list_filter = ("kind",)
    list_select_related = ("run",)
    search_fields = ("name",)
    ordering = ("-pk",)


@admin.register(PendingInterrupt)
class PendingInterruptAdmin(ReadOnly):
    list_display = ("thread", "node", "assistant_id", "assignee", "created_at", "answered_at", "answered_by")
    list_filter = (("answered_at", admin.EmptyFieldListFilter),)
    list_select_related = ("thread", "assignee")
    search_fields = ("node", "thread__title", "interrupt_id")
    ordering = ("-created_at",)


@admin.register(RunStatistic)
class RunStatisticAdmin(ReadOnly):
    list_display = ("minute", "assistant_id", "status", "error_class", "runs", "input_tokens", "output_tokens")
    list_filter = ("status",)
    search_fields = ("error_class",)
    ordering = ("-minute",)
