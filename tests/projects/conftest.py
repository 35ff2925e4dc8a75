"""Servers of the corpus: one for each project, started when its first test comes and stopped after its last."""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.live import LiveServer
from tests.projects.corpus import PROJECTS, Project
from tests.projects.environment import Installed, installed

# What real projects hold: tests of their own, which are not ours.
collect_ignore_glob = ["*/*"]

# A command that serves a langgraph.json instead of ours, to see what it answers: README.md says how.
OTHER_SERVER = os.environ.get("PROJECTS_SERVER")


@dataclass
class ProjectServer(LiveServer):
    """`manage.py serve`, or the other server that `PROJECTS_SERVER` names, which is started in the project's folder."""

    def __post_init__(self) -> None:
        if OTHER_SERVER is not None and self.config is not None:
            self.started_in = self.config.parent

    def command(self) -> list[str]:
        if OTHER_SERVER is None:
            return super().command()
        return [*shlex.split(OTHER_SERVER), "--port", str(self.port)]


@dataclass
class Served:
    """A project of the corpus on its server."""

    project: Project
    server: ProjectServer
    http: httpx.Client
    installed: Installed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of a class for each project of its kind, and for each conversation alone."""
    if "served" not in metafunc.fixturenames or metafunc.cls is None:
        return
    projects = [item for item in PROJECTS if item.kind == metafunc.cls.kind and "refuses" not in item.expected]
    if "conversation" in metafunc.fixturenames:
        # Two projects have conversations of one name: pytest would bring them together, and start a server twice.
        pairs = [(project, (project.name, name)) for project in projects for name in project.conversations]
        ids = ["-".join(conversation) for _, conversation in pairs]
        metafunc.parametrize("served,conversation", pairs, ids=ids, indirect=["served"], scope="class")
    else:
        names = [project.name for project in projects]
        metafunc.parametrize("served", projects, ids=names, indirect=True, scope="class")


@pytest.fixture(scope="class")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    project: Project = request.param
    made = installed(project)
    server = server_of(made, tmp_path_factory.mktemp(project.kind))
    server.start()
    with httpx.Client(base_url=server.url, timeout=30) as http:
        yield Served(project, server, http, made)
    server.stop()


def server_of(made: Installed, directory: Path) -> ProjectServer:
    """Return the server of a project in the project's environment, not started."""
    assert made.status == 0, made.said
    return ProjectServer(made.config, directory, {"LOG_FORMAT": "json"}, python=made.python)
