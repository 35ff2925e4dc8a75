"""The corpus is whole: every folder is a project, and the shapes that it must have are there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.live import ROOT
from tests.projects.corpus import HERE, KINDS, PROJECTS, Project

STEPS = {"run", "state", "store", "request"}


def configs() -> list[dict[str, Any]]:
    return [json.loads((project.folder / project.config).read_text()) for project in PROJECTS]


def test_every_folder_is_a_project() -> None:
    folders = {path.name for path in HERE.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}
    assert folders == {project.name for project in PROJECTS}


def test_readme_counts_the_projects() -> None:
    counted = re.search(
        r"(\d+) projects of \[the corpus\]\(tests/projects/README\.md\)", (ROOT / "README.md").read_text()
    )
    assert counted is not None
    assert int(counted[1]) == len(PROJECTS)


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_project_says_what_is_expected(project: Project) -> None:
    expected = project.expected
    assert project.kind in KINDS
    graphs = json.loads((project.folder / project.config).read_text())["graphs"]
    if "refuses" in expected:
        return
    assert expected["assistants"].keys() == graphs.keys()
    steps = [step for conversation in expected["conversations"].values() for step in conversation]
    assert {next(iter(step)) for step in steps} <= STEPS
    # Every project runs at least once, and says what must come of it.
    assert any("run" in step and "gives" in step for step in steps)


def test_every_form_of_env_is_there() -> None:
    forms = {_form_of_env(config) for config in configs()}
    assert forms == {"missing key", "null", "object", "empty object", "list", "file"}


def test_every_key_of_a_conversation_is_known() -> None:
    known = {
        "gives",
        "input",
        "command",
        "context",
        "config",
        "stream",
        "subgraphs",
        "thread",
        "only",
        "body",
        "status",
        "as",
    }
    for project in PROJECTS:
        for conversation in project.expected.get("conversations", {}).values():
            for step in conversation:
                assert set(step) <= STEPS | known, f"{project.name}: {step}"


def _form_of_env(config: dict[str, Any]) -> str:
    if "env" not in config:
        return "missing key"
    env = config["env"]
    if isinstance(env, dict):
        return "object" if env else "empty object"
    return {type(None): "null", list: "list", str: "file"}[type(env)]


def test_files_of_variables_are_there_and_not_there() -> None:
    """A fresh clone has no `.env`; others have one, also with a byte order mark."""
    files: list[Path] = []
    for project, config in zip(PROJECTS, configs(), strict=True):
        if isinstance(config.get("env"), str):
            files.append((project.folder / project.config).parent / config["env"])
    assert {path.exists() for path in files} == {True, False}
    assert any(path.read_bytes().startswith(b"\xef\xbb\xbf") for path in files if path.exists())
