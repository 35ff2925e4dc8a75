"""Slowing down those who guess passwords."""

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

WINDOW_SECONDS = 300
# Wrong passwords in the window before the door closes; an address may belong to a whole office.
PER_NAME = 5
PER_ADDRESS = 30


def client_address(request: HttpRequest) -> str:
    """Where the request comes from; behind a proxy that is believed, what the proxy itself says: the last address."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_TLS_PROXY else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")


class Guesses:
    """Counts wrong passwords of a name and of an address in the process's cache; a right one clears the name."""

    def __init__(self, name: str, address: str) -> None:
        self._name = f"sign-in:name:{name.casefold().encode().hex()[:160]}"
        self._address = f"sign-in:address:{address}"

    def too_many(self) -> bool:
        return cache.get(self._name, 0) >= PER_NAME or cache.get(self._address, 0) >= PER_ADDRESS

    def wrong(self) -> None:
        for key in (self._name, self._address):
            cache.add(key, 0, WINDOW_SECONDS)
            cache.incr(key)

    def right(self) -> None:
        cache.delete(self._name)
