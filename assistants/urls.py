"""Addresses of the assistant pages, under /dashboard/."""

from django.urls import path

from assistants.pages import views

urlpatterns = [
    path("assistants", views.assistant_list, name="assistants"),
]
