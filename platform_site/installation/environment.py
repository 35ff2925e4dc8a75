"""The environment of a project: what its `langgraph.json` needs, installed beside Switchyard's own packages.

`make serve` gives every project a virtual environment of its own, in `.switchyard/venv` beside the file: no project
sees what another one needs. A stamp in it says what was installed, so that a further start installs nothing.

    python -m platform_site.installation.environment path/to/langgraph.json

prints the interpreter to serve the project with: this one if the project needs nothing that Switchyard has not.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from platform_site.core.config import Config, ConfigError, load_config
from platform_site.core.database import data_directory
from platform_site.core.project.import_path import ROOT
from platform_site.installation.requirements import REFERENCE_PACKAGES, Requirements, requirements_of

_PYPROJECT, _CONSTRAINTS = ROOT / "pyproject.toml", ROOT / "constraints.txt"
_STAMP = "switchyard-installed"


class CannotInstall(Exception):
    """The dependencies of a project cannot be installed; the message says what to change."""


def interpreter(config: Config, *, extras: Sequence[str] = ()) -> Path:
    """Return the Python to serve the project with, everything that it needs installed. Raises CannotInstall.

    `extras` are those of Switchyard that are wanted there, too.
    """
    wanted = requirements_of(config)
    if not wanted:
        return Path(sys.executable)
    environment = config.directory / ".switchyard" / "venv"
    python, stamp = environment / "bin" / "python", environment / _STAMP
    state = _state(wanted, extras)
    if python.exists() and stamp.is_file() and stamp.read_text() == state:
        return python
    _say(f"Installing the dependencies of {config.path} into {environment} (once, until they change).")
    try:
        data_directory.make(environment.parent)
        _make(environment, extras)
    except OSError as error:
        raise CannotInstall(
            f"{config.path}: no environment can be made in {environment} ({error}); allow it, or install the "
            "dependencies into one of your own with manage.py install_dependencies, and serve with manage.py serve"
        ) from None
    install(config, python, wanted)
    stamp.write_text(state)
    return python


def install(config: Config, python: Path, wanted: Requirements) -> None:
    """Install what a project wants into the environment of an interpreter. Raises CannotInstall.

    Switchyard's own packages stay within the ranges that it needs.
    """
    for requirement in wanted.left_out:
        _say(f"Left out: {requirement.line} ({requirement.place}). Switchyard takes the place of the reference server.")
    with tempfile.TemporaryDirectory(prefix="switchyard-") as directory:
        lines, overrides = Path(directory) / "requirements.txt", Path(directory) / "overrides.txt"
        lines.write_text("".join(f"{requirement.line}\n" for requirement in wanted.lines))
        # What a project's own packages ask for can only be overridden: a marker that never holds leaves it out.
        overrides.write_text("".join(f"{name}; python_version < '0'\n" for name in REFERENCE_PACKAGES))
        files = [lines, *wanted.projects, _PYPROJECT]
        arguments = [word for file in files for word in ("-r", str(file))]
        # A relative path that a package names in its metadata is relative to the project.
        status = _run_uv(
            "pip", "install", "--python", str(python), *arguments, "--override", str(overrides), cwd=config.directory
        )
    if status:
        raise CannotInstall("\n".join([
            f"the dependencies of {config.path} could not be installed (see above)", *_conflicts(wanted)
        ]))  # fmt: skip


def _make(environment: Path, extras: Sequence[str]) -> None:
    """Make the virtual environment, anew if it is of another Python, with the versions Switchyard is tested with."""
    version = "{}.{}".format(*sys.version_info)
    if not (environment / "lib" / f"python{version}").is_dir():
        shutil.rmtree(environment, ignore_errors=True)
        if _run_uv("venv", "--python", sys.executable, str(environment)):
            raise CannotInstall(f"{environment} could not be made (see above)")
    (environment / _STAMP).unlink(missing_ok=True)
    own = ["-c", str(_CONSTRAINTS), "-r", str(_PYPROJECT), *(word for extra in extras for word in ("--extra", extra))]
    if _run_uv("pip", "install", "--python", str(environment / "bin" / "python"), *own):
        raise CannotInstall(f"Switchyard's own packages could not be installed into {environment} (see above)")


def _state(wanted: Requirements, extras: Sequence[str]) -> str:
    """Return a digest of all that decides what is installed."""
    digest = hashlib.sha256(repr((sys.version_info[:2], sys.prefix, sorted(extras))).encode())
    for requirement in wanted.lines:
        digest.update(requirement.line.encode() + b"\n")
    for file in (_PYPROJECT, _CONSTRAINTS, *wanted.read):
        digest.update(str(file).encode() + b"\n" + file.read_bytes())
    return digest.hexdigest()


def _run_uv(*words: str, cwd: Path | None = None) -> int:
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise CannotInstall(f"uv is missing, which installs packages: {sys.executable} -m pip install uv")
    # Of the standard streams only that for errors: the other one has the answer.
    return subprocess.run([uv, words[0], "--quiet", *words[1:]], cwd=cwd, stdout=sys.stderr, check=False).returncode


def _conflicts(wanted: Requirements) -> list[str]:
    """Return a sentence for each package on which the project and Switchyard may not agree."""
    ranges = {canonicalize_name(need.name): need for need in map(Requirement, _project(_PYPROJECT)["dependencies"])}
    tested = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in _pins()}
    sentences = []
    for requirement in (*wanted.lines, *wanted.indirect):
        try:
            asked = Requirement(requirement.line)
        except InvalidRequirement:
            continue
        ours = ranges.get(canonicalize_name(asked.name))
        version = tested.get(canonicalize_name(asked.name), "")
        if ours is not None and version and not asked.specifier.contains(version, prereleases=True):
            sentences.append(
                f"{requirement.place} asks for {asked.name}{asked.specifier}, and Switchyard needs "
                f"{ours.name}{ours.specifier} (it is tested with {version}): change the pin"
            )
    return sentences


def _pins() -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in _CONSTRAINTS.read_text().splitlines())
    return [Requirement(line) for line in lines if "==" in line]


def _project(pyproject: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = tomllib.loads(pyproject.read_text())["project"]
    return found


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def main() -> int:
    """Print the interpreter to serve a project with."""
    parser = argparse.ArgumentParser(prog="project_environment", description=interpreter.__doc__)
    parser.add_argument("config", type=Path, help="Path of the langgraph.json.")
    parser.add_argument("--extra", action="append", default=[], help="An extra of Switchyard that is wanted, too.")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
    try:
        sys.stdout.write(f"{interpreter(load_config(arguments.config), extras=arguments.extra)}\n")
    except (ConfigError, CannotInstall) as problem:
        _say(f"switchyard: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
