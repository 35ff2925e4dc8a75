"""What all tests share: a private data directory, databases, live servers and clients for them."""

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

# Before the settings are loaded: no test touches the data directory of a developer.
_data = tempfile.TemporaryDirectory(prefix="switchyard-tests-")
os.environ["DATA_DIR"] = _data.name
os.environ["DJANGO_SETTINGS_MODULE"] = "platform_site.settings"

import django  # noqa: E402
import httpx  # noqa: E402
import pytest  # noqa: E402
from asgiref.sync import sync_to_async  # noqa: E402
from django.conf import settings  # noqa: E402
from langgraph_sdk import get_client, get_sync_client  # noqa: E402
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient  # noqa: E402

from platform_site.core.database import access as database  # noqa: E402
from tests import live  # noqa: E402
from tests.scaled_stack import ScaledStack  # noqa: E402
from tests.scaled_stack import scaled_stacks as scaled_stacks  # noqa: E402
from tests.spies import install  # noqa: E402
from tests.spies.violations import Reports  # noqa: E402

if not settings.DATABASE_URL:
    # A file, so that the threads of the database pools see what the test sees.
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = str(Path(_data.name) / "test.sqlite3")
# Now that the settings are right: the conftest files below import models.
django.setup()
install.install()
live.SPIED["SWITCHYARD_TEST_VIOLATIONS"] = str(Path(_data.name) / "violations")
_reports = Reports(Path(live.SPIED["SWITCHYARD_TEST_VIOLATIONS"]))


@pytest.fixture(autouse=True)
def spies() -> Iterator[Reports]:
    """Fail a test during which something reached what belongs to another tenant: see `tests.spies`."""
    yield _reports
    if seen := _reports.new():
        pytest.fail("\n".join(["The spies saw:", *seen]), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows the end of the log of every server that is up."""
    report = yield
    # Tests log characters that have no UTF-8, which xdist cannot pass on.
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    if report.failed:
        for server in live.servers:
            report.sections.append((f"log of the server on port {server.port}", server.log[-8000:]))
    return report


@pytest.fixture
def inline_db(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Database hops run on the test's own connection, inside the transaction that is rolled back at its end.

    For `async def` tests and for `async_to_sync` alike. The body of an `async def` test reaches the ORM by a hop, too.
    """

    async def hop(pool: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return await sync_to_async(function)(*args, **kwargs)
        # Where a loop runs Django keeps a connection per context; the test's is the one of its thread.
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        try:
            return function(*args, **kwargs)
        finally:
            asyncio._set_running_loop(loop)

    monkeypatch.setattr(database, "_hop", hop)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., live.LiveServer]]:
    """Start servers of one's own: `start_server(config, NAME="value", arguments=(...))`; all end with the session."""
    started: list[live.LiveServer] = []

    def start(config: Path | None, arguments: tuple[str, ...] = (), **environment: str) -> live.LiveServer:
        server = live.LiveServer(config, tmp_path_factory.mktemp("server"), environment, arguments)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


# What is tested in both modes: through the official client, against the recorded exchanges, and with faults.
IN_BOTH_MODES = ("tests.client", "tests.contract.test_replay", "tests.faults", "tests.values")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_mode" in metafunc.fixturenames:
        both = metafunc.module.__name__.startswith(IN_BOTH_MODES) and "SERVER_URL" not in os.environ
        # One process on a PostgreSQL of the test's own.
        both = both and "postgres_url" not in metafunc.fixturenames
        modes = ["embedded", "scaled"] if both else ["embedded"]
        metafunc.parametrize("server_mode", modes, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server_mode(request: pytest.FixtureRequest) -> str:
    """`embedded`: one process on SQLite. `scaled`: a web process and a worker on PostgreSQL and Valkey."""
    return str(request.param)


@pytest.fixture(scope="session")
def servers_of_modes() -> dict[tuple[str, Path], live.LiveServer]:
    """The servers that run, by mode and configuration.

    Pytest makes the fixtures of a mode anew each time it comes back to the mode. A server more each time took all the
    memory of the machine.
    """
    return {}


@pytest.fixture(scope="session")
def start_in_mode(
    server_mode: str,
    servers_of_modes: dict[tuple[str, Path], live.LiveServer],
    start_server: Callable[..., live.LiveServer],
    scaled_stacks: Callable[..., ScaledStack],
) -> Callable[..., live.LiveServer]:
    """Give the server with these graphs in this test's mode, started when it is asked for first.

    The tests that get it leave it running. With `shared=False` it is a new one.
    """

    def start(config: Path, *, shared: bool = True, **environment: str) -> live.LiveServer:
        place = (server_mode, config)
        if shared and place in servers_of_modes:
            return servers_of_modes[place]
        if server_mode == "embedded":
            made = start_server(config, **environment)
        else:
            made = scaled_stacks(config, **environment).start().web
        if shared:
            servers_of_modes[place] = made
        return made

    return start


@pytest.fixture(scope="session")
def server(start_in_mode: Callable[[Path], live.LiveServer]) -> live.LiveServer | live.RunningServer:
    """The server with the graphs of the contract, shared by all tests that leave it running."""
    if url := os.environ.get("SERVER_URL"):
        return live.RunningServer(url.rstrip("/"))
    return start_in_mode(live.CONTRACT_CONFIG)


@pytest.fixture(scope="session")
def samples_server(start_server: Callable[..., live.LiveServer]) -> live.LiveServer:
    """The server as a newcomer starts it: no config, the sample graphs."""
    return start_server(None)


@pytest.fixture
def not_the_reference() -> None:
    """What the recorded server gets wrong and ours must get right."""
    if "SERVER_URL" in os.environ:
        pytest.skip("a quirk of the recorded server")


@pytest.fixture
def http(server: live.LiveServer | live.RunningServer) -> Iterator[httpx.Client]:
    """Plain HTTP to the shared server."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture
async def client(server: live.LiveServer | live.RunningServer) -> AsyncIterator[LangGraphClient]:
    """The official asynchronous client on the shared server."""
    async with get_client(url=server.url) as client:
        yield client


@pytest.fixture
def sync_client(server: live.LiveServer | live.RunningServer) -> Iterator[SyncLangGraphClient]:
    """The official synchronous client on the shared server."""
    with get_sync_client(url=server.url) as client:
        yield client
