"""Dockerfile and compose.yaml, without a Docker engine: they are read, and what they would run is run."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.layout import RESOURCE_APPS
from tests.live import INHERITED, ROOT, free_port
from tests.scaled_stack import Handle, ScaledStack, scaled_stacks
from tests.test_docs import SETTINGS

__all__ = ["scaled_stacks"]

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = ("web", "worker", "beat")
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
DEPLOYING = (ROOT / "docs" / "deploying.md").read_text()


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as pairs of an instruction and its arguments."""
    text = (ROOT / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines.replace("\\\n", " ").splitlines()]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(index for index, (name, _) in enumerate(found) if name == "FROM") :]


def arguments_of(instruction: str) -> str:
    """Those of the last such instruction, which is the one that counts."""
    return [arguments for name, arguments in last_stage() if name == instruction][-1]


def image_environment() -> dict[str, str]:
    pairs = (pair for name, arguments in last_stage() if name == "ENV" for pair in shlex.split(arguments))
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def image_health_check() -> list[str]:
    return list(json.loads(arguments_of("HEALTHCHECK").partition("CMD ")[2]))


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


# --- the Dockerfile ---------------------------------------------------------------------------------


def test_the_dockerfile_can_be_read() -> None:
    assert {name for name, _ in instructions()} == INSTRUCTIONS
    assert instructions()[0][0] == "FROM"


def test_stages_copy_from_stages_that_exist() -> None:
    stages = {
        arguments.split(" AS ")[1] for name, arguments in instructions() if name == "FROM" and " AS " in arguments
    }
    copied = re.findall(r"--from=(\S+)", (ROOT / "Dockerfile").read_text())
    assert set(copied) == stages


def test_every_stage_has_the_same_slim_python() -> None:
    images = {arguments.split()[0] for name, arguments in instructions() if name == "FROM"}
    assert images == {"python:3.11-slim"}


def test_the_image_does_not_run_as_root() -> None:
    user = arguments_of("USER")
    assert user not in ("root", "0")
    assert any(name == "RUN" and f"useradd --system --uid 10001 --no-create-home --home-dir /data {user}" in arguments
               for name, arguments in last_stage())  # fmt: skip


def test_what_is_copied_exists() -> None:
    sources = [
        arguments.split()[:-1] for name, arguments in instructions() if name == "COPY" and "--from" not in arguments
    ]
    for source in (source for group in sources for source in group):
        assert (ROOT / source).exists(), source


def test_packages_are_the_ones_that_were_tested() -> None:
    installs = next(arguments for name, arguments in instructions() if name == "RUN" and "install" in arguments)
    assert installs.count("-c constraints.txt") == 2


def test_traces_need_nothing_but_their_variables() -> None:
    assert any("-r pyproject.toml --extra otel" in arguments for name, arguments in instructions() if name == "RUN")


def test_the_documented_image_of_ones_own_keeps_no_key(tmp_path: Path) -> None:
    found = re.search(r"^RUN (.*)python (.* install_dependencies) ", DEPLOYING, re.MULTILINE)
    assert found is not None
    (tmp_path / "langgraph.json").write_text('{"dependencies": [], "graphs": {"g": "./graph.py:graph"}}')
    line = f"{found[1]}{shlex.quote(sys.executable)} {found[2]} {tmp_path}/langgraph.json"
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment = {**inherited, **image_environment(), "PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")}
    subprocess.run(["sh", "-c", line], cwd=ROOT, env=environment, timeout=60, check=True)
    assert not (tmp_path / "data").exists()


def test_the_image_holds_what_the_server_needs_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert kept == {
        *RESOURCE_APPS, "manage.py", "pyproject.toml", "constraints.txt", "platform_site", "templates", "static",
    }  # fmt: skip
    assert all((ROOT / name).exists() for name in kept)


def test_the_image_names_only_settings() -> None:
    of_python = {"PATH", "VIRTUAL_ENV", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert set(image_environment()) - of_python <= set(SETTINGS)
    assert arguments_of("EXPOSE") == image_environment()["PORT"]


# --- compose.yaml -----------------------------------------------------------------------------------


@pytest.mark.parametrize("service", OURS)
def test_services_name_only_settings(service: str) -> None:
    environment = COMPOSE["services"][service]["environment"]
    assert set(environment) <= set(SETTINGS)
    assert {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"} <= set(environment)


def test_secrets_come_from_the_environment_and_are_documented() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert wanted == {"POSTGRES_PASSWORD", "SECRET_KEY"}
    assert all(f"{name}=" in DEPLOYING for name in wanted)


@pytest.mark.parametrize("service", OURS)
def test_services_wait_for_healthy_databases(service: str) -> None:
    wanted = COMPOSE["services"][service]["depends_on"]
    assert wanted == {"postgres": {"condition": "service_healthy"}, "valkey": {"condition": "service_healthy"}}
    assert all("healthcheck" in COMPOSE["services"][name] for name in wanted)


@pytest.mark.parametrize("service", OURS)
def test_services_have_longer_to_stop_than_runs_to_finish(service: str) -> None:
    found = COMPOSE["services"][service]
    assert seconds(found["stop_grace_period"]) > int(found["environment"]["DRAIN_SECONDS"])


@pytest.mark.parametrize("service", list(COMPOSE["services"]))
def test_every_service_comes_back(service: str) -> None:
    assert COMPOSE["services"][service]["restart"] == "unless-stopped"


def test_only_the_web_process_is_published_and_only_here() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"web": [f"127.0.0.1:2024:{image_environment()['PORT']}"]}


def test_addresses_are_those_of_the_services() -> None:
    environment = COMPOSE["services"]["web"]["environment"]
    postgres = COMPOSE["services"]["postgres"]["environment"]
    place = f"@postgres:5432/{postgres['POSTGRES_DB']}"
    assert environment["DATABASE_URL"].startswith(f"postgres://{postgres['POSTGRES_USER']}:${{POSTGRES_PASSWORD")
    assert environment["DATABASE_URL"].endswith(place)
    assert environment["REDIS_URL"] == "redis://valkey:6379/0"


def test_images_are_free_and_of_a_fixed_major_version() -> None:
    images = {name: service["image"] for name, service in COMPOSE["services"].items() if name not in OURS}
    # The licences of Redis 7.4 and later are not free ones.
    assert images == {"postgres": "pgvector/pgvector:pg17", "valkey": "valkey/valkey:8-alpine"}
    assert COMPOSE["services"]["valkey"]["command"][0] == "valkey-server"
    assert COMPOSE["services"]["valkey"]["healthcheck"]["test"] == ["CMD", "valkey-cli", "ping"]


def test_what_must_not_be_lost_is_on_a_volume() -> None:
    assert COMPOSE["services"]["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert "postgres" in COMPOSE["volumes"]


def test_the_command_of_the_image_is_that_of_the_web_service() -> None:
    assert json.loads(arguments_of("CMD")) == COMPOSE["services"]["web"]["command"]


# --- what they would run ------------------------------------------------------------------------------


class Container:
    """A service's command and health check, run here with the environment of the image and of the service."""

    def __init__(self, service: str, stack: ScaledStack) -> None:
        found: dict[str, Any] = COMPOSE["services"][service]
        directory = stack.directory / service
        directory.mkdir()
        here = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": str(free_port()),
            "DATA_DIR": str(directory),
            "ALIVE_FILE": str(directory / "alive"),
            **{name: stack.environment[name] for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")},
        }
        self.environment = {**image_environment(), **found["environment"], **here}
        self.check = found.get("healthcheck", {}).get("test", ["CMD", *image_health_check()])[1:]
        # Among the processes of the stack, which ends them.
        self.process = Handle(service, found["command"], self.environment, stack.directory / f"{service}.log")
        stack.beats.append(self.process)

    def is_healthy(self) -> bool:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        done = subprocess.run(self.check, cwd=ROOT, env={**inherited, **self.environment}, timeout=30, check=False)
        return done.returncode == 0

    def start(self) -> None:
        assert not self.is_healthy()
        self.process.launch()
        self.process.wait_until(self.is_healthy, timeout=120)


@pytest.mark.postgres
def test_the_services_start_get_healthy_and_stop(scaled_stacks: Callable[..., ScaledStack]) -> None:
    stack = scaled_stacks(None)
    stack.start_databases()
    containers = {service: Container(service, stack) for service in OURS}
    for container in containers.values():
        container.start()
    containers["worker"].process.wait_log("worker ready")
    for container in containers.values():
        assert container.process.terminate(timeout=120) == 0
    assert not containers["web"].is_healthy()
    stack.stop()
