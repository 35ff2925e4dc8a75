"""Values of a project's own types, and of types that JSON does not know, come back to the nodes that wait for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests import live

CONFIG = Path(__file__).parent / "typed_project" / "langgraph.json"


@pytest.fixture(scope="session")
def typed_server(start_in_mode: Callable[[Path], live.LiveServer]) -> live.LiveServer:
    return start_in_mode(CONFIG)


@pytest.fixture
async def client(typed_server: live.LiveServer) -> live.Client:
    return get_client(url=typed_server.url)


async def wait(client: live.Client, thread_id: str, graph: str, **body: Any) -> Any:
    return await client.runs.wait(thread_id, graph, raise_error=False, **body)


async def new_thread(client: live.Client) -> str:
    return str((await client.threads.create())["thread_id"])


async def test_a_resume_sees_what_the_node_before_returned(client: live.Client) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "bag", input={"answer": ""})
    assert (await wait(client, thread, "bag", command={"resume": "yes"}))["wrong"] == []


async def test_a_second_run_sees_what_the_first_has_left(client: live.Client) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "bag", input={"answer": ""})
    await wait(client, thread, "bag", command={"resume": "yes"})
    await wait(client, thread, "bag", input={"answer": ""})
    assert (await client.threads.get_state(thread))["values"]["wrong"] == []


async def test_a_task_and_what_an_entrypoint_saves_come_back(client: live.Client) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "plan", input="first?")
    first = await wait(client, thread, "plan", command={"resume": "yes"})
    await wait(client, thread, "plan", input="second?")
    second = await wait(client, thread, "plan", command={"resume": "yes"})
    assert (first, second) == (
        {"tricks": ["sit"], "previous": None},
        {"tricks": ["sit"], "previous": ["sit"]},
    )


async def test_what_is_sent_to_a_node_comes_back(client: live.Client) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "fan", input={"titles": []})
    waiting = (await client.threads.get_state(thread))["interrupts"]
    ended = await wait(client, thread, "fan", command={"resume": {item["id"]: "yes" for item in waiting}})
    assert ended["titles"] == ["A", "B"]


async def test_an_error_names_what_came_back_as_plain_data(client: live.Client) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "stranger", input={"answer": ""})
    message = (await wait(client, thread, "stranger", command={"resume": "yes"}))["__error__"]["message"]
    assert "Node 'use' was given plain data: `bag.answers[0]` was stored as langchain_core.outputs" in message
    assert "neither a type of the project" in message
    assert "allowed_msgpack_modules" in message


async def test_a_thread_with_values_of_a_refused_type_can_be_read(client: live.Client) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "stranger", input={"answer": ""})
    assert (await client.threads.get_state(thread))["values"]["bag"]["answers"][0]["text"] == "hello"


@pytest.mark.parametrize("graph", ["hopeless", "hopeless_fan"])
async def test_a_value_that_has_no_form_is_named_with_its_key_and_node(client: live.Client, graph: str) -> None:
    thread = await new_thread(client)
    error = (await wait(client, thread, graph, input={"answer": ""}))["__error__"]
    assert error["error"] == "ValueNotStorable"
    assert "Node 'lock' returned a value of type _thread.lock in `bag.locks[0]`" in error["message"]


async def test_a_value_that_has_no_form_is_named_where_only_the_end_is_stored(client: live.Client) -> None:
    thread = await new_thread(client)
    error = (await wait(client, thread, "hopeless", input={"answer": ""}, durability="exit"))["__error__"]
    assert "a value of type _thread.lock in `bag.locks[0]`" in error["message"]
