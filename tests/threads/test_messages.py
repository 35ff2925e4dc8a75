"""GET and POST /threads/{thread_id}/messages, and the runs that take waiting messages along."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from runs.cancel import run_cancel
from runs.engine.attempt import Attempt
from runs.engine.stopping import Stop
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import claim, create, run_to_end
from tests.threads.conftest import Make
from threads.models import Thread


@pytest.fixture
async def thread(principal: Principal, make: Make) -> UUID:
    return UUID((await make())["thread_id"])


async def say(api: ApiClient, thread_id: Any, content: Any, role: str = "user") -> dict[str, Any]:
    answer = await api.post(f"/threads/{thread_id}/messages", json={"role": role, "content": content})
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()
    return message


async def messages(api: ApiClient, thread_id: Any) -> list[tuple[str, Any]]:
    answer = await api.get(f"/threads/{thread_id}/messages")
    assert answer.status_code == 200, answer.text
    return [(message["role"], message["content"]) for message in answer.json()]


async def test_empty_thread(api: ApiClient, thread: UUID) -> None:
    assert await messages(api, thread) == []


async def test_messages_are_kept_in_order(api: ApiClient, thread: UUID) -> None:
    said = [await say(api, thread, "one"), await say(api, thread, "two", "assistant")]
    assert (await api.get(f"/threads/{thread}/messages")).json() == said
    assert await messages(api, thread) == [("user", "one"), ("assistant", "two")]
    assert (said[0]["type"], said[1]["type"]) == ("human", "ai")


async def test_run_without_input_processes_them(api: ApiClient, principal: Principal, thread: UUID) -> None:
    said = await say(api, thread, "hello")
    run = await run_to_end(principal, "models", thread)
    assert run.status == "success"
    shown = (await api.get(f"/threads/{thread}/messages")).json()
    assert [(message["role"], message["content"]) for message in shown][:2] == [
        ("user", "hello"),
        ("assistant", "Hello"),
    ]
    assert shown[0]["id"] == said["id"]


@pytest.mark.parametrize(
    "given",
    [{"messages": [{"role": "user", "content": "own"}]}, {"messages": {"role": "user", "content": "own"}}],
    ids=["a list", "one"],
)
async def test_waiting_messages_go_before_the_input(
    api: ApiClient, principal: Principal, thread: UUID, given: dict[str, Any]
) -> None:
    await say(api, thread, "first")
    await say(api, thread, "second")
    await run_to_end(principal, "models", thread, input=given)
    assert (await messages(api, thread))[:3] == [("user", "first"), ("user", "second"), ("user", "own")]


async def test_messages_are_taken_once(api: ApiClient, principal: Principal, thread: UUID) -> None:
    await say(api, thread, "only once")
    await run_to_end(principal, "models", thread)
    later = await in_db(create, principal, "models", thread)
    assert later.kwargs["input"] is None
    assert (await in_db(Thread.objects.get, pk=thread)).messages is None


async def test_run_holds_them_from_its_creation_on(api: ApiClient, principal: Principal, thread: UUID) -> None:
    """What its input says survives whatever happens to the process."""
    await say(api, thread, "hello")
    run = await in_db(create, principal, "models", thread)
    assert [message["content"] for message in run.kwargs["input"]["messages"]] == ["hello"]


async def test_run_that_is_refused_takes_nothing(api: ApiClient, principal: Principal, thread: UUID) -> None:
    await say(api, thread, "hello")
    body = {"assistant_id": "models", "context": {"a": 1}, "config": {"configurable": {"b": 1}}}
    assert (await api.post(f"/threads/{thread}/runs", json=body)).status_code == 400
    assert await messages(api, thread) == [("user", "hello")]
    assert await in_db(Run.objects.count) == 0


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_they_wait_again_if_the_run_is_cancelled_before_it_began(
    api: ApiClient, principal: Principal, thread: UUID, action: str
) -> None:
    await say(api, thread, "hello")
    run = await in_db(create, principal, "models", thread, input={"messages": [{"role": "user", "content": "own"}]})
    answer = await api.post(f"/threads/{thread}/runs/{run.run_id}/cancel", params={"action": action})
    assert answer.status_code in (202, 204), answer.text
    assert await messages(api, thread) == [("user", "hello")]
    later = await run_to_end(principal, "models", thread)
    assert [message["content"] for message in later.kwargs["input"]["messages"]] == ["hello"]


async def test_they_wait_again_if_the_run_is_rolled_back(api: ApiClient, principal: Principal, thread: UUID) -> None:
    await say(api, thread, "hello")
    claimed = await in_db(claim, await in_db(create, principal, "models", thread))
    await in_db(run_cancel, principal, thread, claimed.run_id, "rollback")
    claimed.cancel_action = "rollback"
    attempt = Attempt(claimed, lambda: None)
    attempt.stop(Stop.CANCEL)
    await attempt.execute()
    assert await in_db(Run.objects.count) == 0
    assert await messages(api, thread) == [("user", "hello")]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_run_takes_over_those_of_the_run_that_made_way(
    api: ApiClient, principal: Principal, thread: UUID, strategy: str
) -> None:
    await say(api, thread, "hello")
    await in_db(create, principal, "models", thread)
    later = await in_db(create, principal, "models", thread, multitask_strategy=strategy)
    assert [message["content"] for message in later.kwargs["input"]["messages"]] == ["hello"]
    assert await messages(api, thread) == []


@pytest.mark.parametrize("fields", [{"input": "text"}, {"command": {"resume": 1}}], ids=["a text", "a command"])
async def test_messages_wait_on_where_a_run_has_no_place_for_them(
    api: ApiClient, principal: Principal, thread: UUID, fields: dict[str, Any]
) -> None:
    await say(api, thread, "hello")
    await in_db(create, principal, "models", thread, **fields)
    kept = (await in_db(Thread.objects.get, pk=thread)).messages
    assert [message["content"] for message in kept] == ["hello"]


async def test_message_on_a_thread_that_ran_goes_into_its_state(
    api: ApiClient, principal: Principal, thread: UUID
) -> None:
    await run_to_end(principal, "models", thread, input={"messages": [{"role": "user", "content": "before"}]})
    before = len(await messages(api, thread))
    await say(api, thread, "one")
    said = await say(api, thread, "two")
    assert (await messages(api, thread))[before:] == [("user", "one"), ("user", "two")]
    state = (await api.get(f"/threads/{thread}/state")).json()
    assert state["values"]["messages"][-1]["id"] == said["id"]
    assert state["next"] == ["talk"]
    await run_to_end(principal, "models", thread)
    assert (await messages(api, thread))[before:][:3] == [("user", "one"), ("user", "two"), ("assistant", "Hello")]


async def test_thread_that_was_told_its_graph(api: ApiClient, principal: Principal, make: Make) -> None:
    thread = UUID((await make(metadata={"graph_id": "models"}))["thread_id"])
    await say(api, thread, "hello")
    assert (await api.get(f"/threads/{thread}/state")).json()["next"] == ["talk"]
    await run_to_end(principal, "models", thread)
    assert (await messages(api, thread))[:2] == [("user", "hello"), ("assistant", "Hello")]


async def test_busy_thread(api: ApiClient, principal: Principal, thread: UUID) -> None:
    await in_db(create, principal, "models", thread, input={"messages": []})
    answer = await api.post(f"/threads/{thread}/messages", json={"role": "user", "content": "x"})
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(f"Thread {thread} has in-flight runs")


async def test_graph_without_messages(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    answer = await api.post(f"/threads/{run.thread_id}/messages", json={"role": "user", "content": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "The state of graph 'log' has no messages")
    assert await messages(api, run.thread_id) == []


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"content": "x"}, '"role" is a required property'),
        ({"role": "user"}, '"content" is a required property'),
        ({"role": "user", "content": None}, ""),
        ({"role": "user", "content": 5}, ""),
        ({"role": "nobody", "content": "x"}, '"nobody" is not one of "user"'),
    ],
)
async def test_bad_messages(api: ApiClient, thread: UUID, body: dict[str, Any], detail: str) -> None:
    answer = await api.post(f"/threads/{thread}/messages", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_thread(api: ApiClient, method: str) -> None:
    unknown = uuid4()
    body = {"role": "user", "content": "x"}
    answer = await api.request(method, f"/threads/{unknown}/messages", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {unknown} not found")


async def test_thread_does_not_show_what_waits(api: ApiClient, thread: UUID) -> None:
    await say(api, thread, "hello")
    assert "messages" not in (await api.get(f"/threads/{thread}")).json()


async def test_copy_has_the_messages_too(api: ApiClient, thread: UUID) -> None:
    await say(api, thread, "hello")
    made = (await api.post(f"/threads/{thread}/copy")).json()
    assert await messages(api, made["thread_id"]) == [("user", "hello")]


# What LangChain reads as no message: none of its roles, no content, no object.
UNREADABLE: list[Any] = [
    {"role": "zzz", "content": 1},
    {"type": "human"},
    {"content": "no role"},
    5,
    None,
    ["a"],
    {"role": "user", "content": 5},
    {"role": "user", "content": [1]},
    {"role": "assistant", "content": "", "tool_calls": 5},
    {"role": "tool", "content": "no call"},
    {"type": "remove", "id": "nope", "content": ""},
]


@pytest.mark.parametrize("odd", UNREADABLE, ids=str)
async def test_a_message_that_cannot_be_read_is_shown_as_it_is(
    api: ApiClient, principal: Principal, thread: UUID, odd: Any
) -> None:
    await run_to_end(principal, "models", thread, input={"messages": [{"role": "user", "content": "good"}]})
    before = await messages(api, thread)
    run = await run_to_end(principal, "models", thread, input={"messages": [odd]})
    assert run.status == "error"
    shown = (await api.get(f"/threads/{thread}/messages")).json()
    assert [(message["role"], message["content"]) for message in shown[:-1]] == before
    expected = odd if isinstance(odd, dict) else {"content": odd}
    assert {key: shown[-1][key] for key in expected} == expected


@pytest.mark.parametrize("odd", UNREADABLE, ids=str)
async def test_a_message_that_cannot_be_read_holds_up_nothing_else(
    api: ApiClient, principal: Principal, thread: UUID, odd: Any
) -> None:
    await run_to_end(principal, "models", thread, input={"messages": [odd]})
    for path in ("state", "history"):
        assert (await api.get(f"/threads/{thread}/{path}")).status_code == 200
    await say(api, thread, "later")
    assert await messages(api, thread) == [("user", "later")]
    assert (await run_to_end(principal, "models", thread)).status == "success"


async def test_state_can_be_set_after_a_message_that_cannot_be_read(
    api: ApiClient, principal: Principal, thread: UUID
) -> None:
    await run_to_end(principal, "models", thread, input={"messages": [5]})
    values = {"messages": [{"role": "user", "content": "by hand"}]}
    answer = await api.post(f"/threads/{thread}/state", json={"values": values, "as_node": "__start__"})
    assert answer.status_code == 200, answer.text
    assert await messages(api, thread) == [("user", "by hand")]


@pytest.mark.parametrize("odd", UNREADABLE, ids=str)
async def test_an_update_that_the_graph_refuses_is_a_bad_request(
    api: ApiClient, principal: Principal, thread: UUID, odd: Any
) -> None:
    await run_to_end(principal, "models", thread, input={"messages": [{"role": "user", "content": "good"}]})
    answer = await api.post(f"/threads/{thread}/state", json={"values": {"messages": [odd]}})
    assert answer.status_code == 400, answer.text
