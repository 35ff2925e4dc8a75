"""Pages: dashboard, admin. The API has its own table in `platform_site.api_urls`."""

from django.contrib import admin
from django.urls import include, path

from platform_site.console.pages import home

urlpatterns = [
    path("dashboard/", include("platform_site.console.urls")),
    path("dashboard/", include("runs.urls")),
    path("dashboard/", include("platform_site.webhooks.urls")),
    path("dashboard/", include("threads.urls")),
    path("dashboard/", include("assistants.urls")),
    path("dashboard/", include("crons.urls")),
    path("dashboard/", include("store.urls")),
    path("dashboard", home),
    path("admin/", admin.site.urls),
]

handler403 = "platform_site.console.pages.permission_denied"
handler404 = "platform_site.console.pages.page_not_found"
handler500 = "platform_site.console.pages.server_error"
