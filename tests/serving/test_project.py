"""A project as it lies on a disk: what its start says, and where its data is."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.live import ROOT
from tests.serving.conftest import Launch, ask, clean_environment, wait_log, write_graph

SHOW = "from platform_site import settings; print(settings.DATA_DIR)"


def data_directory(**environment: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=ROOT,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return Path(done.stdout.strip())


@pytest.mark.parametrize("variable", ["LANGGRAPH_CONFIG", "LANGGRAPH_CONFIG_PATH"])
def test_data_is_kept_beside_the_langgraph_json_and_out_of_git(tmp_path: Path, variable: str) -> None:
    config = write_graph(tmp_path / "project")
    assert data_directory(**{variable: str(config)}) == tmp_path / "project" / ".switchyard"
    assert (tmp_path / "project" / ".switchyard" / ".gitignore").read_text() == "*\n"


def test_a_data_directory_that_is_named_stands(tmp_path: Path) -> None:
    config = write_graph(tmp_path / "project")
    assert data_directory(LANGGRAPH_CONFIG=str(config), DATA_DIR=str(tmp_path / "data")) == tmp_path / "data"
    assert not (tmp_path / "project" / ".switchyard").exists()


def test_the_samples_keep_their_data_in_the_working_directory() -> None:
    assert data_directory(SECRET_KEY="x") == ROOT / ".switchyard"


def write_fresh_clone(directory: Path) -> Path:
    """Write a project as it is cloned: its `.env` is missing, and it says a few things without effect."""
    config = write_graph(directory)
    written = json.loads(config.read_text())
    (directory / ".env.example").write_text("KEY=\n")
    config.write_text(json.dumps({**written, "dependencies": [".", "./gone"], "env": ".env", "ui": {"a": "./a.tsx"}}))
    return config


def test_a_fresh_clone_starts_with_a_line_for_each_thing_to_know(launch: Launch, tmp_path: Path) -> None:
    server = launch(write_fresh_clone(tmp_path / "project"))
    wait_log(server, "Switchyard is ready")
    assert ask(server) == "one"
    for said in ("cp .env.example .env", "there is no directory './gone'", "`ui` has no effect"):
        assert server.log.count(said) == 1, server.log
    assert server.log.count('"level":"warning"') == 3, server.log


def test_a_start_is_quiet(launch: Launch) -> None:
    """The samples have a store with vectors, which the loops of runs and of the API open, each for itself."""
    server = launch()
    wait_log(server, "Switchyard is ready")
    with httpx.Client(base_url=server.url, timeout=60) as http:
        told = {"messages": [{"role": "user", "content": "remember that I drink tea"}]}
        assert http.post("/runs/wait", json={"assistant_id": "memory", "input": told}).status_code == 200
        searched = http.post("/store/items/search", json={"namespace_prefix": ["memories"], "query": "tea"})
        assert searched.status_code == 200, searched.text
    assert " ran in " not in server.log
    assert server.log.count("SQLite loads no extensions here") <= 1
