"""State, history, updates and forks through the official client."""

import pytest
from langgraph_sdk.errors import BadRequestError, ConflictError

from tests.live import Client


@pytest.fixture
async def counted(client: Client) -> str:
    """A thread on which `counter` ran once: count 4, log inc, double."""
    thread_id: str = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "counter", input={"count": 1})
    return thread_id


async def test_state_holds_the_values_of_the_last_run(client: Client, counted: str) -> None:
    state = await client.threads.get_state(counted)
    assert (state["values"], state["next"]) == ({"count": 4, "log": ["inc", "double"]}, [])


async def test_history_lists_every_step_newest_first(client: Client, counted: str) -> None:
    history = await client.threads.get_history(counted)
    assert [state["metadata"]["step"] for state in history] == [2, 1, 0, -1]


@pytest.mark.usefixtures("not_the_reference")
async def test_history_goes_on_before_a_checkpoint(client: Client, counted: str) -> None:
    newest = (await client.threads.get_history(counted, limit=1))[0]
    older = await client.threads.get_history(counted, before=newest["checkpoint"]["checkpoint_id"])
    assert [state["metadata"]["step"] for state in older] == [1, 0, -1]


@pytest.mark.usefixtures("not_the_reference")
async def test_history_goes_on_before_a_checkpoint_object(client: Client, counted: str) -> None:
    newest = (await client.threads.get_history(counted, limit=1))[0]
    older = await client.threads.get_history(counted, before=newest["checkpoint"])
    assert [state["metadata"]["step"] for state in older] == [1, 0, -1]


async def test_history_filters_by_checkpoint_metadata(client: Client, counted: str) -> None:
    found = await client.threads.get_history(counted, metadata={"source": "input"})
    assert [state["metadata"]["step"] for state in found] == [-1]


async def test_state_at_a_checkpoint_is_what_it_was(client: Client, counted: str) -> None:
    step_one = (await client.threads.get_history(counted))[1]
    state = await client.threads.get_state(counted, checkpoint_id=step_one["checkpoint"]["checkpoint_id"])
    assert (state["values"], state["next"]) == ({"count": 2, "log": ["inc"]}, ["double"])


async def test_update_goes_through_the_reducers(client: Client, counted: str) -> None:
    await client.threads.update_state(counted, {"count": 10, "note": "set"})
    assert (await client.threads.get_state(counted))["values"] == {
        "count": 14,
        "log": ["inc", "double"],
        "note": "set",
    }


async def test_update_as_a_node_is_followed_by_its_next(client: Client, counted: str) -> None:
    await client.threads.update_state(counted, {"count": 10}, as_node="inc")
    assert (await client.threads.get_state(counted))["next"] == ["double"]


async def test_update_shows_in_the_values_of_the_thread(client: Client, counted: str) -> None:
    await client.threads.update_state(counted, {"note": "set"})
    assert (await client.threads.get(counted))["values"]["note"] == "set"


async def test_update_as_an_unknown_node_is_refused(client: Client, counted: str) -> None:
    with pytest.raises(BadRequestError, match="Node nope does not exist"):
        await client.threads.update_state(counted, {"count": 1}, as_node="nope")


async def test_update_of_a_busy_thread_is_a_conflict(client: Client, counted: str) -> None:
    run = await client.runs.create(counted, "slow", input={"ticks": 20, "delay": 0.1})
    with pytest.raises(ConflictError, match="has in-flight runs"):
        await client.threads.update_state(counted, {"count": 1})
    await client.runs.cancel(counted, run["run_id"], wait=True)


async def test_update_from_a_checkpoint_forks_and_becomes_the_head(client: Client, counted: str) -> None:
    step_one = (await client.threads.get_history(counted))[1]["checkpoint"]
    await client.threads.update_state(counted, {"count": 100}, checkpoint=step_one)
    head = await client.threads.get_state(counted)
    assert head["values"]["count"] == 102
    assert head["parent_checkpoint"]["checkpoint_id"] == step_one["checkpoint_id"]


async def test_a_thread_with_a_graph_id_can_be_given_state_before_any_run(client: Client) -> None:
    thread = await client.threads.create(graph_id="counter")
    await client.threads.update_state(thread["thread_id"], {"count": 5}, as_node="__start__")
    assert await client.runs.wait(thread["thread_id"], "counter") == {"count": 12, "log": ["inc", "double"]}


async def test_run_from_a_checkpoint_replays_from_there(client: Client, counted: str) -> None:
    step_one = (await client.threads.get_history(counted))[1]["checkpoint"]
    again = await client.runs.wait(counted, "counter", checkpoint=step_one)
    assert again == {"count": 4, "log": ["inc", "double"]}


async def test_run_with_input_from_a_checkpoint_forks_there(client: Client, counted: str) -> None:
    first = (await client.threads.get_history(counted))[-2]["checkpoint"]
    forked = await client.runs.wait(counted, "counter", input={"count": 10}, checkpoint_id=first["checkpoint_id"])
    assert forked == {"count": 24, "log": ["inc", "double"]}


async def test_a_fork_leaves_the_other_branch_in_the_history(client: Client, counted: str) -> None:
    before = await client.threads.get_history(counted)
    await client.runs.wait(counted, "counter", checkpoint=before[1]["checkpoint"])
    after = await client.threads.get_history(counted, limit=50)
    kept = {state["checkpoint"]["checkpoint_id"] for state in after}
    assert {state["checkpoint"]["checkpoint_id"] for state in before} < kept


async def test_durability_exit_writes_one_checkpoint(client: Client) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "counter", input={"count": 1}, durability="exit")
    assert len(await client.threads.get_history(thread["thread_id"])) == 1


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_other_durabilities_write_every_step(client: Client, durability: str) -> None:
    thread = await client.threads.create()
    await client.runs.wait(thread["thread_id"], "counter", input={"count": 1}, durability=durability)
    assert len(await client.threads.get_history(thread["thread_id"])) == 4
