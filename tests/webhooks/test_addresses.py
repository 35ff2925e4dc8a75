"""Which addresses a webhook may reach."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from platform_site.webhooks.addresses import Address, Blocked, Resolver, Rules, refusal, rules


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_public_addresses_are_allowed(text):
    assert refusal(ip_address(text), Rules()) is None


@pytest.mark.parametrize("text", ["::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_address_inside_an_ipv6_address_is_allowed(text):
    assert refusal(ip_address(text), Rules()) is None


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_named_as_such_and_can_be_lifted(text):
    assert refusal(ip_address(text), Rules()) == "loopback IP range"
    assert refusal(ip_address(text), Rules(allow_loopback=True)) is None


def test_network_that_the_operator_allows_is_allowed(settings):
    settings.WEBHOOK_PRIVATE_ALLOWED = ["10.1.0.0/16", "fd00:1::/32"]
    allowed = rules(allow_loopback=False)
    assert refusal(ip_address("10.1.2.3"), allowed) is None
    assert refusal(ip_address("::ffff:10.1.2.3"), allowed) is None
    assert refusal(ip_address("fd00:1::5"), allowed) is None
    assert refusal(ip_address("10.2.0.1"), allowed) == "blocked IP range"


def test_host_that_the_operator_allows_may_be_private_but_no_metadata_service(settings):
    settings.WEBHOOK_PRIVATE_ALLOWED = ["Hooks.Internal"]
    allowed = rules(allow_loopback=False)
    assert refusal(ip_address("10.1.2.3"), allowed, "hooks.internal") is None
    assert refusal(ip_address("127.0.0.1"), allowed, "hooks.internal.") is None
    assert refusal(ip_address("10.1.2.3"), allowed, "other.internal") == "blocked IP range"
    assert refusal(ip_address("169.254.169.254"), allowed, "hooks.internal") == "blocked IP range"


async def test_name_that_means_nothing_is_refused():
    class Nowhere(Resolver):
        async def lookup(self, host: str, port: int) -> Sequence[Address]:
            raise OSError("no such host")

    with pytest.raises(Blocked, match="Webhook host blocked: DNS resolution failed"):
        await Nowhere().addresses("nowhere.example.com", 80, Rules())
