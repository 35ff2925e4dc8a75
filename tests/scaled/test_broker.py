"""Celery's connection is what redis-py makes of `REDIS_URL`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from platform_site.processes.local_servers import LocalValkey
from tests.live import INHERITED, ROOT

SETTINGS = "print(json.dumps({name: app.conf[f'broker_{name}'] for name in ('url', 'use_ssl', 'transport_options')}))"
BEAT_ONCE = "celery.wake_background.apply_async()"


def run(program: str, redis_url: str, directory: Path) -> str:
    """What a program prints that has Celery's application as `app`."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment = {"DATABASE_URL": "postgres://nowhere", "REDIS_URL": redis_url, "SECRET_KEY": "x"}
    done = subprocess.run(
        [sys.executable, "-c", f"import json\nfrom platform_site import celery\napp = celery.app\n{program}"],
        cwd=ROOT,
        env={**inherited, **environment, "DATA_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def settings_of(redis_url: str, directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(SETTINGS, redis_url, directory))
    return found


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[LocalValkey]:
    """A server on a socket file whose path has a blank in it."""
    server = LocalValkey(tmp_path / "a b")
    server.prepare()
    with subprocess.Popen(server.command) as process:
        while not server.is_ready():
            assert process.poll() is None
            time.sleep(0.05)
        yield server
        process.terminate()


def test_a_socket_file_and_its_database_are_found(valkey: LocalValkey, tmp_path: Path) -> None:
    run(BEAT_ONCE, f"{valkey.url}?db=3", tmp_path)
    with Redis.from_url(valkey.url, decode_responses=True) as client:
        assert client.keys() == []
        client.select(3)
        assert client.exists("switchyard:celery:switchyard")


def test_certificates_are_verified(tmp_path: Path) -> None:
    found = settings_of("rediss://user:p%40ss@redis:6380/2?ssl_ca_certs=/ca.pem", tmp_path)
    assert found["url"] == "redis://user:p%40ss@redis:6380/2"
    assert found["use_ssl"] == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}


def test_unless_the_address_says_otherwise(tmp_path: Path) -> None:
    assert settings_of("rediss://redis?ssl_cert_reqs=none", tmp_path)["use_ssl"] == {"ssl_cert_reqs": "none"}


def test_options_are_passed_on(tmp_path: Path) -> None:
    found = settings_of("redis://redis/1?socket_timeout=7.5&protocol=3", tmp_path)
    assert (found["url"], found["use_ssl"]) == ("redis://redis/1", None)
    assert found["transport_options"]["socket_timeout"] == 7.5
