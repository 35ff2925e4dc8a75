"""Names and order of the default assistants of a server that has just started."""

import json
from typing import Any

import httpx

from tests.client.conftest import STATES_CONFIG
from tests.runs.conftest import eventually

GRAPHS = list(json.loads(STATES_CONFIG.read_text())["graphs"])


def system_assistants(states: httpx.Client) -> list[dict[str, Any]]:
    body = {"metadata": {"created_by": "system"}, "limit": 100}
    found: list[dict[str, Any]] = states.post("/assistants/search", json=body).json()
    return found


def test_default_assistants_have_the_order_of_the_graphs(states: httpx.Client) -> None:
    assert [row["graph_id"] for row in reversed(system_assistants(states))] == GRAPHS


def test_default_assistants_have_the_names_that_graphs_were_compiled_with(states: httpx.Client) -> None:
    names = {graph: graph for graph in GRAPHS} | {"named": "A Named Graph"}
    # They are written once all graphs are loaded.
    assert eventually(lambda: {row["graph_id"]: row["name"] for row in system_assistants(states)} == names)
