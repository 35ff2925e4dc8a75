"""Limits on what anybody may do before being asked who they are: what both HTTP servers share.

A server has one `Edge`, and each of its connections one `Pace`. Once a second the server lets its connections compare
their pace with the limits. So a request costs no timer and no look at a clock, and a chunk of a body one addition.
"""

import json
import logging
import resource
import struct
import termios
from collections import Counter
from dataclasses import dataclass
from fcntl import ioctl
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final, Literal, Self

from django.conf import settings

from platform_site.core.telemetry import metrics

logger = logging.getLogger("switchyard.serving")

# Open files that the process needs beside its connections: databases, Redis, and what graphs open.
_OTHER_FILES = 512
_TELL_SECONDS = 60.0
# How long a client may take to read a refusal while it goes on sending what nobody wants.
LINGER_SECONDS = 2.0
# Most bytes of a body that are thrown away after its answer, so that the connection can be used again.
MAX_UNWANTED_BYTES = 1_000_000

# Which part of a request a connection is sending.
Part = Literal["nothing", "header", "body"]
NOTHING: Final = "nothing"
HEADER: Final = "header"
BODY: Final = "body"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server, as settings name and describe them."""

    header_bytes: int = 65_536
    header_fields: int = 100
    header_seconds: float = 10
    body_seconds: float = 30
    body_bytes_per_second: float = 1000
    keep_alive_seconds: float = 75
    unread_seconds: float = 300
    connections: int = 10_000
    connections_per_address: int = 0

    @classmethod
    def from_settings(cls) -> Self:
        """Return the limits that settings ask for, with no more connections than the system lets the process open."""
        return cls(
            header_bytes=settings.MAX_HEADER_BYTES,
            header_fields=settings.MAX_HEADER_FIELDS,
            header_seconds=settings.HEADER_TIMEOUT_SECONDS,
            body_seconds=settings.BODY_TIMEOUT_SECONDS,
            body_bytes_per_second=settings.BODY_BYTES_PER_SECOND,
            keep_alive_seconds=settings.KEEP_ALIVE_SECONDS,
            unread_seconds=settings.UNREAD_TIMEOUT_SECONDS,
            connections=_room_for(settings.MAX_CONNECTIONS),
            connections_per_address=settings.MAX_CONNECTIONS_PER_ADDRESS,
        )


def _room_for(connections: int) -> int:
    """Let the process open enough files for so many connections; return how many fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):
        allowed = soft
    fits = connections_in(allowed)
    if fits < connections:
        logger.info(
            "the system lets this process open %d files, so it serves %d connections at the same time and not "
            "MAX_CONNECTIONS (%d): raise `ulimit -n`",
            allowed,
            fits,
            connections,
        )
    return min(fits, connections)


def connections_in(files: int) -> int:
    """Return how many connections fit into so many open files. At least half of a small number is left for the rest."""
    return max(files - _OTHER_FILES, files // 2)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a server refuses something by itself: a label for the metric, and the answer."""

    reason: str
    status: int
    detail: str

    @property
    def answer(self) -> bytes:
        """The whole HTTP response. The connection ends after it."""
        body = json.dumps({"detail": self.detail}).encode()
        head = f"HTTP/1.1 {self.status:d} {HTTPStatus(self.status).phrase}\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


class Refusals:
    """The refusals of one set of limits, and how often each was spoken."""

    def __init__(self, limits: Limits) -> None:
        fields, size = limits.header_fields, limits.header_bytes
        self.malformed = Refusal("malformed", HTTPStatus.BAD_REQUEST, "This is not HTTP/1.1")
        self.header_size = Refusal(
            "header_size",
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The header of a request may have {size} bytes and {fields} fields",
        )
        self.header_time = Refusal(
            "header_time",
            HTTPStatus.REQUEST_TIMEOUT,
            f"The header of a request must be complete within {limits.header_seconds:g} s",
        )
        self.body_time = Refusal(
            "body_time",
            HTTPStatus.REQUEST_TIMEOUT,
            f"A body must not stand still for {limits.body_seconds:g} s, nor bring less than "
            f"{limits.body_bytes_per_second:g} bytes a second",
        )
        self.transfer_encoding = Refusal(
            "transfer_encoding", HTTPStatus.NOT_IMPLEMENTED, "The only Transfer-Encoding that is understood is chunked"
        )
        self.connections = Refusal(
            "connections", HTTPStatus.SERVICE_UNAVAILABLE, f"More than {limits.connections} connections are open"
        )
        self.connections_per_address = Refusal(
            "connections_per_address",
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"More than {limits.connections_per_address} connections are open from one address",
        )
        # Never sent: its client reads nothing.
        self.unread = Refusal(
            "unread", HTTPStatus.REQUEST_TIMEOUT, f"An answer must not wait unread for {limits.unread_seconds:g} s"
        )
        self._spoken: Counter[str] = Counter()
        self._told_at: float | None = None

    def count(self, refusal: Refusal) -> None:
        """Count a refusal for the metric and for the next line of the log."""
        metrics.HTTP_REFUSED.labels(refusal.reason).inc()
        self._spoken[refusal.reason] += 1

    def tell(self, now: float) -> None:
        """Log what was refused, in one line a minute: strangers decide how often there is something to tell."""
        if not self._spoken or (self._told_at is not None and now - self._told_at < _TELL_SECONDS):
            return
        told = ", ".join(f"{reason} {number}" for reason, number in sorted(self._spoken.items()))
        logger.warning("connections and requests were refused: %s", told)
        self._spoken.clear()
        self._told_at = now


class Connections:
    """Counts open connections, in all and by address."""

    def __init__(self, limits: Limits, refusals: Refusals) -> None:
        self._limits = limits
        self._refusals = refusals
        self._by_network: Counter[str] = Counter()
        self.total = 0

    def enter(self, host: str) -> Refusal | None:
        """Count a new connection and return None, or return why there is no room for it. A socket file has no host."""
        if self.total >= self._limits.connections:
            return self._refusals.connections
        most = self._limits.connections_per_address
        if host and most and self._by_network[network(host)] >= most:
            return self._refusals.connections_per_address
        self.total += 1
        if host:
            self._by_network[network(host)] += 1
        return None

    def leave(self, host: str) -> None:
        """Forget a connection that was let in."""
        self.total -= 1
        if host:
            self._by_network[network(host)] -= 1
            if not self._by_network[network(host)]:
                del self._by_network[network(host)]


@lru_cache(maxsize=4096)
def network(host: str) -> str:
    """Return whose address this is: an IPv4 address stands for itself, of IPv6 one customer has a whole /64 network."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))


class Pace:
    """How fast one connection sends; `received` counts its bytes.

    A part begins without a look at the clock: the first `late` after it starts the time.
    """

    __slots__ = ("_limits", "_moved_at", "_seen", "_since", "_window_at", "_window_seen", "part", "received")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.part: Part = HEADER
        self.received = 0
        self._since: float | None = None
        self._moved_at = self._window_at = 0.0
        self._seen = self._window_seen = 0

    def begin(self, part: Part) -> None:
        """Note which part of a request comes now."""
        self.part = part
        self._since = None

    def late(self, now: float, *, is_paused: bool) -> bool:
        """Return whether the current part has taken too long. Time in which the server itself did not read is free."""
        if self.part is NOTHING:
            return False
        if self._since is None or is_paused:
            self._since = self._moved_at = self._window_at = now
            self._seen = self._window_seen = self.received
            return False
        if self.part is HEADER:
            return now - self._since >= self._limits.header_seconds
        return self._is_body_late(now)

    def _is_body_late(self, now: float) -> bool:
        seconds = self._limits.body_seconds
        if self.received != self._seen:
            self._seen, self._moved_at = self.received, now
        elif now - self._moved_at >= seconds:
            return True
        if (passed := now - self._window_at) < seconds:
            return False
        # Judged by windows, not from the start: who sent much at first must not be slow for the rest of the day.
        is_slow = self.received - self._window_seen < self._limits.body_bytes_per_second * passed
        self._window_at, self._window_seen = now, self.received
        return is_slow


def unacknowledged(socket: int) -> int:
    """Return how many bytes of a socket the system holds that the client's system has not taken yet.

    A system that does not tell holds none: Linux tells. Nor does a socket that is closed, whose number is -1.
    """
    try:
        return int(struct.unpack("i", ioctl(socket, termios.TIOCOUTQ, b"\0" * 4))[0])
    except (OSError, ValueError):
        return 0


class Unread:
    """What waits for a client that reads slower than the server writes; nothing is written meanwhile.

    What the system holds for it counts, too. The system takes megabytes, and takes more only when it has a third less
    to send: for minutes, nothing else tells a client that reads slowly from one that reads nothing.
    """

    __slots__ = ("_limits", "_since", "_waiting")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since: float | None = None
        self._waiting = 0

    def forget(self) -> None:
        """Note that the client has read what waited."""
        self._since = None

    def late(self, now: float, waiting: int) -> bool:
        """Return whether the client has read nothing for too long of the `waiting` bytes."""
        if self._since is None or waiting < self._waiting:
            self._since = now
        self._waiting = waiting
        return now - self._since >= self._limits.unread_seconds


class Edge:
    """What the connections of one server share."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refusals = Refusals(limits)
        self.connections = Connections(limits, self.refusals)
