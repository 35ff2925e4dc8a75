"""Waiting for runs and listening to them: wait, join, stream, on_disconnect."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.events.configured import event_log
from platform_site.core.events.memory import MemoryEventLog
from runs import selectors
from runs.engine.engine import Engine
from runs.models import Run
from runs.streaming import ended as ended_runs
from tests.api_client import ApiClient
from tests.runs.conftest import Gate, create, ended, run_to_end
from tests.runs.conftest import api as api
from tests.runs.graphs import script

NOT_FOUND = {"error": "HTTPException", "message": "404: Run not found"}


def path(run: Run, verb: str) -> str:
    return f"/threads/{run.thread_id}/runs/{run.run_id}/{verb}"


def names(text: str) -> list[str]:
    return [line.removeprefix("event: ") for line in text.split("\r\n") if line.startswith("event: ")]


async def open_gate(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.reached.wait, 10)
    gate.open.set()


# --- wait and join ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_wait_answers_with_the_values(api: ApiClient) -> None:
    answer = await api.post("/runs/wait", json={"assistant_id": "log", "input": {"log": ["x"]}})
    assert answer.json() == {"log": ["x", "one", "two"]}
    assert answer.headers["location"].endswith("/join")


@pytest.mark.usefixtures("engine")
async def test_wait_for_a_question_answers_with_it(api: ApiClient) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    answer = (await api.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "ask_twice", "input": {}})).json()
    [waiting] = answer["__interrupt__"]
    assert (waiting["value"], waiting["response_schema"]) == ("first?", None)


@pytest.mark.usefixtures("engine")
async def test_wait_for_a_failure_answers_200(api: ApiClient) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("boom")

    with script("fail", fail):
        answer = await api.post("/runs/wait", json={"assistant_id": "scripted", "input": {"do": "fail"}})
    assert (answer.status_code, answer.json()) == (200, {"__error__": {"error": "ValueError", "message": "boom"}})


@pytest.mark.usefixtures("engine")
async def test_long_wait_is_kept_alive_by_line_breaks(api: ApiClient, gate: Gate, settings: Any) -> None:
    settings.STREAM_HEARTBEAT_SECONDS = 0.05
    asyncio.get_running_loop().call_later(0.3, gate.open.set)
    with script("pause", gate.pause):
        answer = await api.post("/runs/wait", json={"assistant_id": "scripted", "input": {"do": "pause"}})
    assert answer.text.startswith("\n")
    assert answer.json()["done"] == "passed"


@pytest.mark.usefixtures("engine")
async def test_join_waits_for_the_end(api: ApiClient, principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        answer, _ = await asyncio.gather(api.get(path(run, "join")), open_gate(gate))
    assert answer.json()["done"] == "passed"


async def test_join_of_a_finished_run_gives_the_threads_values(api: ApiClient, principal: Principal) -> None:
    first = await run_to_end(principal, "log", input={"log": ["a"]})
    second = await run_to_end(principal, "log", first.thread_id, input={"log": ["b"]})
    assert (await api.get(path(first, "join"))).json() == second.thread.values


async def test_join_of_a_finished_run_that_asks_gives_values_and_question(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "ask_twice", input={"log": ["x"]})
    answer = (await api.get(path(run, "join"))).json()
    assert answer["log"] == ["x"]
    assert [item["value"] for item in answer["__interrupt__"]] == ["first?"]


@pytest.mark.usefixtures("unloaded")
async def test_join_of_a_failed_run_gives_its_error(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "broken", input={})
    assert (await api.get(path(run, "join"))).json()["__error__"]["error"] == "BrokenGraph"


@pytest.mark.usefixtures("principal")
async def test_join_of_an_unknown_run(api: ApiClient) -> None:
    answer = await api.get(f"/threads/{uuid4()}/runs/{uuid4()}/join")
    assert (answer.status_code, answer.json()) == (200, {"__error__": NOT_FOUND})


async def test_join_of_a_run_that_is_cancelled_before_it_begins(api: ApiClient, principal: Principal) -> None:
    run = await in_db(create, principal, after_seconds=60)
    joined = asyncio.ensure_future(api.get(path(run, "join")))
    await asyncio.sleep(0.05)
    await api.post(path(run, "cancel"))
    assert (await asyncio.wait_for(joined, 10)).status_code == 200


@pytest.mark.usefixtures("engine")
async def test_join_of_a_run_that_is_deleted_ends(api: ApiClient, principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        joined = asyncio.ensure_future(api.get(path(run, "join")))
        assert await asyncio.to_thread(gate.reached.wait, 10)
        await asyncio.sleep(0.05)
        await api.delete(f"/threads/{run.thread_id}/runs/{run.run_id}")
        assert (await asyncio.wait_for(joined, 10)).json() == {"__error__": NOT_FOUND}


# --- streams ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_stream_of_a_new_run_has_all_its_events(api: ApiClient) -> None:
    answer = await api.post("/runs/stream", json={"assistant_id": "log", "input": {"log": []}})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["location"] == answer.headers["content-location"] + "/stream"
    assert names(answer.text) == ["metadata", "values", "values", "values"]
    assert "id: " not in answer.text


@pytest.mark.usefixtures("engine", "unloaded")
async def test_failure_is_the_last_event(api: ApiClient) -> None:
    answer = await api.post("/runs/stream", json={"assistant_id": "broken", "input": {}})
    assert (answer.status_code, names(answer.text)) == (200, ["metadata", "error"])


@pytest.mark.usefixtures("engine")
async def test_resumable_run_is_replayed_after_its_end(api: ApiClient) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "log", "input": {"log": []}, "stream_resumable": True, "stream_mode": "updates"}
    answer = await api.post(f"/threads/{thread}/runs/stream", json=body)
    place = answer.headers["location"]
    assert (await api.get(place, headers={"Last-Event-ID": "-1"})).text == answer.text
    assert (await api.get(place, headers={"Last-Event-ID": "0"})).text == answer.text
    ids = [line.removeprefix("id: ") for line in answer.text.split("\r\n") if line.startswith("id: ")]
    assert names((await api.get(place, headers={"Last-Event-ID": ids[1]})).text) == ["updates"]
    for garbage in ("x", "1", "--", "１-１", "9" * 30):
        replayed = await api.get(place, headers={b"Last-Event-ID": garbage.encode()})
        assert (replayed.status_code, replayed.text) == (200, "")


async def test_stream_of_a_finished_run_is_empty(api: ApiClient, principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    answer = await api.get(path(run, "stream"))
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.usefixtures("principal")
async def test_stream_of_an_unknown_run(api: ApiClient) -> None:
    answer = await api.get(f"/threads/{uuid4()}/runs/{uuid4()}/stream")
    assert answer.status_code == 200
    assert answer.text == 'event: error\r\ndata: {"error":"HTTPException","message":"404: Run not found"}\r\n\r\n'


@pytest.mark.usefixtures("engine")
async def test_joined_stream_has_what_comes_from_now_on_in_the_modes_asked_for(
    api: ApiClient, principal: Principal, gate: Gate
) -> None:
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"}, stream_mode=["values", "updates"])
        assert await asyncio.to_thread(gate.reached.wait, 10)
        listening = asyncio.ensure_future(api.get(path(run, "stream") + "?stream_mode=updates"))
        await asyncio.sleep(0.1)
        gate.open.set()
        assert names((await listening).text) == ["updates"]


# --- clients that go away --------------------------------------------------------------------------


async def leave(api: ApiClient, method: str, url: str, gate: Gate, **options: Any) -> None:
    """Begin a request and go away when the run's node waits."""
    request = asyncio.ensure_future(api.request(method, url, **options))
    assert await asyncio.to_thread(gate.reached.wait, 10)
    await asyncio.sleep(0.05)
    request.cancel()
    await asyncio.wait({request})


@pytest.mark.parametrize("verb", ["wait", "stream"])
@pytest.mark.parametrize(("choice", "status"), [("cancel", "interrupted"), ("continue", "success")])
async def test_on_disconnect(
    api: ApiClient, principal: Principal, engine: Engine, gate: Gate, verb: str, choice: str, status: str
) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "scripted", "input": {"do": "pause"}, "on_disconnect": choice}
    with script("pause", gate.pause):
        await leave(api, "POST", f"/threads/{thread}/runs/{verb}", gate, json=body)
        if choice == "continue":
            gate.open.set()
        run = await in_db(lambda: Run.objects.get())
        assert (await asyncio.to_thread(ended, run)).status == status


@pytest.mark.parametrize("verb", ["join", "stream"])
async def test_cancel_on_disconnect(
    api: ApiClient, principal: Principal, engine: Engine, gate: Gate, verb: str
) -> None:
    with script("pause", gate.pause):
        run = await in_db(create, principal, "scripted", input={"do": "pause"})
        await leave(api, "GET", path(run, verb) + "?cancel_on_disconnect=true", gate)
        assert (await asyncio.to_thread(ended, run)).status == "interrupted"


# --- events that are not kept any more ---------------------------------------------------------------


@pytest.fixture
def ended_place(api: ApiClient, engine: Engine) -> Callable[..., Awaitable[tuple[str, list[str]]]]:
    """Runs a graph to its end: where its stream is, and the ids of its events."""

    async def run(**options: Any) -> tuple[str, list[str]]:
        thread = (await api.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "log", "input": {"log": []}, "stream_mode": "updates", **options}
        answer = await api.post(f"/threads/{thread}/runs/stream", json=body)
        lines = answer.text.split("\r\n")
        return answer.headers["location"], [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]

    return run


def forget(place: str) -> None:
    """The log of the run is given up, as it is when the logs hold too much."""
    log = event_log()
    assert isinstance(log, MemoryEventLog)
    run_id = place.split("/")[4]
    with log._lock:
        log._give_up(run_id, log._logs[run_id])


@pytest.mark.parametrize("ended", ["just now", "long ago"])
async def test_join_after_an_event_of_an_ended_run_that_is_not_kept_says_so(
    api: ApiClient, ended_place: Any, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    place, ids = await ended_place(stream_resumable=True)
    forget(place)
    monkeypatch.setattr(selectors, "JUST_ENDED", timedelta(minutes=10) if ended == "just now" else timedelta())
    monkeypatch.setattr(ended_runs, "_PATIENCE_SECONDS", 0.01)
    answer = await api.get(place, headers={"Last-Event-ID": ids[0]})
    assert (answer.status_code, names(answer.text)) == (200, ["error"])
    assert '"error":"EventsLost"' in answer.text
    assert "Read the state of the thread" in answer.text


@pytest.mark.parametrize("ended", ["just now", "long ago"])
@pytest.mark.parametrize("last", ["-1", "0", "garbage", None])
async def test_join_of_an_ended_run_that_is_not_kept_is_empty_for_who_names_no_event(
    api: ApiClient, ended_place: Any, monkeypatch: pytest.MonkeyPatch, last: str | None, ended: str
) -> None:
    place, _ = await ended_place(stream_resumable=True)
    forget(place)
    monkeypatch.setattr(selectors, "JUST_ENDED", timedelta(minutes=10) if ended == "just now" else timedelta())
    monkeypatch.setattr(ended_runs, "_PATIENCE_SECONDS", 0.01)
    answer = await api.get(place, headers={} if last is None else {"Last-Event-ID": last})
    assert (answer.status_code, answer.text) == (200, "")


async def test_join_after_an_event_of_an_ordinary_run_is_empty(api: ApiClient, ended_place: Any) -> None:
    place, _ = await ended_place()
    forget(place)
    assert (await api.get(place, headers={"Last-Event-ID": "1-1"})).text == ""


async def test_join_of_a_run_that_has_ended_while_its_log_is_open_waits_for_the_log(
    api: ApiClient, ended_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is committed before the log is closed."""
    log = event_log()
    assert isinstance(log, MemoryEventLog)
    place, ids = await ended_place(stream_resumable=True)

    async def is_closed(run_id: str) -> bool:
        return False

    monkeypatch.setattr(log, "is_closed", is_closed)
    assert names((await api.get(place, headers={"Last-Event-ID": ids[1]})).text) == ["updates"]
    assert names((await api.get(place, headers={"Last-Event-ID": ids[-1]})).text) == []
    assert names((await api.get(place, headers={"Last-Event-ID": "-1"})).text) == ["metadata", "updates", "updates"]
