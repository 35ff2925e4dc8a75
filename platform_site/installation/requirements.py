"""What a project needs installed: read from its `langgraph.json`, `requirements.txt` and `pyproject.toml`.

Paths in a requirements file are relative to that file, as people write them; pip reads some relative to where it runs.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

from platform_site.core.config import Config, ConfigError
from platform_site.core.project.notes import is_local
from platform_site.core.project.reading import read_text

# The reference server and what belongs to it. Switchyard takes its place, and its pins would meet ours.
REFERENCE_PACKAGES = (
    "langgraph-api", "langgraph-cli", "langgraph-runtime", "langgraph-runtime-inmem", "langgraph-runtime-postgres",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OPTION = re.compile(r"(?P<name>-[cefr]|--[a-z-]+)[\s=]*(?P<value>.+)")
_SHORT = {"--requirement": "-r", "--constraint": "-c", "--editable": "-e", "--find-links": "-f"}
_ARCHIVES = (".whl", ".tar.gz", ".zip")


@dataclass(frozen=True)
class Requirement:
    """One line for the installer, and where the project says it: `requirements.txt:3`."""

    line: str
    place: str


@dataclass
class Requirements:
    """All that a project needs: lines of a requirements file with absolute paths, and further files to read."""

    lines: list[Requirement] = field(default_factory=list)
    # `pyproject.toml` files of which the dependencies are wanted and no package can be built.
    projects: list[Path] = field(default_factory=list)
    # What a `pyproject.toml` asks for, which the installer reads by itself.
    indirect: list[Requirement] = field(default_factory=list)
    left_out: list[Requirement] = field(default_factory=list)
    # Files that decide what is installed: when one changes, the installation is out of date.
    read: list[Path] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines or self.projects)

    def add(self, line: str, place: str) -> None:
        """Add a line, unless it is a package of the reference server."""
        requirement = Requirement(line, place)
        (self.left_out if name_of(line) in REFERENCE_PACKAGES else self.lines).append(requirement)


def name_of(line: str) -> str:
    """Return the normalised name of the package that a line begins with; empty for paths, URLs and options."""
    found = _NAME.match(line)
    if found is None or "://" in line.partition(" ")[0]:
        return ""
    return canonicalize_name(found[0])


def requirements_of(config: Config) -> Requirements:
    """Return what the dependencies of a `langgraph.json` need. Raises ConfigError for a file that cannot be read."""
    found = Requirements()
    for entry in config.dependencies:
        path, extras = _split_extras(entry)
        place = (config.directory / path).resolve()
        if not is_local(entry):
            found.add(entry, config.path.name)
        elif place.is_file():
            found.read.append(place)
            found.add(_written(place, extras), config.path.name)
        elif place.is_dir():
            if (place / "requirements.txt").is_file():
                _read_file(found, place / "requirements.txt")
            _read_project(found, place, extras, config.path.name)
    return found


def _read_project(found: Requirements, directory: Path, extras: str, place: str) -> None:
    """Add a directory that is a project: the package it builds, or what it depends on where it builds none."""
    pyproject = directory / "pyproject.toml"
    found.read += [file for file in (pyproject, directory / "setup.py", directory / "setup.cfg") if file.is_file()]
    data: dict[str, object] = {}
    if pyproject.is_file():
        try:
            data = tomllib.loads(read_text(pyproject, "TOML")[0])
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{pyproject}: expected valid TOML ({error})") from None
    project = data.get("project")
    project = project if isinstance(project, dict) else {}
    for line in project.get("dependencies") or ():
        if name_of(str(line)) in REFERENCE_PACKAGES:
            found.left_out.append(Requirement(str(line), pyproject.name))
        else:
            found.indirect.append(Requirement(str(line), pyproject.name))
    is_dynamic = "dependencies" in project.get("dynamic", ())
    if "build-system" in data or (directory / "setup.py").is_file() or is_dynamic or (extras and project):
        found.add(f"-e {_written(directory, extras)}", place)
    elif project:
        # No build system: nobody meant it to be built, and a guess at its packages fails for many layouts.
        found.projects.append(pyproject)


def _read_file(found: Requirements, file: Path) -> None:
    if file in found.read:
        return
    found.read.append(file)
    for number, line in _lines(file):
        place = f"{file.name}:{number}"
        option = _OPTION.fullmatch(line) if line.startswith("-") else None
        kind = _SHORT.get(option["name"], option["name"]) if option else ""
        if option and kind == "-r":
            _read_other(found, file, option["value"], place)
        elif option and kind in ("-c", "-e", "-f"):
            path, extras = _split_extras(option["value"])
            target = (file.parent / path).resolve()
            if target.is_file():
                found.read.append(target)
            found.add(f"{kind} {path + extras if '://' in path else _written(target, extras)}", place)
        else:
            found.add(line if line.startswith("-") else _absolute(line, file.parent), place)


def _read_other(found: Requirements, file: Path, name: str, place: str) -> None:
    other = (file.parent / name).resolve()
    if "://" in name:
        found.add(f"-r {name}", place)
    elif other.is_file():
        _read_file(found, other)
    else:
        raise ConfigError(f"{file.parent / place}: there is no file {name!r} ({other})")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that says something: without comments, continued lines joined."""
    text, _ = read_text(file, "requirements")
    begun, number = "", 0
    for index, line in enumerate(text.splitlines(), start=1):
        number = number if begun else index
        begun += re.sub(r"(^|\s+)#.*$", "", line)
        if begun.endswith("\\"):
            begun = begun[:-1] + " "
            continue
        if begun.strip():
            yield number, begun.strip()
        begun = ""
    if begun.strip():
        yield number, begun.strip()


def _absolute(text: str, directory: Path) -> str:
    """Return a requirement with its path made absolute, if it is one: `./x.whl`, `../lib[extra]`, `lib @ ./lib`."""
    name, at, target = text.partition(" @ ")
    if at and target.startswith((".", "file:.")):
        path, marker = _split_marker(target.removeprefix("file:"))
        return f"{name} @ {(directory / path).resolve().as_uri()}{marker}"
    bare, marker = _split_marker(text)
    path, extras = _split_extras(bare)
    is_path = path.startswith((".", "/")) or path.endswith(_ARCHIVES) or ("/" in path and (directory / path).is_dir())
    if "://" in text or not is_path:
        return text
    return _written((directory / path).resolve(), extras) + marker


def _split_marker(text: str) -> tuple[str, str]:
    """Split off what follows a path: an environment marker or hashes."""
    found = re.search(r"\s+;.*$|\s+--hash.*$|;.*$", text)
    return (text[: found.start()], " " + found[0].strip()) if found else (text, "")


def _split_extras(text: str) -> tuple[str, str]:
    path, bracket, extras = text.partition("[")
    return (path, bracket + extras) if bracket and extras.endswith("]") else (text, "")


def _written(path: Path, extras: str = "") -> str:
    """Return a path as a requirements file takes it."""
    return (path.as_uri() if " " in str(path) else str(path)) + extras
