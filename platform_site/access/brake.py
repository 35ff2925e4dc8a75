"""The brake on those who guess passwords. All processes share its counters, which are rows of the database.

An attempt is counted before its password is hashed, and given back if the password is right: any number of guesses at
the same moment are as many as one after the other. Hashing is the expensive part, so few are done at once.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from platform_site.access.models import SignInAttempts
from platform_site.core.database.access import moment_param

WINDOW = timedelta(minutes=5)
# Attempts in the window. A name alone has many: whoever knows a name could keep its owner out otherwise.
PER_NAME_AND_ADDRESS = 5
PER_ADDRESS = 30
PER_NAME = 100
PER_KNOWN_BROWSER = 20
# Counters that are kept at most; beyond that the oldest go.
MOST_COUNTERS = 50_000
_SWEPT = 1000
# Passwords that one process hashes at the same time, and how long one more waits.
_HASHES_AT_ONCE = threading.BoundedSemaphore(2)
HASH_PATIENCE_SECONDS = 5.0


class Brake:
    """The counters of one attempt to sign in.

    `browser` identifies a browser in which this person has signed in before. Such a browser has a counter of its own
    and no other: guesses of strangers never keep it out.
    """

    def __init__(self, name: str, address: str, browser: str = "") -> None:
        name, place = name.casefold(), _network(address)
        if browser:
            self._limits = {_key("browser", name, browser): PER_KNOWN_BROWSER}
        else:
            # The widest first: an address that guesses too much makes no counter for each name that it invents.
            self._limits = {
                _key("address", place): PER_ADDRESS,
                _key("name", name): PER_NAME,
                _key("pair", name, place): PER_NAME_AND_ADDRESS,
            }

    def reserve(self) -> bool:
        """Count an attempt; return whether it may be made. What is refused counts up to the limit that refuses it."""
        return _reserve(self._limits, timezone.now())

    def give_back(self) -> None:
        """Count the attempt no more: no password was tried."""
        self._take_off(list(self._limits))

    def succeeded(self) -> None:
        """Begin the narrowest counter anew, so that a person's own mistakes do not add up, and give back the others."""
        *others, narrowest = self._limits
        SignInAttempts.objects.filter(key=narrowest).delete()
        self._take_off(others)

    def _take_off(self, keys: list[str]) -> None:
        SignInAttempts.objects.filter(key__in=keys, count__gt=0).update(count=F("count") - 1)


@contextmanager
def hashing() -> Iterator[bool]:
    """Take one of the few turns to hash a password; yield whether there was one in time."""
    has_turn = _HASHES_AT_ONCE.acquire(timeout=HASH_PATIENCE_SECONDS)
    try:
        yield has_turn
    finally:
        if has_turn:
            _HASHES_AT_ONCE.release()


def browser_mark(user: User) -> str:
    """Return what a browser remembers of a person who signed in: worthless once the password is another."""
    return f"{user.pk}:{user.get_session_auth_hash()[:24]}"


def is_known_browser(name: str, mark: str) -> bool:
    """Return whether this person has signed in with this browser, with the password that counts now."""
    user = User.objects.filter(username=name, is_active=True).first() if mark else None
    return user is not None and mark == browser_mark(user)


def _network(address: str) -> str:
    """Return the address as it is counted: an IPv6 customer has a whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped else str(parsed)


def _key(*parts: str) -> str:
    # A digest: names may have any length, and what people type by mistake into this field is not to be kept.
    return salted_hmac("switchyard.access.brake", "\0".join(parts), algorithm="sha256").hexdigest()


def _reserve(limits: Mapping[str, int], now: datetime) -> bool:
    """Add one to each counter until one is over its limit; return whether none is.

    Each is one statement: nobody reads a count that another is about to change.
    """
    table, end = SignInAttempts._meta.db_table, moment_param(now + WINDOW)
    counts: list[int] = []
    # All take address, name and pair in this order, so that two attempts never wait for each other.
    with transaction.atomic(), connection.cursor() as cursor:
        for key, limit in limits.items():
            cursor.execute(
                f"INSERT INTO {table} (key, count, expires_at) VALUES (%s, 1, %s) ON CONFLICT (key) DO UPDATE SET "
                f"count = CASE WHEN {table}.expires_at <= %s THEN 1 ELSE {table}.count + 1 END, "
                f"expires_at = CASE WHEN {table}.expires_at <= %s THEN excluded.expires_at ELSE {table}.expires_at END "
                "RETURNING count",
                [key, end, moment_param(now), moment_param(now)],
            )
            counts.append(int(cursor.fetchone()[0]))
            if counts[-1] > limit:
                break
        if 1 in counts:
            _sweep(now)
    return counts[-1] <= limit


def _sweep(now: datetime) -> None:
    """Delete a portion of the counters whose window is over; of too many, the oldest."""
    counters = SignInAttempts.objects.order_by("expires_at")
    surplus = SignInAttempts.objects.order_by()[: MOST_COUNTERS + 1].count() > MOST_COUNTERS
    old = counters if surplus else counters.filter(expires_at__lte=now)
    SignInAttempts.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:_SWEPT])).delete()
