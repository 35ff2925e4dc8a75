"""Addresses under /dashboard/ that belong to no single resource."""

from django.urls import path

from platform_site.console import pages

urlpatterns = [
    path("", pages.overview, name="overview"),
    path("search", pages.search, name="search"),
    path("sign-in", pages.sign_in, name="sign_in"),
    path("sign-in/<str:token>", pages.sign_in_link, name="sign_in_link"),
    path("sign-out", pages.sign_out, name="sign_out"),
    path("theme", pages.theme, name="theme"),
    path("workspace", pages.choose_workspace, name="choose_workspace"),
]
