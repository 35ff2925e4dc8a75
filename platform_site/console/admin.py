"""The admin's frame, and what its classes share. Rows that the engine writes are looked at here, never edited."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

admin.site.site_header = "Switchyard"
admin.site.site_title = "Switchyard admin"
admin.site.site_url = "/dashboard/"
admin.site.index_title = "Everything that is stored"
# One door for all: the dashboard's sign-in slows down those who guess.
admin.site.login = login_required(admin.site.login)  # type: ignore[method-assign]


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Look, but do not touch: no adding, changing or deleting."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def on_dashboard(path: str) -> SafeString:
    return format_html('<a href="{}">Open on the dashboard</a>', path)
