"""`make serve CONFIG=...` installs what the file names before it serves."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run, without running them."""
    commands: list[list[str]] = []

    def run(words: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        commands.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr("platform_site.management.commands.install_dependencies.subprocess.run", run)
    return commands


def a_config(directory: Path, *dependencies: str) -> Path:
    (directory / "graph.py").write_text("graph = None")
    path = directory / "langgraph.json"
    path.write_text(json.dumps({"dependencies": dependencies, "graphs": {"g": "./graph.py:graph"}}))
    return path


def test_packages_local_projects_and_requirements(tmp_path: Path, ran: list[list[str]]) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "pyproject.toml").write_text("[project]\nname='agent'\nversion='1'")
    (tmp_path / "requirements.txt").write_text("tenacity\n")
    call_command("install_dependencies", str(a_config(tmp_path, ".", "./agent", "xxhash>=3")))
    (command,) = ran
    assert "xxhash>=3" in command
    assert command[command.index("-e") + 1] == str(tmp_path / "agent")
    assert str(tmp_path / "requirements.txt") in command


def test_our_own_ranges_are_part_of_the_question(tmp_path: Path, ran: list[list[str]]) -> None:
    call_command("install_dependencies", str(a_config(tmp_path, "xxhash")))
    assert any(word.endswith("pyproject.toml") for word in ran[0])


def test_nothing_to_install_runs_nothing(tmp_path: Path, ran: list[list[str]]) -> None:
    call_command("install_dependencies", str(a_config(tmp_path, ".")))
    assert ran == []


def test_a_wrong_config_is_told_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("install_dependencies", str(tmp_path / "nowhere.json"))
    assert end.value.code == 1
    assert "nowhere.json" in capsys.readouterr().err
