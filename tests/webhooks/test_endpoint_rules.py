"""What a run's webhook may be, by the contract and by `langgraph.json`."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from platform_site.core.errors import Unprocessable
from platform_site.webhooks import endpoint_rules
from platform_site.webhooks.addresses import Address, Resolver
from platform_site.webhooks.endpoint_rules import target_of, webhook_check
from runs.configuration import check_run, webhooks_admit
from runs.schemas import RunCreate


def refusal_of(url: str) -> str:
    with pytest.raises(Unprocessable) as refused:
        webhook_check(url)
    return refused.value.detail


class Public(Resolver):
    async def lookup(self, host: str, port: int) -> Sequence[Address]:
        return [ip_address("93.184.216.34")]


@pytest.fixture(autouse=True)
def _names(use_webhooks, monkeypatch):
    monkeypatch.setattr(endpoint_rules, "resolver", Public)


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("http://127.0.0.1:2335/x", "Webhook host blocked: loopback IP range"),
        ("http://localhost:2335/x", "Webhook host blocked: localhost address"),
        ("http://169.254.169.254/x", "Webhook host blocked: blocked IP range"),
        ("http://0.0.0.0/x", "Webhook host blocked: blocked IP range"),
        ("ftp://example.com/x", "Webhook host blocked: scheme 'ftp' not allowed"),
    ],
)
def test_refusals_are_in_the_words_of_the_contract(url, detail):
    assert refusal_of(url) == detail


def test_path_on_this_server_is_refused_unless_it_is_allowed(use_webhooks, settings):
    assert refusal_of("/ok").startswith("Loopback webhooks (relative URLs and localhost) are disabled by default.")
    use_webhooks(url={"disable_loopback": False})
    settings.HOST, settings.PORT = "0.0.0.0", 2024
    assert target_of("/ok?x=1").address == "http://127.0.0.1:2024/ok"


@pytest.mark.parametrize(
    ("web", "address"),
    [
        ("http://web:2024", "http://web:2024/ok"),
        ("https://agents.example.com", "https://agents.example.com/ok"),
        ("https://example.com:8443/agents", "https://example.com:8443/agents/ok"),
        ("http://[fd00::1]:2024", "http://[fd00::1]:2024/ok"),
    ],
)
async def test_path_on_this_server_is_called_where_its_web_processes_are(use_webhooks, settings, web, address):
    use_webhooks(url={"disable_loopback": False})
    settings.WEB_URL, settings.REDIS_URL = web, "redis://somewhere"
    await webhooks_admit(["/ok?x=1"])
    assert (target_of("/ok?x=1").address, target_of("/ok?x=1").path[-7:]) == (address, "/ok?x=1")


def test_path_is_refused_where_workers_do_not_know_the_web_processes(use_webhooks, settings):
    use_webhooks(url={"disable_loopback": False})
    settings.REDIS_URL = "redis://somewhere"
    assert "set WEB_URL to the address of its web processes" in refusal_of("/ok")


@pytest.mark.parametrize("url", ["http://example.com/x", "https://example.com", "https://example.com:8443/x?y=1#z"])
async def test_public_url_is_accepted(url):
    await webhooks_admit([url])


@pytest.mark.parametrize(
    "url", ["example.com/x", "//example.com/x", "https://", "https://user:pw@example.com/", "x" * 70_000]
)
def test_what_is_no_url_of_a_receiver_is_refused(url):
    assert refusal_of(url).startswith("Webhook URL is not valid: ")


def test_https_is_required_as_soon_as_there_is_a_policy(use_webhooks):
    use_webhooks(url={})
    assert "webhooks.url.require_https" in refusal_of("http://example.com/x")
    webhook_check("https://example.com/x")
    use_webhooks(url={"require_https": False})
    webhook_check("http://example.com/x")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.example.com/x", True),
        ("https://HOOKS.example.com./x", True),
        ("https://a.b.example.org/x", True),
        ("https://example.org/x", False),
        ("https://evil-example.org/x", False),
        ("https://example.com/x", False),
        ("https://hooks.example.com.evil.net/x", False),
    ],
)
def test_allowed_domains_are_exact_or_below_a_wildcard(use_webhooks, url, allowed):
    use_webhooks(url={"allowed_domains": ["hooks.example.com", "*.example.org"]})
    if allowed:
        webhook_check(url)
    else:
        assert "webhooks.url.allowed_domains" in refusal_of(url)


def test_allowed_ports_hold_for_the_default_port_too(use_webhooks):
    use_webhooks(url={"allowed_ports": [443]})
    webhook_check("https://example.com/x")
    assert "port 8443 is not in webhooks.url.allowed_ports" in refusal_of("https://example.com:8443/x")


def test_longest_url_is_the_operator_s(use_webhooks):
    use_webhooks(url={"max_url_length": 30})
    webhook_check("https://example.com/x")
    assert refusal_of("https://example.com/" + "x" * 30) == "Webhook URL is too long: 50 characters, at most 30"


def test_webhooks_can_be_disabled(use_webhooks):
    use_webhooks(disabled=True)
    assert refusal_of("https://example.com/x").endswith("(http.disable_webhooks)")
    check_run(RunCreate(assistant_id="log"), has_thread=True)


async def test_name_is_resolved_once_for_many_runs_of_a_batch(monkeypatch):
    asked = []

    class Counting(Public):
        async def lookup(self, host: str, port: int) -> Sequence[Address]:
            asked.append(host)
            return await super().lookup(host, port)

    monkeypatch.setattr(endpoint_rules, "resolver", Counting)
    await webhooks_admit(["https://example.com/x", None, "https://example.com/x"])
    assert asked == ["example.com"]


def test_endpoint_is_the_url_without_its_query():
    one, other = target_of("https://example.com/x?token=1"), target_of("https://EXAMPLE.com:443/x?token=2")
    assert one.address == "https://example.com/x"
    assert one.endpoint_digest(1) == other.endpoint_digest(1) != one.endpoint_digest(2)
