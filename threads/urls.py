"""Addresses of the thread pages, under /dashboard/."""

from django.urls import path

from threads import pages

urlpatterns = [
    path("threads", pages.thread_list, name="threads"),
    path("threads/<uuid:thread_id>", pages.thread_detail, name="thread"),
]
