"""`LANGGRAPH_CONFIG`: the configs of system assistants if it is a JSON object, else the path of the langgraph.json."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import CONTRACT_CONFIG, LiveServer
from tests.serving.conftest import Launch, wait_ok, write_graph

CONFIG = {"recursion_limit": 11, "configurable": {"a": 1}}


def search(server: LiveServer, graph: str) -> list[dict[str, Any]]:
    wait_ok(server)
    found = httpx.post(f"{server.url}/assistants/search", json={"graph_id": graph}, timeout=60)
    assistants: list[dict[str, Any]] = found.json()
    return assistants


def run_config(server: LiveServer, assistant: str) -> dict[str, Any]:
    body = {"assistant_id": assistant, "input": {}, "after_seconds": 60}
    answer = httpx.post(f"{server.url}/runs", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    config: dict[str, Any] = answer.json()["kwargs"]["config"]
    return config


@pytest.mark.parametrize(("config", "graph"), [(None, "chat"), (CONTRACT_CONFIG, "echo")])
def test_a_json_object_configures_the_system_assistants(launch: Launch, config: Path | None, graph: str) -> None:
    server = launch(config, LANGGRAPH_CONFIG=json.dumps({graph: CONFIG}))
    (assistant,) = search(server, graph)
    assert (assistant["config"], assistant["context"]) == (CONFIG, {"a": 1})
    used = run_config(server, graph)
    assert (used["recursion_limit"], used["configurable"]["a"]) == (11, 1)
    own = httpx.post(f"{server.url}/assistants", json={"graph_id": graph}, timeout=60).json()
    assert own["config"] == {}
    assert "a" not in run_config(server, own["assistant_id"])["configurable"]


@pytest.mark.parametrize("is_file", [True, False])
def test_the_projects_variables_may_hold_it_and_it_may_change(launch: Launch, tmp_path: Path, is_file: bool) -> None:
    path = write_graph(tmp_path / "project")

    def configure(config: dict[str, Any]) -> None:
        written = json.loads(path.read_text())
        value = json.dumps({"g": config})
        (path.parent / ".env").write_text(f"LANGGRAPH_CONFIG='{value}'\n")
        path.write_text(json.dumps({**written, "env": ".env" if is_file else {"LANGGRAPH_CONFIG": value}}))

    configure(CONFIG)
    server = launch(path)
    (assistant,) = search(server, "g")
    assert (assistant["config"], assistant["version"]) == (CONFIG, 1)
    assert run_config(server, "g")["configurable"]["a"] == 1
    server.kill()
    configure({"tags": ["new"]})
    server.launch()
    (assistant,) = search(server, "g")
    assert (assistant["config"], assistant["context"], assistant["version"]) == ({"tags": ["new"]}, {}, 2)


def test_anything_else_is_the_path_of_the_config(launch: Launch) -> None:
    server = launch(None, LANGGRAPH_CONFIG=str(CONTRACT_CONFIG))
    wait_ok(server)
    assert "echo" in httpx.get(f"{server.url}/info", timeout=60).json()["graphs"]
