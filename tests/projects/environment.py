"""The environment of a project, made by the command that `make serve` runs.

The projects are copied to `.cache/projects/` first, because an installation writes into the folder of the project, and
because real projects lie in folders with spaces. What was installed stays there: a further test run installs nothing.
"""

import fcntl
import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live import INHERITED, ROOT
from tests.projects.corpus import HERE, Project

COPIES = ROOT / ".cache" / "Projekte für Tests"
# Exact versions of what the projects bring beside our own packages, so that nobody's release fails a build.
CONSTRAINTS = HERE / "constraints.txt"
# What an installation or a server leaves in the folder of a project.
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".switchyard", ".langgraph_api")


@dataclass(frozen=True)
class Installed:
    """A copy of a project, and what the installation said."""

    config: Path
    status: int
    said: str
    # The interpreter to serve the project with.
    python: Path


def installed(project: Project) -> Installed:
    """Bring the copy of the project up to date and install whatever it needs and has not got."""
    COPIES.mkdir(parents=True, exist_ok=True)
    with _locked(COPIES / f"{project.name}.lock"):
        _mirror(project.folder, COPIES / project.name)
        config = COPIES / project.name / project.config
        done = subprocess.run(
            [sys.executable, "-m", "platform_site.installation.environment", str(config)],
            cwd=ROOT,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        # A further run installs nothing and says nothing.
        log = config.parent / ".switchyard" / "installed.log"
        if done.stderr and log.parent.exists():
            log.write_text(done.stderr)
        said = log.read_text() if log.exists() else done.stderr
    return Installed(config, done.returncode, said, Path(done.stdout.strip() or sys.executable))


def _environment() -> dict[str, str]:
    """Return the variables of a user's shell, who may have proxies, certificates and a package index of their own."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    of_packages = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("UV_", "PIP_", "SSL_")) or name.lower().endswith("_proxy")
    }
    return {"UV_SYSTEM_CERTS": "1"} | inherited | of_packages | {"UV_CONSTRAINT": str(CONSTRAINTS)}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process is in here."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mirror(source: Path, target: Path) -> None:
    """Make the target a copy of the source; files that are the same are not touched."""
    target.mkdir(parents=True, exist_ok=True)
    found = {path.name for path in source.iterdir()}
    kept = found | LEFT_BEHIND(str(target), [path.name for path in target.iterdir()])
    for path in list(target.iterdir()):
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in found - LEFT_BEHIND(str(source), list(found)):
        if (source / name).is_dir():
            _mirror(source / name, target / name)
        elif not (target / name).exists() or not filecmp.cmp(source / name, target / name, shallow=False):
            shutil.copy2(source / name, target / name)
