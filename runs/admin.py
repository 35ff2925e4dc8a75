"""Runs and what belongs to them in the admin: the engine's rows, read-only."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from platform_site.access.principal import Principal
from platform_site.console.admin import ReadOnly, on_dashboard
from platform_site.core.errors import ApiError
from runs.models import (
    PendingInterrupt,
    Run,
    RunAttempt,
    RunSpan,
    RunStatistic,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)
from runs.webhooks.services import delivery_redeliver, endpoint_disable, endpoint_enable


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


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnly):
    list_display = ("delivery_id", "event", "status", "address", "attempts", "response_status", "created_at", "error")
    list_filter = ("status", "event")
    search_fields = ("address", "host", "error")
    ordering = ("-pk",)
    readonly_fields = ("delivery_id",)
    actions = ("redeliver",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        deliveries: QuerySet[WebhookDelivery] = super().get_queryset(request)
        is_list = request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")
        return deliveries.defer("body") if is_list else deliveries

    @admin.action(description="Send again")
    def redeliver(self, request: HttpRequest, deliveries: QuerySet[WebhookDelivery]) -> None:
        done = 0
        for workspace_id, delivery_id in deliveries.values_list("workspace_id", "delivery_id"):
            try:
                delivery_redeliver(_operator(request, workspace_id), delivery_id)
                done += 1
            except ApiError as error:
                self.message_user(request, f"{delivery_id}: {error.detail}", messages.ERROR)
        self.message_user(request, f"{done} on their way again.")


@admin.register(WebhookAttempt)
class WebhookAttemptAdmin(ReadOnly):
    list_display = ("delivery", "number", "at", "milliseconds", "response_status", "error")
    list_filter = ("response_status",)
    list_select_related = ("delivery",)
    search_fields = ("delivery__address", "error")
    ordering = ("-pk",)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnly):
    list_display = ("address", "workspace", "failures", "last_delivered_at", "last_failed_at", "disabled_reason")
    list_filter = (("disabled_at", admin.EmptyFieldListFilter),)
    list_select_related = ("workspace",)
    search_fields = ("address", "disabled_reason")
    ordering = ("-pk",)
    actions = ("enable", "disable")

    @admin.action(description="Enable, and send what was held back")
    def enable(self, request: HttpRequest, endpoints: QuerySet[WebhookEndpoint]) -> None:
        sent = sum(endpoint_enable(_operator(request, row.workspace_id), row.pk) for row in endpoints)
        self.message_user(request, f"Held back, and on their way now: {sent}.")

    @admin.action(description="Disable: hold back what comes")
    def disable(self, request: HttpRequest, endpoints: QuerySet[WebhookEndpoint]) -> None:
        for row in endpoints:
            endpoint_disable(_operator(request, row.workspace_id), row.pk)


@admin.register(WebhookSecret)
class WebhookSecretAdmin(ReadOnly):
    list_display = ("workspace", "created_at", "expires_at")
    list_select_related = ("workspace",)
    ordering = ("-pk",)
    # With SECRET_KEY it makes the secret.
    exclude = ("salt",)


def _operator(request: HttpRequest, workspace_id: int) -> Principal:
    """The person at the admin, who may do everything in every workspace."""
    name = request.user.get_username()
    return Principal(workspace_id=workspace_id, identity=name, display_name=name)
