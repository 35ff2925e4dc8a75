"""Addresses of the run pages, under /dashboard/."""

from django.urls import path

from runs.pages import views
from runs.pages.live import run_events

urlpatterns = [
    path("runs", views.run_list, name="runs"),
    path("runs/<uuid:run_id>", views.run_detail, name="run"),
    path("runs/<uuid:run_id>/events", run_events, name="run_events"),
    path("runs/<uuid:run_id>/cancel", views.run_stop, name="run_cancel"),
]
