"""No connection is made to where no webhook may go: not when a run is created, not when the socket opens."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import httpcore
import pytest

from platform_site.core.errors import Unprocessable
from platform_site.webhooks import addresses, endpoint_rules
from platform_site.webhooks.addresses import Address, Resolver, Rules
from platform_site.webhooks.endpoint_rules import Target, rules_for, target_of
from platform_site.webhooks.transport import Sender
from runs.configuration import webhooks_admit
from tests.webhooks.hostile import HOSTILE, REBOUND
from tests.webhooks.receiving import Receiver, receiving


class Network(httpcore.AsyncNetworkBackend):
    """Counts connects, and makes them."""

    def __init__(self) -> None:
        self.connects: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *arguments: object, **options: object):
        self.connects.append((host, port))
        return await httpcore.AnyIOBackend().connect_tcp(host, port)


class Names(Resolver):
    """A resolver whose names mean what the test says; each look-up takes the next meaning, the last stays."""

    def __init__(self, *meanings: list[str]) -> None:
        self.meanings = list(meanings)

    async def lookup(self, host: str, port: int) -> Sequence[Address]:
        found = self.meanings.pop(0) if len(self.meanings) > 1 else self.meanings[0]
        return [ip_address(text) for text in found]


@pytest.fixture
def listener() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def network() -> Network:
    return Network()


def named(url: str, port: int) -> str:
    return url.replace("{port}", str(port))


def as_target(url: str) -> Target:
    """The target of a URL that went past the check at creation, as if that had a hole."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "80")
    return Target(scheme, host.strip("[]"), int(port), slash + path)


def test_there_are_more_than_sixty():
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("url", HOSTILE)
async def test_run_with_a_hostile_webhook_is_refused(url, use_webhooks, listener):
    with pytest.raises(Unprocessable) as refused:
        await webhooks_admit([named(url, listener.port)])
    assert refused.value.status == 422
    assert listener.connections == 0


@pytest.mark.parametrize("url", [url for url in HOSTILE if url.startswith("http://") and url.isascii()])
async def test_socket_to_a_hostile_address_is_not_opened(url, listener, network):
    answer = await Sender(Resolver(), network).post(as_target(named(url, listener.port)), Rules(), {}, b"{}", 10)
    assert answer.status is None
    assert answer.error
    assert network.connects == []
    assert listener.connections == 0


@pytest.mark.parametrize("meaning", REBOUND, ids=" ".join)
async def test_name_that_changes_its_meaning_after_the_check_is_not_connected_to(meaning, network, monkeypatch):
    names = Names(["93.184.216.34"], meaning)
    monkeypatch.setattr(endpoint_rules, "resolver", lambda: names)
    await webhooks_admit(["http://hooks.example.com/run"])
    answer = await Sender(names, network).post(Target("http", "hooks.example.com", 80, "/"), Rules(), {}, b"{}", 10)
    assert answer.error.startswith("Webhook host blocked: ")
    assert network.connects == []


async def test_address_that_was_checked_is_the_one_that_is_connected_to(listener, network):
    names = Names(["127.0.0.1"], ["127.0.0.99"])
    target = Target("http", "hooks.example.com", listener.port, "/run")
    answer = await Sender(names, network).post(target, Rules(allow_loopback=True), {}, b"{}", 10)
    assert answer.status == 200
    assert network.connects == [("127.0.0.1", listener.port)]


async def test_all_addresses_are_tried_in_turn(listener, network):
    names = Names(["127.0.0.99", "::1", "127.0.0.1"])
    target = Target("http", "hooks.example.com", listener.port, "/run")
    answer = await Sender(names, network).post(target, Rules(allow_loopback=True), {}, b"{}", 10)
    assert answer.status == 200
    assert [host for host, _ in network.connects] == ["127.0.0.99", "::1", "127.0.0.1"]


async def test_proxy_of_the_environment_is_not_used(listener, network, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    target = Target("http", "hooks.example.com", listener.port, "/run")
    answer = await Sender(Names(["127.0.0.1"]), network).post(target, Rules(allow_loopback=True), {}, b"{}", 10)
    assert answer.status == 200


@pytest.mark.parametrize("url", HOSTILE)
def test_lifting_loopback_lifts_nothing_else(url, use_webhooks):
    use_webhooks(url={"disable_loopback": False, "require_https": False})
    try:
        target = target_of(named(url, 80))
    except Unprocessable:
        return
    assert addresses.refusal(ip_address("10.0.0.1"), rules_for(url), target.host) == "blocked IP range"
    assert addresses.refusal(ip_address("169.254.169.254"), rules_for(url), target.host) == "blocked IP range"
    assert addresses.refusal(ip_address("0.0.0.0"), rules_for(url), target.host) == "blocked IP range"
