"""What the tests of tenants share: a server with two of them on each kind of database."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from tests.live import LiveServer
from tests.postgres import postgres_server as postgres_server
from tests.tenants.places import CONFIG, Place

# Sweeps find what the helper makes beside the server.
SETTINGS = {"AUTH": "keys", "WEBHOOK_PRIVATE_ALLOWED": "127.0.0.1", "SWEEP_SECONDS": "0.5", "LOG_REQUESTS": "true"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, start_server: Callable[..., LiveServer]) -> Iterator[Place]:
    """A server of this module's own, with the workspaces `victim` and `attacker`."""
    environment = dict(SETTINGS)
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_server")
        name = f"test_{uuid4().hex}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        environment["DATABASE_URL"] = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    server = start_server_with_keys(start_server, environment)
    place = Place(server, {**environment, "DATA_DIR": str(server.data_dir), "LANGGRAPH_CONFIG": str(CONFIG)})
    place.tenants = place.help("make")
    yield place
    server.stop()


def start_server_with_keys(start_server: Callable[..., LiveServer], environment: dict[str, str]) -> LiveServer:
    """`LiveServer.start` asks for assistants without a key, which this server refuses: it is ready all the same."""
    try:
        return start_server(CONFIG, **environment)
    except RuntimeError as error:
        if "answers 401" not in str(error):
            raise
    from tests.live import servers

    return servers[-1]
