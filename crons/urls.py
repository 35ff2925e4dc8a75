"""Addresses of the cron pages, under /dashboard/."""

from django.urls import path

from crons.pages import views

urlpatterns = [
    path("crons", views.cron_list, name="crons"),
    path("crons/new", views.cron_new, name="cron_new"),
    path("crons/preview", views.cron_preview, name="cron_preview"),
    path("crons/<uuid:cron_id>", views.cron_detail, name="cron"),
    path("crons/<uuid:cron_id>/edit", views.cron_edit, name="cron_edit"),
    path("crons/<uuid:cron_id>/run", views.cron_act, {"act": "run"}, name="cron_run"),
    path("crons/<uuid:cron_id>/pause", views.cron_act, {"act": "pause"}, name="cron_pause"),
    path("crons/<uuid:cron_id>/resume", views.cron_act, {"act": "resume"}, name="cron_resume"),
    path("crons/<uuid:cron_id>/delete", views.cron_act, {"act": "delete"}, name="cron_delete"),
]
