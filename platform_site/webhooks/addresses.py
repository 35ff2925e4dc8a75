"""Which addresses a webhook may reach, and the names behind which they hide.

A name is resolved on threads of our own. Every address of the answer is judged: one that is refused refuses the name.
This is asked when a run is created, and again when the socket opens, by the code that opens it.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK = "loopback IP range"
LOCALHOST = "localhost address"
BLOCKED = "blocked IP range"
UNRESOLVED = "DNS resolution failed"
RESOLVE_SECONDS = 5.0

# Never reached, not even under a name that is allowed: this host, metadata services, multicast.
_NEVER = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "224.0.0.0/4",
        "240.0.0.0/4", "::/128", "fe80::/10", "fd00:ec2::/32", "ff00::/8",
    )
]  # fmt: skip
# Not global either, whatever `ipaddress` says: ranges that embed other addresses, or are reserved for documentation.
_NOT_GLOBAL = [
    ip_network(text)
    for text in (
        "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20",
    )
]  # fmt: skip
# All of IPv6 that is routed in the world. Mapped and embedded addresses lie outside.
_UNICAST6 = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


class Blocked(Exception):
    """A host that must not be reached. The text says why in the words of the contract."""

    def __str__(self) -> str:
        return f"Webhook host blocked: {self.args[0]}"


@dataclass(frozen=True)
class Rules:
    """The exceptions from the rules: loopback, and the hosts and networks that the operator allows."""

    allow_loopback: bool = False
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()


def rules(*, allow_loopback: bool) -> Rules:
    """Return the rules of this server."""
    return _rules(allow_loopback, tuple(settings.WEBHOOK_PRIVATE_ALLOWED))


@lru_cache(maxsize=8)
def _rules(allow_loopback: bool, allowed: tuple[str, ...]) -> Rules:
    hosts, networks = set(), []
    for entry in allowed:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            hosts.add(entry.lower().rstrip("."))
    return Rules(allow_loopback, frozenset(hosts), tuple(networks))


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address is routed as, or the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_global(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _UNICAST6:
        return False
    if isinstance(address, IPv6Address) and (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_GLOBAL)


def refusal(address: Address, rules: Rules, host: str = "") -> str | None:
    """Return why `address`, to which `host` has resolved, must not be reached, or None if it may."""
    address = _embedded(address)
    if any(address in network for network in rules.networks if network.version == address.version):
        return None
    if any(address in network for network in _NEVER):
        return BLOCKED
    is_named = host.lower().rstrip(".") in rules.hosts
    if address.is_loopback:
        return None if rules.allow_loopback or is_named else LOOPBACK
    return None if is_named or _is_global(address) else BLOCKED


def name_refusal(host: str, rules: Rules) -> str | None:
    """Return why a host must not be reached, as far as its name tells, or None."""
    name = host.lower().rstrip(".")
    is_local = name in ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
    if (is_local or name.endswith(".localhost")) and not rules.allow_loopback and name not in rules.hosts:
        return LOCALHOST
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return refusal(address, rules, host)


def _getaddrinfo(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A scope (`fe80::1%eth0`) belongs to addresses that are refused anyway.
    return list(dict.fromkeys(ip_address(str(place[0]).partition("%")[0]) for *_, place in found))


class Resolver:
    """A resolver of names to addresses that may be reached. It has threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(32, thread_name_prefix="webhook-dns")

    async def addresses(self, host: str, port: int, rules: Rules) -> Sequence[Address]:
        """Return all addresses of the host. Raises `Blocked` if there is none, or one of them must not be reached."""
        if reason := name_refusal(host, rules):
            raise Blocked(reason)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self.lookup(host, port)
        except (OSError, UnicodeError, TimeoutError):
            raise Blocked(UNRESOLVED) from None
        if not found:
            raise Blocked(UNRESOLVED)
        for address in found:
            if reason := refusal(address, rules, host):
                raise Blocked(reason)
        return found

    async def lookup(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses that the system's resolver knows."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host, port)
