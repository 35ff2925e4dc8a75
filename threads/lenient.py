"""Graphs that do not validate their state.

A graph whose state is a Pydantic model or a dataclass makes one of the stored values for every node that is next. Where
it cannot, LangGraph neither reads nor changes the state any more. A lenient graph leaves the values as they are stored.
"""

from typing import Any

from langgraph.pregel import Pregel

from platform_site.core.graphs.registry import graph_copy

AnyPregel = Pregel[Any, Any, Any, Any]


def lenient(graph: AnyPregel) -> AnyPregel:
    """Return a copy of the graph, and of its subgraphs, that reads and changes a state without validating it.

    No node is to be run with it.
    """
    nodes = {
        name: node.copy({"mapper": None, "subgraphs": [_lenient_child(child) for child in node.subgraphs]})
        for name, node in graph.nodes.items()
    }
    return graph_copy(graph, nodes=nodes)


def _lenient_child(child: Any) -> Any:
    return lenient(child) if isinstance(child, Pregel) else child
