"""Which recorded exchanges are not replayed yet, and where ours knowingly differs; each with its reason."""

from typing import Any

ELSEWHERE = "replayed by tests/webhooks/test_transcript.py: it needs another config and a receiver"
AUTH = "custom authentication handlers"

# Not replayed. An empty index list means the whole file.
NOT_DUE: dict[str, tuple[list[int], str]] = {
    "24_mcp": ([], "model context protocol"),
    "25_a2a": ([], "agent to agent"),
    "26_auth": ([], AUTH),
    "27_webhooks": ([*range(5, 11)], ELSEWHERE),
    "29_protocol": ([], "protocol v2"),
}

# Differences that are meant: the beginning of what is reported about them.
MEANT: dict[tuple[str, int], tuple[str, str]] = {
    ("09_state_history", 7): ("$.checkpoint.checkpoint_ns: not in", "the same three keys in every checkpoint"),
    ("09_state_history", 12): ("$.metadata.checkpoint_id: missing", "metadata does not repeat what `checkpoint` says"),
    ("10_copy_supersteps", 4): ("$.metadata.checkpoint_id: missing", "metadata does not repeat what `checkpoint` says"),
    ("11_runs_basic", 2): ("$.kwargs.config.metadata.run_attempt: missing", "a run keeps the config it was given"),
    ("20_multitask", 6): ("$.kwargs.config.metadata.run_attempt: missing", "a run keeps the config it was given"),
    ("21_cancel", 1): ("$.kwargs.config.metadata.run_attempt: missing", "a run keeps the config it was given"),
    ("21_cancel", 6): ("$.interrupts: not in", "a thread that ran shows its interrupts, none here"),
}


def is_due(file: str, index: int) -> bool:
    indices, _ = NOT_DUE.get(file, ([-1], ""))
    return bool(indices) and index not in indices


def is_meant(file: str, index: int, difference: str) -> bool:
    return (file, index) in MEANT and difference.startswith(MEANT[file, index][0])


# What the contract has and the server does not know yet (see test_walk.py): each with the issue that brings it.
_PROTOCOL, _MCP, _A2A = (f"later: {name}" for name in ("protocol v2", "model context protocol", "agent to agent"))

OPERATIONS_NOT_DUE: dict[str, str] = {
    "POST /threads/{thread_id}/commands": _PROTOCOL,
    "POST /threads/{thread_id}/stream/events": _PROTOCOL,
    "GET /mcp/": _MCP,
    "POST /mcp/": _MCP,
    "DELETE /mcp/": _MCP,
    "GET /a2a/{assistant_id}": _A2A,
    "POST /a2a/{assistant_id}": _A2A,
    "GET /.well-known/agent-card.json": _A2A,
}

FIELDS_NOT_DUE: dict[str, str] = {}

# Fields of bodies that are answered with 422 by their name, with a value that is refused: for good, or until due.
REFUSED_FOR_GOOD: dict[str, Any] = {
    "langsmith_tracer": {"project_name": "p"},
    "feedback_keys": ["helpful"],
    "raise_error": True,
}
REFUSED_UNTIL_DUE: dict[str, Any] = {}
