"""How a request shows who tries to sign in: its address, and the browser that it comes from."""

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse

from platform_site.access.brake import Brake, browser_mark, is_known_browser

_COOKIE = "known_browser"
_SALT = "switchyard.console.known_browser"
_LASTS_SECONDS = 180 * 86400


def client_address(request: HttpRequest) -> str:
    """Where the request comes from; behind a proxy that is believed, what the proxy itself says: the last address."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_TLS_PROXY else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")


def brake_of(request: HttpRequest, name: str) -> Brake:
    """Return the brake for an attempt to sign in as `name`."""
    mark = request.get_signed_cookie(_COOKIE, default="", salt=_SALT, max_age=_LASTS_SECONDS) or ""
    return Brake(name, client_address(request), mark if is_known_browser(name, mark) else "")


def remember_browser(response: HttpResponse, user: User) -> None:
    """Let the browser show that this person has signed in with it: strangers who guess do not keep it out."""
    response.set_signed_cookie(
        _COOKIE,
        browser_mark(user),
        salt=_SALT,
        max_age=_LASTS_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )
