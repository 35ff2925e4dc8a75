"""Open mode answers who connects from this machine, whatever the headers say."""

from typing import Any

import pytest

from platform_site.core.http.peers import is_loopback, open_mode_refusal

SERVER = ("127.0.0.1", 2024)


def connection(client: Any, server: Any = SERVER, **headers: str) -> dict[str, Any]:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": client, "server": server, "headers": [(b"host", b"127.0.0.1"), *sent]}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "::1%lo", "::ffff:127.0.0.1", "::FFFF:7f00:1"])
def test_loopback_addresses(host: str) -> None:
    assert is_loopback(host)
    assert open_mode_refusal(connection((host, 50000))) is None


@pytest.mark.parametrize(
    "host",
    [
        "203.0.113.7",
        "10.0.0.1",
        "172.17.0.1",
        "0.0.0.0",
        "::",
        "::2",
        "fe80::1%lo",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "127.0.0.1.evil.example",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "127.0.0.1:80",
        "",
        "unknown",
    ],
)
def test_all_other_addresses_are_refused(host: str) -> None:
    assert "AUTH=keys" in (open_mode_refusal(connection((host, 50000))) or "")


def test_a_peer_that_is_not_known_is_refused_unless_it_came_by_a_socket_file() -> None:
    assert open_mode_refusal(connection(None)) is not None
    assert open_mode_refusal(connection(None, server=None)) is not None
    assert open_mode_refusal({"type": "http", "headers": []}) is not None
    assert open_mode_refusal(connection(None, server=("/run/switchyard.sock", None))) is None


@pytest.mark.parametrize(
    "name", ["forwarded", "x_forwarded_for", "x_forwarded_host", "x_forwarded_proto", "via", "x_real_ip"]
)
def test_what_proxies_add_is_refused_also_where_the_server_has_rewritten_the_peer_by_it(name: str) -> None:
    assert open_mode_refusal(connection(("127.0.0.1", 0), **{name: "127.0.0.1"})) is not None
    by_socket_file = connection(None, server=("/run/switchyard.sock", None), **{name: "127.0.0.1"})
    assert open_mode_refusal(by_socket_file) is not None
