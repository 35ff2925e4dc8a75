"""What each stream mode sends, through the official client."""

import pytest
from langgraph_sdk.errors import UnprocessableEntityError

from tests.client.streams import collect, data, names
from tests.live import Client

HELLO = {"messages": [{"role": "user", "content": "hi", "id": "h1"}]}
MODES = ["values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints", "debug", "events"]


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_can_be_streamed(client: Client, thread: str, mode: str) -> None:
    parts = await collect(client.runs.stream(thread, "chat", input=HELLO, stream_mode=mode))
    assert names(parts)[0] == "metadata"
    assert "error" not in names(parts)
    assert (await client.runs.list(thread))[0]["status"] == "success"


async def test_first_event_names_run_and_attempt(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={}))
    run = (await client.runs.list(thread))[0]
    assert parts[0].data == {"run_id": run["run_id"], "attempt": 1}


async def test_values_is_the_default_mode(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}))
    assert names(parts) == ["metadata", "values", "values", "values"]


async def test_values_send_the_state_after_every_step(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_mode="values"))
    assert [values["count"] for values in data(parts, "values")] == [1, 2, 4]


async def test_first_values_on_a_used_thread_hold_state_and_input(client: Client, thread: str) -> None:
    await client.runs.wait(thread, "counter", input={"count": 1})
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 10}))
    assert data(parts, "values")[0]["count"] == 14


async def test_updates_send_what_each_node_wrote(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_mode="updates"))
    assert data(parts, "updates") == [
        {"inc": {"count": 1, "log": ["inc"]}},
        {"double": {"count": 2, "log": ["double"]}},
    ]


async def test_custom_sends_what_nodes_write(client: Client, thread: str) -> None:
    body = {"ticks": 3, "delay": 0}
    parts = await collect(client.runs.stream(thread, "slow", input=body, stream_mode="custom"))
    assert data(parts, "custom") == [{"tick": 0}, {"tick": 1}, {"tick": 2}]


async def test_messages_tuple_sends_every_token(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "chat", input=HELLO, stream_mode="messages-tuple"))
    tokens = data(parts, "messages")
    assert [chunk["content"] for chunk, _ in tokens] == ["Hello", " ", "there", " ", "friend"]
    assert {metadata["langgraph_node"] for _, metadata in tokens} == {"call_model"}


async def test_messages_send_the_text_so_far(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "chat", input=HELLO, stream_mode="messages"))
    texts = [messages[0]["content"] for messages in data(parts, "messages/partial")]
    assert texts == ["Hello", "Hello ", "Hello there", "Hello there ", "Hello there friend"]


async def test_message_that_was_not_streamed_comes_whole(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "echo", input=HELLO, stream_mode="messages"))
    assert names(parts) == ["metadata", "messages/metadata", "messages/complete"]
    assert data(parts, "messages/complete")[0][0]["content"] == "echo: hi"


async def test_only_tuples_are_sent_when_both_message_modes_are_asked_for(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "chat", input=HELLO, stream_mode=["messages", "messages-tuple"]))
    assert set(names(parts)) == {"metadata", "messages"}


async def test_tasks_send_start_and_end_of_every_node(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_mode="tasks"))
    found = [(task["name"], "result" in task) for task in data(parts, "tasks")]
    assert found == [("inc", False), ("inc", True), ("double", False), ("double", True)]


async def test_checkpoints_send_every_checkpoint(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_mode="checkpoints"))
    assert [found["metadata"]["step"] for found in data(parts, "checkpoints")] == [-1, 0, 1, 2]


async def test_debug_sends_checkpoints_tasks_and_results(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_mode="debug"))
    kinds = [found["type"] for found in data(parts, "debug")]
    step = ["task", "task_result", "checkpoint"]
    assert kinds == ["checkpoint", "checkpoint", *step, *step]


async def test_events_send_what_runs_inside(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_mode="events"))
    found = [(event["event"], event["name"]) for event in data(parts, "events")]
    assert found[0] == ("on_chain_start", "counter")
    assert ("on_chain_stream", "double") in found
    assert found[-1] == ("on_chain_end", "counter")


async def test_several_modes_come_in_the_order_of_the_contract(client: Client, thread: str) -> None:
    modes = ["values", "updates", "tasks", "checkpoints"]
    parts = await collect(client.runs.stream(thread, "counter", input={"count": 1}, stream_mode=modes))
    step = ["tasks", "updates", "tasks", "values", "checkpoints"]
    assert names(parts) == ["metadata", "checkpoints", "values", "checkpoints", *step, *step]


async def test_with_an_empty_input_there_is_no_values_event_before_the_first_step(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "counter", input={}))
    assert [values["log"] for values in data(parts, "values")] == [["inc"], ["inc", "double"]]


async def test_unknown_mode_is_refused(client: Client, thread: str) -> None:
    with pytest.raises(UnprocessableEntityError):
        await collect(client.runs.stream(thread, "counter", input={}, stream_mode="zzz"))


async def test_failure_is_the_last_event(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "failing", input={"x": 1}))
    assert (parts[-1].event, parts[-1].data) == ("error", {"error": "ValueError", "message": "boom: x=1"})


async def test_subgraph_events_carry_their_namespace(client: Client, thread: str) -> None:
    parts = await collect(
        client.runs.stream(thread, "nested", input={"text": "x"}, stream_mode="updates", stream_subgraphs=True)
    )
    assert [name.split(":")[0] for name in names(parts)] == [
        "metadata",
        "updates",
        "updates|child",
        "updates|child",
        "updates",
    ]


async def test_subgraph_events_are_not_sent_unasked(client: Client, thread: str) -> None:
    parts = await collect(client.runs.stream(thread, "nested", input={"text": "x"}, stream_mode=["updates", "custom"]))
    assert names(parts) == ["metadata", "updates", "updates"]


async def test_deeper_subgraphs_append_to_the_namespace(other: Client) -> None:
    parts = await collect(
        other.runs.stream(None, "deep", input={"text": "x"}, stream_mode="updates", stream_subgraphs=True)
    )
    deepest = [[place.split(":")[0] for place in name.split("|")] for name in names(parts) if name.count("|") == 2]
    assert deepest == [["updates", "middle", "lower"]]


async def test_model_in_a_subgraph_is_streamed_by_token_with_subgraphs(other: Client) -> None:
    parts = await collect(
        other.runs.stream(None, "agent_inside", input=HELLO, stream_mode="messages-tuple", stream_subgraphs=True)
    )
    tokens = [part for part in parts if part.event.startswith("messages|agent:")]
    assert [part.data[0]["content"] for part in tokens] == ["one", " ", "two"]


async def test_model_in_a_subgraph_comes_whole_without_subgraphs(other: Client) -> None:
    parts = await collect(other.runs.stream(None, "agent_inside", input=HELLO, stream_mode="messages-tuple"))
    assert [(message["type"], message["content"]) for message, _ in data(parts, "messages")] == [("ai", "one two")]


async def test_parallel_nodes_send_one_update_each_and_values_once(other: Client) -> None:
    parts = await collect(other.runs.stream(None, "fan", input={"items": [1, 2, 3]}, stream_mode=["updates", "values"]))
    assert names(parts)[-4:] == ["updates", "updates", "updates", "values"]
    assert sorted(parts[-1].data["done"]) == [10, 20, 30]


@pytest.mark.parametrize("kind", ["ValueError", "TimeoutError"])
async def test_text_of_expected_errors_is_shown(other: Client, kind: str) -> None:
    parts = await collect(other.runs.stream(None, "fails", input={"kind": kind}))
    assert data(parts, "error") == [{"error": kind, "message": "the secret text"}]


@pytest.mark.parametrize("kind", ["OSError", "ZeroDivisionError"])
async def test_text_of_other_errors_is_masked(other: Client, kind: str) -> None:
    parts = await collect(other.runs.stream(None, "fails", input={"kind": kind}))
    assert data(parts, "error") == [{"error": kind, "message": "An internal error occurred"}]


async def test_masked_error_is_whole_in_the_state(other: Client) -> None:
    thread = (await other.threads.create())["thread_id"]
    await other.runs.wait(thread, "fails", input={"kind": "OSError"}, raise_error=False)
    assert (await other.threads.get_state(thread))["tasks"][0]["error"] == "OSError('the secret text')"
