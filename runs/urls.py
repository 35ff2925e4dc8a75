"""Addresses of the run pages, under /dashboard/."""

from django.urls import path

from runs import pages
from runs.live import run_events

urlpatterns = [
    path("runs", pages.run_list, name="runs"),
    path("runs/<uuid:run_id>", pages.run_detail, name="run"),
    path("runs/<uuid:run_id>/events", run_events, name="run_events"),
    path("runs/<uuid:run_id>/cancel", pages.run_stop, name="run_cancel"),
]
