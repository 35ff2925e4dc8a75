"""What the server keeps on disk is for its owner alone, also in a directory that others may enter."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveServer
from tests.serving.conftest import Launch, ask, clean_environment, manage, wait_log, wait_ok, write_graph


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """As in most shells: what is made without care is readable by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, str]:
    # All but `.gitignore`, which tells nothing.
    files = [file for file in directory.iterdir() if file.is_file() and file.name != ".gitignore"]
    return {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in files}


def assert_private(directory: Path, *names: str) -> None:
    found = modes(directory)
    assert set(names) <= set(found)
    assert set(found.values()) == {"0o600"}, found


def open_directory(server_directory: Path) -> Path:
    directory = server_directory / "data"
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    return directory


DATABASES = ("switchyard.sqlite3", "switchyard.sqlite3-wal", "checkpoints.sqlite3", "checkpoints.sqlite3-wal")


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_serve_makes_its_files_private(launch: Launch, tmp_path: Path, server: str) -> None:
    directory = open_directory(tmp_path / "server-0")
    started = launch(write_graph(tmp_path / "project"), "--server", server)
    wait_ok(started)
    assert ask(started) == "one"
    assert_private(directory, *DATABASES, "secret_key", "lock")
    assert f"chmod 700 {directory}" in started.log


def test_serve_closes_files_that_were_open(launch: Launch, tmp_path: Path) -> None:
    server = launch(write_graph(tmp_path / "project"))
    wait_ok(server)
    assert ask(server) == "one"
    server.kill()
    for file in server.data_dir.iterdir():
        file.chmod(0o644)
    server.launch()
    wait_log(server, r"(?s)Switchyard is ready.*Switchyard is ready")
    assert ask(server) == "one"
    assert_private(server.data_dir, *DATABASES, "secret_key", "lock")


def test_any_asgi_server_makes_its_files_private(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    server = LiveServer(write_graph(tmp_path / "project"), tmp_path)
    words = ("-m", "uvicorn", "platform_site.asgi:application", "--port", str(server.port), "--lifespan", "off")
    environment = clean_environment(DATA_DIR=str(directory), LANGGRAPH_CONFIG=str(server.config), PORT=str(server.port))
    with server.log_path.open("ab") as log:
        server.process = subprocess.Popen([sys.executable, *words], env=environment, stdout=log, stderr=log)
    try:
        wait_ok(server)
        assert ask(server) == "one"
        # Made by the settings before anything of the server ran, as the other files by the server.
        assert_private(directory, *DATABASES, "secret_key", "lock")
    finally:
        server.process.kill()
        server.process.wait()


def test_commands_make_private_files(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    dump = directory / "dump.json"
    assert manage("migrate", "--verbosity", "0", DATA_DIR=str(directory)).returncode == 0
    assert manage("create_api_key", "my-key", DATA_DIR=str(directory)).returncode == 0
    assert manage("dumpdata", "auth", "--output", str(dump), DATA_DIR=str(directory)).returncode == 0
    assert_private(directory, "switchyard.sqlite3", "secret_key", "dump.json")
