"""Where a connection comes from: in open mode that is the authentication, so nothing that a client sends counts.

Proxies are the trap: they connect from this machine for somebody else. Any header that proxies add refuses a request.
That includes requests whose `client` a server has rewritten by such a header (uvicorn's `proxy_headers`).
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

_ADDED_BY_PROXIES = frozenset({b"forwarded", b"via", b"x-real-ip"})


def open_mode_refusal(scope: Mapping[str, Any]) -> str | None:
    """Return the sentence with which open mode refuses this connection, or None if it comes from this machine."""
    client = scope.get("client")
    if client is None:
        if not _is_unix_socket(scope):
            return "Without authentication the address of the caller must be known: set AUTH=keys"
    elif not is_loopback(client[0]):
        return (
            "Without authentication only programs on this machine are answered, and this request comes from "
            f"{str(client[0])[:60]!r}: set AUTH=keys for others"
        )
    for name, _ in scope["headers"]:
        if name in _ADDED_BY_PROXIES or name.startswith(b"x-forwarded-"):
            return "Without authentication forwarded requests are refused: set AUTH=keys behind a proxy"
    return None


def _is_unix_socket(scope: Mapping[str, Any]) -> bool:
    # ASGI writes the path of a socket file as a server without a port.
    server = scope.get("server")
    return server is not None and server[1] is None


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Return whether an IP address is loopback, IPv4 in IPv6 and zone ids (`::1%lo`) included. Names are not."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
