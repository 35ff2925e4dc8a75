"""Addresses of the assistant pages, under /dashboard/."""

from django.urls import path

from assistants import pages

urlpatterns = [
    path("assistants", pages.assistant_list, name="assistants"),
]
