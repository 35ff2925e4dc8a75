"""The documentation names what there is."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from platform_site import __version__
from runs.configuration import REFUSED
from tests.contract import coverage, due
from tests.layout import sources
from tests.test_layout import AT_THE_TOP, ROOMS

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SETTINGS = re.findall(r'\benv\w*\(\s*"(\w+)"', (ROOT / "platform_site" / "settings.py").read_text())


def test_there_are_settings() -> None:
    assert {"HOST", "DATABASE_URL", "DRAIN_SECONDS"} <= set(SETTINGS)


@pytest.mark.parametrize("name", sorted(set(SETTINGS)))
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "configuration.md").read_text()


def test_every_documented_setting_exists() -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    assert set(documented) == set(SETTINGS)


@pytest.mark.parametrize("flag", re.findall(r"`(--[a-z-]+)", (ROOT / "docs" / "configuration.md").read_text()))
def test_every_documented_flag_exists(flag: str) -> None:
    shown = subprocess.run(
        [sys.executable, "manage.py", "serve", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert flag in shown.stdout


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


FILES = [
    path.relative_to(ROOT).as_posix() for path in [ROOT / "manage.py", *(ROOT / "tests").rglob("*.py"), *sources()]
]
# Files of a project that is served.
OF_A_PROJECT = {"setup.py", "./path/to/file.py", "path/to/file.py", "try.py", "calendar.py", "any.py"}


@pytest.mark.parametrize("path", [*DOCS, *sources()], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_that_a_text_names_exists(path: Path) -> None:
    """A text names a module by its path, or by the end of it."""
    named = set(re.findall(r"`([\w./]+\.py)`", path.read_text())) - OF_A_PROJECT
    assert not [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in FILES)]


def test_the_rooms_are_described_in_their_order() -> None:
    section = (ROOT / "docs" / "architecture.md").read_text().split("\n## The rooms\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == ROOMS
    assert set(re.findall(r"`(\w+)\.py`", section)) - {"configured", "test_layout"} == AT_THE_TOP


def test_versions_agree() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_constraints_are_exact_versions_without_hosts() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    for line in lines:
        assert re.fullmatch(r"[a-z0-9._-]+==[a-zA-Z0-9.!+]+", line), line


def test_every_dependency_is_constrained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    constrained = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for requirement in wanted:
        assert re.split(r"[\[<>=~!; ]", requirement)[0].lower() in constrained, requirement


def readme_block(language: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(next(block for block in blocks if "2024" in block and "make" not in block))


def test_the_curl_example_works_as_printed(samples_server) -> None:
    command = readme_block("sh").replace("http://127.0.0.1:2024", samples_server.url)
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True).stdout
    words = [json.loads(line[6:])[0]["content"] for line in shown.splitlines() if line.startswith("data: [")]
    assert "A-1001" in "".join(word for word in words if isinstance(word, str))
    assert "event: error" not in shown


def test_the_sdk_example_works_as_printed(samples_server) -> None:
    program = readme_block("python").replace("http://127.0.0.1:2024", samples_server.url)
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "__interrupt__" in shown.stdout
    assert "Traceback" not in shown.stderr


def test_the_readme_counts_the_contract() -> None:
    line = coverage.counted(coverage.server_document(), due.FIELDS_NOT_DUE)
    assert line in (ROOT / "README.md").read_text(), f"README.md should say: {line}"


API = (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize("operation", due.OPERATIONS_NOT_DUE)
def test_every_operation_that_is_not_there_is_named(operation: str) -> None:
    assert f"`{operation}`" in API


def test_every_operation_that_is_named_as_missing_is_missing() -> None:
    section = API.split("## Not there yet")[1].split("\n## ")[0]
    assert set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) [^`]+)`", section)) == set(due.OPERATIONS_NOT_DUE)


@pytest.mark.parametrize("field", [*REFUSED, *due.REFUSED_FOR_GOOD, *due.REFUSED_UNTIL_DUE])
def test_every_refused_field_has_its_reason(field: str) -> None:
    assert f"| `{field}` |" in API


@pytest.mark.parametrize("reason", sorted({reason for _, reason in due.MEANT.values()}))
def test_every_meant_difference_is_documented(reason: str) -> None:
    assert reason in API
