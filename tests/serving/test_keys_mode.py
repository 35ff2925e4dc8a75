"""On an address that is not loopback, keys are asked for from the start."""

import shlex
import subprocess
from pathlib import Path

import httpx

from platform_site.management.commands.serve import create_key_command
from tests.live import ROOT
from tests.serving.conftest import Launch, clean_environment, wait_log, wait_ok


def test_starts_without_further_settings_and_asks_for_a_key(launch: Launch) -> None:
    server = launch(None, "--host", "0.0.0.0")
    assert wait_ok(server).status_code == 200
    assert httpx.post(server.url + "/threads", json={}, timeout=60).status_code == 401


def test_the_printed_command_makes_a_key_that_works(launch: Launch) -> None:
    server = launch(None, "--host", "0.0.0.0")
    command = wait_log(server, r"there is none yet\. Make one:\n +(.+)\n")[1]
    made = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    key = made.stdout.strip().splitlines()[-1]
    assert shlex.split(command)[-1] == "my-first-key"
    for headers in ({"X-Api-Key": key}, {"Authorization": f"Bearer {key}"}):
        assert httpx.post(server.url + "/threads", json={}, headers=headers, timeout=60).status_code == 200


def test_the_printed_command_holds_no_password(settings, tmp_path: Path) -> None:
    # `serve --scaled` was tried out on this directory before.
    (tmp_path / "postgres").mkdir()
    settings.DATA_DIR, settings.DATABASE_URL = tmp_path, "postgres://user:hidden@db/name"
    assert "hidden" not in create_key_command()


def test_health_and_metrics_need_no_key(launch: Launch) -> None:
    server = launch(None, "--host", "0.0.0.0")
    wait_ok(server)
    for path in ("/ok", "/info", "/metrics", "/openapi.json", "/docs"):
        assert httpx.get(server.url + path, timeout=60).status_code == 200, path


def test_loopback_needs_none_and_asks_for_one_if_told_to(launch: Launch) -> None:
    server = launch(None, AUTH="keys")
    wait_ok(server)
    assert httpx.post(server.url + "/threads", json={}, timeout=60).status_code == 401
