"""Addresses of the webhook pages, under /dashboard/."""

from django.urls import path

from platform_site.webhooks import pages

urlpatterns = [
    path("operations/webhooks", pages.webhook_list, name="webhooks"),
    path("operations/webhooks/secret", pages.secret_roll, name="webhook_secret"),
    path("operations/webhooks/<uuid:delivery_id>", pages.webhook_detail, name="webhook"),
    path("operations/webhooks/<uuid:delivery_id>/again", pages.webhook_redeliver, name="webhook_redeliver"),
    path("operations/webhooks/endpoints/<int:endpoint_id>/enable", pages.endpoint_switch, {"act": "enable"},
         name="endpoint_enable"),
    path("operations/webhooks/endpoints/<int:endpoint_id>/disable", pages.endpoint_switch, {"act": "disable"},
         name="endpoint_disable"),
]  # fmt: skip
