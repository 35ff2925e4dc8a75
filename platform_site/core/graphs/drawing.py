"""The drawing of a graph: its nodes and edges, as `/assistants/{id}/graph` shows them."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel


async def graph_drawing(graph: Pregel[Any, Any, Any, Any], config: RunnableConfig, xray: bool | int) -> dict[str, Any]:
    """`{"nodes", "edges"}`; `xray` expands subgraphs, a number to that depth."""
    drawn = (await graph.aget_graph(config, xray=xray)).to_json()
    return {"nodes": [_node(node) for node in drawn["nodes"]], "edges": drawn["edges"]}


def _node(node: dict[str, Any]) -> dict[str, Any]:
    data = node.get("data")
    if isinstance(data, dict):
        # The Python class behind a node says nothing to a client.
        node = node | {"data": {key: value for key, value in data.items() if key != "id"}}
    return node
