"""The rules for URLs of webhooks: read, check, and turn one into a target.

The same rules hold when a run is created and when its webhook is sent.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from platform_site.core.config import config
from platform_site.core.errors import Unprocessable
from platform_site.core.project.sections import WebhookUrl
from platform_site.webhooks.addresses import Blocked, Resolver, Rules, name_refusal, rules

if TYPE_CHECKING:
    from httpx import URL

DISABLED = "`webhook` is not available: webhooks are disabled on this server (http.disable_webhooks)"
LOOPBACK_DISABLED = (
    "Loopback webhooks (relative URLs and localhost) are disabled by default. They bypass authentication via the "
    "in-process ASGI transport and can be abused to invoke internal routes as an unauthenticated caller. Set "
    "webhooks.url.disable_loopback to false (in langgraph.json or via LANGGRAPH_WEBHOOKS) to opt back in — only do so "
    "when you control the mounted routes."
)
NO_WEB_URL = (
    "Webhook URL is a path, and workers call webhooks, which do not know where this server listens: set WEB_URL to the "
    "address of its web processes, in the environment of every process, or send a whole URL"
)
_PORTS = {"http": 80, "https": 443}
# Names as they are after IDNA, and the spellings of addresses.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?|[0-9a-f:.]+", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True)
class Target:
    """A webhook URL in parts, as it is called: `path` with its query, without a fragment."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def place(self) -> str:
        """The host, with its port where that is not the scheme's: the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> str:
        """The URL without its query, which may hold a secret."""
        return f"{self.scheme}://{self.place}{self.path.partition('?')[0]}"

    def endpoint_digest(self, workspace_id: int) -> str:
        """Return the digest that identifies this address as an endpoint of the workspace."""
        return hashlib.sha256(f"{workspace_id} {self.address}".encode()).hexdigest()


def rules_for(text: str) -> Rules:
    """Return which addresses this webhook may reach, by the settings and `langgraph.json`."""
    if is_own(text):
        return Rules(allow_loopback=True, hosts=frozenset({target_of(text).host}))
    url = config().webhooks.url
    return rules(allow_loopback=url is not None and not url.disable_loopback)


def target_of(text: str) -> Target:
    """Return the target that a webhook's URL names; no name is resolved.

    Raises `Unprocessable` with the reason why the URL may not be called.
    """
    policy = config().webhooks.url or WebhookUrl(require_https=False)
    if policy.max_url_length is not None and len(text) > policy.max_url_length:
        raise Unprocessable(f"Webhook URL is too long: {len(text)} characters, at most {policy.max_url_length}")
    if _UNSAFE.search(text):
        raise Unprocessable("Webhook URL is not valid: it holds a space, a control character or a backslash")
    if is_own(text):
        if policy.disable_loopback:
            raise Unprocessable(LOOPBACK_DISABLED)
        return _own(_parsed(text))
    url = _parsed(text)
    if url.scheme not in _PORTS:
        if not url.scheme:
            raise Unprocessable("Webhook URL is not valid: expected https://... or a path that begins with one slash")
        raise Unprocessable(f"Webhook host blocked: scheme '{url.scheme}' not allowed")
    if url.userinfo:
        raise Unprocessable("Webhook URL is not valid: it must not hold a user name or password")
    # A dot at the end makes a name absolute, which certificates do not know.
    host = url.raw_host.decode("ascii").removesuffix(".")
    target = Target(url.scheme, host, _PORTS[url.scheme] if url.port is None else url.port, url.raw_path.decode())
    _check(target, policy)
    if reason := name_refusal(target.host, rules_for(text)):
        raise Unprocessable(str(Blocked(reason)))
    return target


def _parsed(text: str) -> "URL":
    # Imported with the first webhook: it costs every process 50 ms.
    import httpx

    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Unprocessable(f"Webhook URL is not valid: {error}"[:500]) from None


def _own(url: "URL") -> Target:
    """Return a path on this server as a target: it is called like any other receiver, and asks for credentials.

    Raises `Unprocessable` where the process that will call it would call itself, and nobody listens there.
    """
    path = url.raw_path.decode()
    if settings.WEB_URL:
        web = _parsed(settings.WEB_URL)
        port = _PORTS[web.scheme] if web.port is None else web.port
        return Target(web.scheme, web.raw_host.decode("ascii"), port, web.raw_path.decode().rstrip("/") + path)
    if settings.REDIS_URL:
        raise Unprocessable(NO_WEB_URL)
    host = settings.HOST if settings.HOST not in ("", "0.0.0.0", "::", "localhost") else "127.0.0.1"
    return Target("http", host, settings.PORT, path)


def _check(target: Target, policy: WebhookUrl) -> None:
    if not target.host or not _HOST.fullmatch(target.host):
        raise Unprocessable("Webhook URL is not valid: expected the name of a host")
    if not 0 < target.port < 65536:
        raise Unprocessable(f"Webhook URL is not valid: there is no port {target.port}")
    if policy.require_https and target.scheme != "https":
        raise Unprocessable("Webhook URL is not allowed: it must begin with https:// (webhooks.url.require_https)")
    if policy.allowed_domains and not any(_covers(domain, target.host) for domain in policy.allowed_domains):
        raise Unprocessable("Webhook URL is not allowed: its host is not in webhooks.url.allowed_domains")
    if policy.allowed_ports and target.port not in policy.allowed_ports:
        raise Unprocessable(f"Webhook URL is not allowed: port {target.port} is not in webhooks.url.allowed_ports")


def _covers(domain: str, host: str) -> bool:
    domain, host = domain.lower().rstrip("."), host.lower().rstrip(".")
    return host.endswith(domain[1:]) if domain.startswith("*.") else host == domain


def is_own(text: str) -> bool:
    """Return whether the webhook is a path on this server."""
    return text.startswith("/") and not text.startswith("//")


def webhook_check(text: str) -> None:
    """Refuse a webhook that may not be called, as far as its text tells. Raises `Unprocessable`.

    No name is resolved, so a database thread may ask this.
    """
    if config().http.disable_webhooks:
        raise Unprocessable(DISABLED)
    target_of(text)


@cache
def resolver() -> Resolver:
    """Return this process's resolver for webhooks of new runs and crons. The deliverer has another one."""
    return Resolver()


async def webhook_check_host(text: str) -> None:
    """Refuse what `webhook_check` refuses, and a host that resolves to an address that may not be reached.

    Raises `Unprocessable`. A path on this server has no host that could be looked up.
    """
    webhook_check(text)
    if is_own(text):
        return
    target = target_of(text)
    try:
        await resolver().addresses(target.host, target.port, rules_for(text))
    except Blocked as blocked:
        raise Unprocessable(str(blocked)) from None
