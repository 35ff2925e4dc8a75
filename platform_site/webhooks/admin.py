"""Webhooks in the admin: rows are read-only; deliveries are sent again, endpoints enabled and disabled."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from platform_site.access.principal import Principal
from platform_site.console.admin import ReadOnly
from platform_site.core.errors import ApiError
from platform_site.webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookSecret
from platform_site.webhooks.services import delivery_redeliver, endpoint_disable, endpoint_enable


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
