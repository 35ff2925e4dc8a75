"""Slowing down those who guess passwords."""

from django.core.cache import cache

WINDOW_SECONDS = 300
# Wrong passwords in the window before the door closes; an address may belong to a whole office.
PER_NAME = 5
PER_ADDRESS = 30


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
