"""What a project needs installed, as its files say it."""

from pathlib import Path

import pytest

from platform_site.core.config import ConfigError
from platform_site.installation.requirements import Requirements, requirements_of
from tests.core.projects import read

BUILT = "[build-system]\nrequires = ['setuptools']\n[project]\nname = 'agent'\nversion = '1'\n"


def wanted(directory: Path, files: dict[str, str], *dependencies: str) -> Requirements:
    directory.mkdir(exist_ok=True)
    return requirements_of(read(directory, files, dependencies=list(dependencies) or ["."]))


def lines(found: Requirements) -> list[str]:
    return [requirement.line for requirement in found.lines]


def test_packages_local_projects_and_requirements(tmp_path: Path) -> None:
    files = {"agent/pyproject.toml": BUILT, "requirements.txt": "tenacity\n"}
    found = wanted(tmp_path, files, ".", "./agent", "xxhash>=3")
    assert lines(found) == ["tenacity", f"-e {tmp_path / 'agent'}", "xxhash>=3"]


def test_nothing_to_install_is_nothing(tmp_path: Path) -> None:
    files = {"pyproject.toml": "[tool.ruff]\nline-length = 80\n", "requirements.txt": "# nothing\n\n"}
    assert not wanted(tmp_path, files, ".", "./missing")


@pytest.mark.parametrize(
    ("line", "read_as"),
    [
        ("tenacity>=8 ; python_version > '3.8'  # why", "tenacity>=8 ; python_version > '3.8'"),
        ("-e ../lib", "-e {}/lib"),
        ("-e.", "-e {}/project"),
        ("--editable=../lib[extra]", "-e {}/lib[extra]"),
        ("--editable ../lib", "-e {}/lib"),
        ("-e git+https://example.com/a.git#egg=a", "-e git+https://example.com/a.git#egg=a"),
        ("./wheels/a-1-py3-none-any.whl", "{}/project/wheels/a-1-py3-none-any.whl"),
        ("wheels/a-1-py3-none-any.whl", "{}/project/wheels/a-1-py3-none-any.whl"),
        ("../lib[extra]", "{}/lib[extra]"),
        ("../lib ; sys_platform == 'linux'", "{}/lib ; sys_platform == 'linux'"),
        ("../lib/a.zip --hash=sha256:00", "{}/lib/a.zip --hash=sha256:00"),
        ("a @ ./wheels/a-1-py3-none-any.whl", "a @ file://{}/project/wheels/a-1-py3-none-any.whl"),
        ("a @ file:../lib", "a @ file://{}/lib"),
        ("a @ https://example.com/a.whl", "a @ https://example.com/a.whl"),
        ("-c ../constraints.txt", "-c {}/constraints.txt"),
        ("--constraint=https://example.com/c.txt", "-c https://example.com/c.txt"),
        ("-f ../wheels", "-f {}/wheels"),
        ("--index-url https://example.com/simple", "--index-url https://example.com/simple"),
        ("--pre", "--pre"),
        ("a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11", "a==1 --hash=sha256:00 --hash=sha256:11"),
    ],
)
def test_a_line_of_requirements_is_relative_to_its_file(tmp_path: Path, line: str, read_as: str) -> None:
    found = wanted(tmp_path / "project", {"requirements.txt": line + "\n"})
    assert [" ".join(line.split()) for line in lines(found)] == [read_as.format(tmp_path)]


def test_paths_with_spaces_are_written_as_urls(tmp_path: Path) -> None:
    found = wanted(tmp_path / "my project", {"requirements.txt": "-e ./lib\n"})
    assert lines(found) == [f"-e file://{tmp_path}/my%20project/lib"]


@pytest.mark.parametrize("option", ["-r other/more.txt", "--requirement=other/more.txt", "-rother/more.txt"])
def test_requirements_of_requirements_are_relative_to_their_own_file(tmp_path: Path, option: str) -> None:
    files = {"requirements.txt": f"{option}\nb\n", "other/more.txt": "-e ../lib\n-r ../requirements.txt\n"}
    found = wanted(tmp_path, files)
    assert lines(found) == [f"-e {tmp_path / 'lib'}", "b"]
    assert [requirement.place for requirement in found.lines] == ["more.txt:1", "requirements.txt:2"]


def test_a_missing_file_is_named_with_the_line_that_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"requirements\.txt:2: there is no file 'more\.txt'"):
        wanted(tmp_path, {"requirements.txt": "a\n-r more.txt\n"})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "requirements.txt").write_text("tenacity\n", encoding=encoding)
    assert lines(wanted(tmp_path, {})) == ["tenacity"]


def test_the_reference_server_is_left_out(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "langgraph-cli[inmem]>=0.3\nlanggraph_api==0.2\nlanggraph\nlanggraph-runtime-inmem\n",
        "lib/pyproject.toml": BUILT + "dependencies = ['langgraph-api', 'xxhash']\n",
    }
    found = wanted(tmp_path, files, ".", "./lib", "langgraph-cli")
    assert lines(found) == ["langgraph", f"-e {tmp_path / 'lib'}"]
    assert [(requirement.line, requirement.place) for requirement in found.left_out] == [
        ("langgraph-cli[inmem]>=0.3", "requirements.txt:1"),
        ("langgraph_api==0.2", "requirements.txt:2"),
        ("langgraph-runtime-inmem", "requirements.txt:4"),
        ("langgraph-api", "pyproject.toml"),
        ("langgraph-cli", "langgraph.json"),
    ]


def test_a_project_without_a_build_system_is_not_built(tmp_path: Path) -> None:
    """Building it would fail where more than one folder could be the package."""
    files = {"pyproject.toml": "[project]\nname = 'a'\nversion = '1'\ndependencies = ['xxhash']\n"}
    found = wanted(tmp_path, files)
    assert (lines(found), found.projects) == ([], [tmp_path / "pyproject.toml"])


@pytest.mark.parametrize(
    ("files", "entry", "line"),
    [
        ({"setup.py": ""}, ".", "-e {}"),
        ({"pyproject.toml": "[project]\nname='a'\ndynamic=['version', 'dependencies']\n"}, ".", "-e {}"),
        ({"pyproject.toml": "[project]\nname='a'\nversion='1'\n"}, ".[extra]", "-e {}[extra]"),
        ({"lib/pyproject.toml": BUILT}, "./lib[a,b]", "-e {}/lib[a,b]"),
        ({"wheels/a-1-py3-none-any.whl": ""}, "./wheels/a-1-py3-none-any.whl", "{}/wheels/a-1-py3-none-any.whl"),
    ],
)
def test_a_dependency_is_installed_as(tmp_path: Path, files: dict[str, str], entry: str, line: str) -> None:
    assert lines(wanted(tmp_path, files, entry)) == [line.format(tmp_path)]


def test_toml_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pyproject\.toml: expected valid TOML"):
        wanted(tmp_path, {"pyproject.toml": "[project"})
