"""A run stays on its own thread, whatever its configuration and its nodes name: on SQLite and on PostgreSQL."""

from typing import Any

import pytest

from tests.live import Client

SECRET = "SECRET-CANARY-42"
WHO = "langgraph_auth_user_id"


async def thread_with_a_secret(client: Client) -> str:
    thread: str = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "reports", input={"said": [SECRET]})
    return thread


async def test_an_assistant_that_names_another_thread_does_not_reach_it(other: Client) -> None:
    victim = await thread_with_a_secret(other)
    before = await other.threads.get_state(victim)
    forged = {"thread_id": victim, WHO: "eve", "__pregel_checkpointer": "x", "checkpoint_id": "x", "anything": 1}
    assistant = await other.assistants.create("reports", {**forged, "configurable": {**forged, "checkpoint_id": "x"}})
    assert assistant["config"]["thread_id"] == victim

    own = (await other.threads.create())["thread_id"]
    for thread in (own, None):
        answer: Any = await other.runs.wait(thread, assistant["assistant_id"], input={"said": ["hello"]})
        seen = answer["seen"]["configurable"]
        assert SECRET not in str(answer)
        assert (seen["thread_id"] == own) is (thread == own)
        assert (seen["thread_id"] == victim, seen[WHO], seen["anything"]) == (False, "", 1)
        assert "anything" not in answer["seen"]["keys"]

    assert await other.threads.get_state(victim) == before
    assert SECRET not in str(await other.threads.get_history(own))


@pytest.mark.parametrize("kept", [True, False])
async def test_a_node_that_invokes_a_graph_with_its_own_saver_on_another_thread_fails(
    kept: bool, other: Client
) -> None:
    victim = await thread_with_a_secret(other)
    before = await other.threads.get_history(victim)
    own = (await other.threads.create())["thread_id"] if kept else None
    for inner in ("inherits", "of its own"):
        state = {"inner": inner, "config": "the node's", "thread": victim}
        answer: Any = await other.runs.wait(own, "calls", input=state, raise_error=False)
        assert answer["__error__"]["error"] == "OutOfScope"
        for part in ("node 'call' of graph 'calls'", f"thread '{victim}'", "`checkpointer=False`"):
            assert part in answer["__error__"]["message"]
    if own is not None:
        [run, *_] = await other.runs.list(own)
        assert run["status"] == "error"
    assert await other.threads.get_history(victim) == before


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    ("inner", "config"),
    [("without", "the node's"), ("without", "own"), ("of its own", "own"), ("inherits", "none"), ("inherits", "own")],
)
async def test_what_the_refusal_proposes_works(inner: str, config: str, kept: bool, other: Client) -> None:
    victim = await thread_with_a_secret(other)
    before = await other.threads.get_history(victim)
    own = (await other.threads.create())["thread_id"] if kept else None
    state = {"inner": inner, "config": config, "thread": victim}
    answer: Any = await other.runs.wait(own, "calls", input=state)
    assert answer["said"] == ["heard 0 before"]
    assert await other.threads.get_history(victim) == before
