"""The admin's frame, and what its classes share. Rows that the engine writes are looked at here, never edited."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

admin.site.site_header = "Switchyard"
admin.site.site_title = "Switchyard admin"
admin.site.site_url = "/dashboard/"
admin.site.index_title = "Everything that is stored"


def _login(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Send people to the dashboard's sign-in, which slows down those who guess: the admin asks for no password."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not admin.site.has_permission(request):
        raise PermissionDenied("The admin is for operators. Sign out, and sign in as one of them.")
    wanted = request.GET.get("next", "")
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(wanted if ours else reverse("admin:index"))


admin.site.login = never_cache(_login)  # type: ignore[method-assign]


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
