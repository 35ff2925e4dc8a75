"""The environment that serves the corpus, made as a user makes it: `make install`, then `install_dependencies`.

One environment holds the dependencies of all projects, as the `.venv` of a checkout does that served one project after
the other. It is kept in `.cache/` under a digest of everything that says what is installed. The projects lie beside it
as copies, because installing one in place writes into its folder, and because real projects lie in folders with spaces.
"""

import fcntl
import filecmp
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live import INHERITED, ROOT
from tests.projects.corpus import HERE, PROJECTS, Project

CACHE = ROOT / ".cache"
# Exact versions of what the projects ask for, so that a new release of a package fails nobody's build.
CONSTRAINTS = HERE / "constraints.txt"
# What an installation or a server leaves in the folder of a project.
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".switchyard", ".langgraph_api")


@dataclass(frozen=True)
class Installation:
    """What `install_dependencies` said of one project."""

    status: int
    text: str


class Environment:
    """A virtual environment with the dependencies of every project, and copies of the projects."""

    def __init__(self) -> None:
        self.directory = CACHE / f"projects-{_digest()}"
        self.venv = self.directory / "venv"
        self.projects = self.directory / "Projekte für Tests"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    def config(self, project: Project) -> Path:
        """Path of the langgraph.json in the copy of the project."""
        return self.projects / project.name / project.config

    def installation(self, project: Project) -> Installation:
        return Installation(**json.loads(self._said(project).read_text()))

    def prepare(self) -> "Environment":
        """Bring the copies up to date, and install whatever has not been installed. Raises CalledProcessError."""
        CACHE.mkdir(exist_ok=True)
        with _locked(CACHE / "projects.lock"):
            for old in CACHE.glob("projects-*"):
                if old != self.directory:
                    shutil.rmtree(old)
            for project in PROJECTS:
                _mirror(project.folder, self.projects / project.name)
            if not (self.directory / "installed").exists():
                self._install()
        return self

    def _install(self) -> None:
        subprocess.run(["make", "install", f"VENV={self.venv}"], cwd=ROOT, env=_environment(), check=True, timeout=600)
        for project in PROJECTS:
            done = subprocess.run(
                [str(self.python), "manage.py", "install_dependencies", str(self.config(project))],
                cwd=ROOT,
                env=_environment(UV_CONSTRAINT=str(CONSTRAINTS), DATA_DIR=str(self.directory / "data")),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=600,
            )
            self._said(project).write_text(json.dumps({"status": done.returncode, "text": done.stdout}))
        (self.directory / "installed").touch()

    def _said(self, project: Project) -> Path:
        return self.directory / f"{project.name}.json"


def _environment(**more: str) -> dict[str, str]:
    """The shell of a user: variables of ours and of the environment in which the tests run are not in it."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ and name != "VIRTUAL_ENV"}
    # Proxies, certificates, and where packages come from.
    package_settings = {
        name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or name[:3] in ("UV_", "PIP", "SSL")
    }
    return inherited | package_settings | more


def _digest() -> str:
    """Of every file that says what is installed, and of the code that installs it."""
    said = [ROOT / "pyproject.toml", ROOT / "constraints.txt", ROOT / "Makefile", CONSTRAINTS]
    for pattern in ("langgraph.json", "*requirements*.txt", "pyproject.toml", "setup.py"):
        said += sorted(path for project in PROJECTS for path in project.folder.rglob(pattern))
    said += sorted((ROOT / "platform_site").rglob("*install*.py"))
    said += sorted((ROOT / "platform_site" / "core").glob("config*.py"))
    digest = hashlib.sha256(platform.python_version().encode())
    for path in said:
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process of this test session is in here."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mirror(source: Path, target: Path) -> None:
    """Make the target a copy of the source; files that are the same are not touched."""
    target.mkdir(parents=True, exist_ok=True)
    found = {path.name for path in source.iterdir()}
    ignored = LEFT_BEHIND(str(source), sorted(found))
    kept = LEFT_BEHIND(str(target), sorted(path.name for path in target.iterdir()))
    for path in list(target.iterdir()):
        if path.name not in found and path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in found - ignored:
        if (source / name).is_dir():
            _mirror(source / name, target / name)
        elif not (target / name).exists() or not filecmp.cmp(source / name, target / name, shallow=False):
            shutil.copy2(source / name, target / name)
