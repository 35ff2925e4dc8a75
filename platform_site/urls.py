"""Pages: dashboard, admin. The API has its own table in `platform_site.api_urls`."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
