"""A server that cannot start says why in one sentence and ends with status 1."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.serving.conftest import Launch, clean_environment, manage, wait_ok


def refused(process: subprocess.CompletedProcess[str]) -> str:
    """What stderr says about a start that was refused."""
    assert process.returncode == 1, process.stderr
    assert "Traceback" not in process.stderr
    _, prefix, reason = process.stderr.partition("switchyard: ")
    assert prefix
    return reason


def test_a_second_server_on_a_data_directory_names_the_first(launch: Launch) -> None:
    first = launch()
    wait_ok(first)
    sentence = refused(manage("serve", "--port", "0", "--data-dir", str(first.data_dir)))
    assert first.process is not None
    assert f"pid {first.process.pid}" in sentence
    assert first.url in sentence
    assert "--data-dir" in sentence
    assert wait_ok(first).status_code == 200


def test_a_killed_server_leaves_no_lock(launch: Launch) -> None:
    server = launch()
    wait_ok(server)
    server.kill()
    server.launch()
    assert wait_ok(server).status_code == 200


@pytest.mark.parametrize("command", [("serve",), ("serve", "--server", "daphne"), ("runserver", "--noreload")])
def test_a_port_in_use_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sentence = refused(manage(*command, PORT=str(port), DATA_DIR=str(tmp_path)))
    assert f"127.0.0.1 port {port}" in sentence
    assert "in use" in sentence
    assert f"PORT={port + 1} make serve" in sentence


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    sentence = refused(manage("serve", "--host", "203.0.113.7", "--data-dir", str(tmp_path)))
    assert "203.0.113.7" in sentence


@pytest.mark.parametrize(
    "secret",
    ["whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8G", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw1"],
)
def test_a_webhook_secret_that_is_none(tmp_path: Path, secret: str) -> None:
    started = manage(
        "serve", DATA_DIR=str(tmp_path), WEBHOOK_SECRETS=f"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw {secret}"
    )
    assert started.returncode == 1
    assert "WEBHOOK_SECRETS must be" in started.stderr
    assert "MfKQ" not in started.stderr


POSTGRES = {"DATABASE_URL": "postgres://user:hidden@nowhere/name"}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"REDIS_URL": "redis://:hidden@nowhere"}, "REDIS_URL needs DATABASE_URL"),
        ({**POSTGRES, "REDIS_URL": "amqp://user:hidden@nowhere"}, "REDIS_URL must begin with redis://"),
        ({**POSTGRES, "REDIS_URL": "redis://nowhere"}, "SECRET_KEY must be set in scale mode"),
        ({"DATABASE_URL": "mysql://user:hidden@nowhere/name"}, "DATABASE_URL must begin with postgres://"),
    ],
)
def test_databases_that_do_not_fit(tmp_path: Path, environment: dict[str, str], sentence: str) -> None:
    said = refused(manage("serve", DATA_DIR=str(tmp_path), **environment))
    assert said.startswith(sentence)
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PORT", "70000", "must be at most 65535, not 70000"),
        ("WORKER_METRICS_PORT", "65536", "must be at most 65535, not 65536"),
        ("CONCURRENCY", "inf", "must be a number, not 'inf'"),
        ("LEASE_SECONDS", "nan", "must be a number, not 'nan'"),
        ("DRAIN_SECONDS", "soon", "must be a number, not 'soon'"),
        ("UNREAD_TIMEOUT_SECONDS", "5m", "must be a number, not '5m'; write the number of seconds without a unit"),
        ("UNREAD_TIMEOUT_SECONDS", "0", "must be at least 0.1, not 0"),
        ("EVENT_MEMORY_BYTES", "64MB", "must be a number, not '64MB'; write the number of bytes without a unit"),
        ("EVENT_MEMORY_BYTES", "0", "must be at least 1000000, not 0"),
        ("EVENT_MEMORY_BYTES", "1e18", "must be at most the memory of this process, "),
        ("EVENT_REDIS_BYTES", "1000", "must be at least 1000000, not 1000"),
        ("STATE_CACHE_BYTES", "1e18", "must be at most the memory of this process, "),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, variable: str, value: str, sentence: str) -> None:
    assert refused(manage("serve", DATA_DIR=str(tmp_path), **{variable: value})).startswith(f"{variable} {sentence}")


def test_leases_that_end_between_two_heartbeats(tmp_path: Path) -> None:
    said = refused(manage("serve", DATA_DIR=str(tmp_path), LEASE_SECONDS="8"))
    assert said.startswith("HEARTBEAT_SECONDS (5) must be at most half of LEASE_SECONDS (8)")


def test_waits_for_locks_that_are_longer_than_a_lease_allows(tmp_path: Path) -> None:
    said = refused(manage("serve", DATA_DIR=str(tmp_path), LOCK_TIMEOUT_SECONDS="16"))
    assert said.startswith("LOCK_TIMEOUT_SECONDS (16) must be at most half of LEASE_SECONDS (30)")


@pytest.mark.parametrize("url", ["web:2024", "ftp://web", "http://user:hidden@web", "http://web/?x", "http://we b"])
def test_an_address_of_web_processes_that_is_none(tmp_path: Path, url: str) -> None:
    said = refused(manage("serve", DATA_DIR=str(tmp_path), WEB_URL=url))
    assert said.startswith("WEB_URL must be http:// or https://")
    assert "hidden" not in said


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.json"
    assert str(missing) in refused(manage("serve", "--config", str(missing), "--data-dir", str(tmp_path)))


def test_a_config_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    missing = tmp_path / "typo" / "langgraph.json"
    assert f"{missing}: there is no such file" in refused(manage("serve", "--config", str(missing)))
    assert list(tmp_path.iterdir()) == []


def test_a_config_with_a_wrong_value_names_file_and_key(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text('{"graphs": {"g": 5}}')
    sentence = refused(manage("serve", "--config", str(config), "--data-dir", str(tmp_path / "data")))
    assert str(config) in sentence
    assert "graphs.g" in sentence


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("PORT", "many", "PORT must be a number"),
        ("AUTH", "maybe", "AUTH must be one of"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT"),
        ("LANGGRAPH_CONFIG", '{"chat": {"tags": 5}}', "LANGGRAPH_CONFIG: `chat`: `tags`: expected a valid list"),
        ("LANGGRAPH_CONFIG", "{broken", "LANGGRAPH_CONFIG: expected a JSON object, each graph's id with a config"),
        ("LANGGRAPH_AUTH", '{"path": "./auth.py:auth"}', "the variable LANGGRAPH_AUTH: authentication by a handler"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, value: str, expected: str) -> None:
    assert expected in refused(manage("serve", **{"DATA_DIR": str(tmp_path), setting: value}))


def test_a_wrong_flag_is_named_as_its_variable(tmp_path: Path) -> None:
    assert "PORT must be a number" in refused(manage("serve", "--port", "many", "--data-dir", str(tmp_path)))


def test_an_auth_handler_is_not_available_yet(tmp_path: Path) -> None:
    sentence = refused(manage("serve", AUTH="handler", DATA_DIR=str(tmp_path)))
    assert "AUTH=handler is not available" in sentence


AUTH = {"graphs": {"g": "./g.py:g"}, "auth": {"path": "./auth.py:auth"}}


@pytest.mark.parametrize("command", [("serve",), ("serve", "--scaled"), ("runserver", "--noreload")])
@pytest.mark.parametrize("auth", ["open", "keys"])
def test_a_project_with_a_handler_of_its_own_is_not_served_without_it(
    tmp_path: Path, command: tuple[str, ...], auth: str
) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps(AUTH))
    sentence = refused(manage(*command, AUTH=auth, LANGGRAPH_CONFIG=str(config)))
    assert sentence.startswith(f"{config}: `auth`: authentication by a handler of one's own is not available")


@pytest.mark.parametrize(
    "command",
    [
        ("uvicorn", "platform_site.asgi:application", "--port", "0"),
        ("celery", "-A", "platform_site", "worker"),
    ],
)
def test_nor_by_another_server_or_a_worker(tmp_path: Path, command: tuple[str, ...]) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps(AUTH))
    scaled = {**POSTGRES, "REDIS_URL": "redis://nowhere", "SECRET_KEY": "x"} if command[0] == "celery" else {}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=clean_environment(LANGGRAPH_CONFIG=str(config), DATA_DIR=str(tmp_path / "data"), **scaled),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "`auth`: authentication by a handler of one's own is not available" in done.stderr


def test_an_unknown_flag_shows_the_usage(tmp_path: Path) -> None:
    process = manage("serve", "--prot", "1", DATA_DIR=str(tmp_path))
    assert process.returncode == 2
    assert "usage:" in process.stderr


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data, key in (("file/data", {"SECRET_KEY": "x"}), ("file/data", {}), ("file", {})):
        sentence = refused(manage("serve", DATA_DIR=str(tmp_path / data), **key))
        assert f"cannot use the data directory {tmp_path / data}" in sentence
