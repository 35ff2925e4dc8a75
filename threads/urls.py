"""Addresses of the thread pages, under /dashboard/."""

from django.urls import path

from threads.pages import views

urlpatterns = [
    path("threads", views.thread_list, name="threads"),
    path("threads/<uuid:thread_id>", views.thread_detail, name="thread"),
]
