"""Addresses of the run pages, under /dashboard/."""

from django.urls import path

from runs.pages import views, webhooks
from runs.pages.live import run_events

urlpatterns = [
    path("runs", views.run_list, name="runs"),
    path("runs/<uuid:run_id>", views.run_detail, name="run"),
    path("runs/<uuid:run_id>/events", run_events, name="run_events"),
    path("runs/<uuid:run_id>/cancel", views.run_stop, name="run_cancel"),
    path("operations/webhooks", webhooks.webhook_list, name="webhooks"),
    path("operations/webhooks/secret", webhooks.secret_roll, name="webhook_secret"),
    path("operations/webhooks/<uuid:delivery_id>", webhooks.webhook_detail, name="webhook"),
    path("operations/webhooks/<uuid:delivery_id>/again", webhooks.webhook_redeliver, name="webhook_redeliver"),
    path("operations/webhooks/endpoints/<int:endpoint_id>/enable", webhooks.endpoint_switch, {"act": "enable"},
         name="endpoint_enable"),
    path("operations/webhooks/endpoints/<int:endpoint_id>/disable", webhooks.endpoint_switch, {"act": "disable"},
         name="endpoint_disable"),
]  # fmt: skip
