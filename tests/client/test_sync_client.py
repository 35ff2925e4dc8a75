"""The synchronous client walks through the same operations."""

from tests.live import SyncClient

HELLO = {"messages": [{"role": "user", "content": "hi", "id": "h1"}]}


def test_assistant_is_created_and_found(sync_client: SyncClient) -> None:
    made = sync_client.assistants.create("echo", name="by the sync client")
    assert sync_client.assistants.search(name="BY THE SYNC")[0]["assistant_id"] == made["assistant_id"]
    sync_client.assistants.delete(made["assistant_id"])


def test_thread_is_created_updated_and_found(sync_client: SyncClient) -> None:
    thread = sync_client.threads.create(metadata={"a": 1})
    sync_client.threads.update(thread["thread_id"], metadata={"b": 2})
    assert sync_client.threads.get(thread["thread_id"])["metadata"] == {"a": 1, "b": 2}


def test_run_is_waited_for(sync_client: SyncClient) -> None:
    thread = sync_client.threads.create()
    assert sync_client.runs.wait(thread["thread_id"], "counter", input={"count": 1})["count"] == 4


def test_run_is_created_and_joined(sync_client: SyncClient) -> None:
    thread = sync_client.threads.create()
    run = sync_client.runs.create(thread["thread_id"], "counter", input={"count": 1})
    assert sync_client.runs.join(thread["thread_id"], run["run_id"])["count"] == 4


def test_tokens_are_streamed(sync_client: SyncClient) -> None:
    parts = list(sync_client.runs.stream(None, "chat", input=HELLO, stream_mode="messages-tuple"))
    assert "".join(part.data[0]["content"] for part in parts if part.event == "messages") == "Hello there friend"


def test_interrupt_is_answered(sync_client: SyncClient) -> None:
    thread = sync_client.threads.create()["thread_id"]
    sync_client.runs.wait(thread, "approval", input={"request": "r"})
    assert sync_client.runs.wait(thread, "approval", command={"resume": "no"})["decision"] == "no"


def test_history_is_read_and_forked(sync_client: SyncClient) -> None:
    thread = sync_client.threads.create()["thread_id"]
    sync_client.runs.wait(thread, "counter", input={"count": 1})
    step_one = sync_client.threads.get_history(thread)[1]["checkpoint"]
    sync_client.threads.update_state(thread, {"count": 100}, checkpoint=step_one)
    assert sync_client.threads.get_state(thread)["values"]["count"] == 102
