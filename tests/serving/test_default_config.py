"""`LANGGRAPH_CONFIG` in the environment of the process: a default config if it is a JSON object, else a path."""

from pathlib import Path

import httpx
import pytest

from tests.live import CONTRACT_CONFIG
from tests.serving.conftest import Launch, wait_ok

DEFAULTS = '{"recursion_limit": 11, "configurable": {"a": 1}}'


@pytest.mark.parametrize(("config", "graph"), [(None, "chat"), (CONTRACT_CONFIG, "echo")])
def test_a_json_object_is_the_default_config(launch: Launch, config: Path | None, graph: str) -> None:
    server = launch(config, LANGGRAPH_CONFIG=DEFAULTS)
    wait_ok(server)
    answer = httpx.post(
        f"{server.url}/runs", json={"assistant_id": graph, "input": {}, "after_seconds": 60}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    used = answer.json()["kwargs"]["config"]
    assert (used["recursion_limit"], used["configurable"]["a"]) == (11, 1)


def test_anything_else_is_the_path_of_the_config(launch: Launch) -> None:
    server = launch(None, LANGGRAPH_CONFIG=str(CONTRACT_CONFIG))
    wait_ok(server)
    assert "echo" in httpx.get(f"{server.url}/info", timeout=60).json()["graphs"]
