"""`make serve CONFIG=...` installs what a project needs into an environment of its own, once."""

import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from platform_site.core.config import load_config
from platform_site.installation import environment as project_environment
from platform_site.installation.environment import CannotInstall, interpreter
from tests.core.projects import GRAPH, loaded, write
from tests.live import ROOT


class Installer:
    """The commands that were run, without running them: an environment appears, and what is asked for fails."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.files: dict[str, str] = {}
        self.fails = False

    def __call__(self, words: list[str], **_: Any) -> "subprocess.CompletedProcess[bytes]":
        self.commands.append(words)
        if words[1] == "venv":
            self._make(Path(words[-1]))
        for option, file in pairwise(words):
            if option in ("-r", "--override") and "switchyard-" in file:
                self.files[Path(file).name] = Path(file).read_text()
        return subprocess.CompletedProcess(words, int(self.fails and "--override" in words))

    def _make(self, environment: Path) -> None:
        (environment / "lib" / "python{}.{}".format(*sys.version_info)).mkdir(parents=True)
        (environment / "bin").mkdir()
        (environment / "bin" / "python").touch()


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> Installer:
    made = Installer()
    monkeypatch.setattr("platform_site.installation.environment.subprocess.run", made)
    monkeypatch.setattr("platform_site.installation.environment.shutil.which", lambda _: "uv")
    return made


def project(directory: Path, requirements: str) -> Path:
    return write(directory, {"requirements.txt": requirements, "g.py": ""}, graphs={"g": "./g.py:graph"})


def test_an_environment_belongs_to_the_project_and_is_kept_out_of_git(tmp_path: Path, installer: Installer) -> None:
    path = project(tmp_path, "xxhash\n")
    assert interpreter(load_config(path)) == tmp_path / ".switchyard" / "venv" / "bin" / "python"
    assert (tmp_path / ".switchyard" / ".gitignore").read_text() == "*\n"
    assert installer.files["requirements.txt"] == "xxhash\n"


def test_what_needs_nothing_is_served_by_this_interpreter(tmp_path: Path, installer: Installer) -> None:
    assert interpreter(load_config(project(tmp_path, ""))) == Path(sys.executable)
    assert installer.commands == []
    assert not (tmp_path / ".switchyard").exists()


def test_nothing_is_installed_again_until_something_changes(tmp_path: Path, installer: Installer) -> None:
    path = project(tmp_path, "-r more.txt\n")
    changes = {"more.txt": "xxhash\n", "requirements.txt": "-r more.txt\ntenacity\n", "g.py": "graph = 1"}
    (tmp_path / "more.txt").write_text("")
    counts = []
    for file, text in changes.items():
        (tmp_path / file).write_text(text)
        interpreter(load_config(path))
        interpreter(load_config(path))
        counts.append(sum("--override" in words for words in installer.commands))
    # The code of a graph is no reason.
    assert counts == [1, 2, 2]


def test_an_installation_that_failed_is_tried_again(tmp_path: Path, installer: Installer) -> None:
    path = project(tmp_path, "xxhash\n")
    installer.fails = True
    with pytest.raises(CannotInstall, match="could not be installed"):
        interpreter(load_config(path))
    installer.fails = False
    assert interpreter(load_config(path)).name == "python"
    assert sum("--override" in words for words in installer.commands) == 2


def test_our_own_ranges_are_part_of_the_question(tmp_path: Path, installer: Installer) -> None:
    interpreter(load_config(project(tmp_path, "xxhash\n")), extras=["scaled"])
    own, theirs = (words for words in installer.commands if words[1] == "pip")
    assert {"-c", "--extra", "scaled"} <= set(own)
    assert any(word.endswith("pyproject.toml") for word in theirs)
    assert "langgraph-api; python_version < '0'" in installer.files["overrides.txt"]


def test_a_pin_that_cannot_be_met_names_both_sides(tmp_path: Path, installer: Installer) -> None:
    installer.fails = True
    files = {"lib/pyproject.toml": "[project]\nname = 'a'\nversion = '1'\ndependencies = ['pydantic<2']\n"}
    path = write(
        tmp_path,
        {"requirements.txt": "xxhash\nlanggraph==0.2.6\n", **files},
        graphs={"g": "./g.py:graph"},
        dependencies=[".", "./lib", "langchain_core<0.3"],
    )
    with pytest.raises(CannotInstall) as caught:
        interpreter(load_config(path))
    sentences = str(caught.value).splitlines()[1:]
    assert [sentence.partition(" and Switchyard needs ")[0] for sentence in sentences] == [
        "requirements.txt:2 asks for langgraph==0.2.6,",
        "langgraph.json asks for langchain_core<0.3,",
        "pyproject.toml asks for pydantic<2,",
    ]
    assert "Switchyard needs langgraph<2,>=1.2 (it is tested with 1." in sentences[0]


def test_the_reference_server_is_left_out_with_a_note(
    tmp_path: Path, installer: Installer, capfd: pytest.CaptureFixture[str]
) -> None:
    interpreter(load_config(project(tmp_path, "xxhash\nlanggraph-cli[inmem]\n")))
    assert "Left out: langgraph-cli[inmem] (requirements.txt:2)." in capfd.readouterr().err
    assert installer.files["requirements.txt"] == "xxhash\n"


def test_an_image_gets_the_packages_into_the_interpreter_at_hand(tmp_path: Path, installer: Installer) -> None:
    call_command("install_dependencies", str(project(tmp_path, "xxhash\n")))
    (command,) = installer.commands
    assert command[command.index("--python") + 1] == sys.executable


def test_nothing_to_install_runs_nothing(tmp_path: Path, installer: Installer) -> None:
    call_command("install_dependencies", str(project(tmp_path, "")))
    assert installer.commands == []


def test_a_wrong_config_is_told_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("install_dependencies", str(tmp_path / "nowhere.json"))
    assert end.value.code == 1
    assert "nowhere.json" in capsys.readouterr().err


def wheel(directory: Path, answer: str) -> None:
    """Write a wheel of the package `agent`, which holds `answer`."""
    directory.mkdir(parents=True)
    with zipfile.ZipFile(directory / "agent-1-py3-none-any.whl", "w") as archive:
        archive.writestr("agent/__init__.py", f"answer = {answer!r}")
        archive.writestr("agent-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: agent\nVersion: 1\n")
        archive.writestr("agent-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("agent-1.dist-info/RECORD", "")


def test_two_projects_with_packages_of_one_name_see_their_own(tmp_path: Path) -> None:
    """Served one after the other by one checkout, with real environments."""
    answers: dict[str, str] = {}
    for name in ("first", "second"):
        directory = tmp_path / name
        wheel(directory / "wheels", answer=name)
        files = {
            "requirements.txt": "./wheels/agent-1-py3-none-any.whl\n",
            "graph.py": f"from agent import answer\n{GRAPH}",
        }
        path = write(directory, files, graphs={"g": "./graph.py:graph"})
        done = subprocess.run(
            [sys.executable, "-m", project_environment.__name__, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers |= {name: loaded(path, python=Path(done.stdout.strip()))["g"]}
    assert answers == {"first": "first", "second": "second"}
