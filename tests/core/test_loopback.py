"""The transport of `get_client()` without a URL: streams, cuts, contexts, and clients from before."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk._async import client as sdk
from langgraph_sdk._shared import utilities

from platform_site.access.principal import Principal
from platform_site.core.loopback.acting import Actor, acting_for, current_actor
from platform_site.core.loopback.transport import ACTOR, BUFFER_BYTES, LoopbackTransport, serve_loopback

EVENTS = [(b"content-type", b"text/event-stream")]
marked: contextvars.ContextVar[str] = contextvars.ContextVar("marked", default="nothing")


class Application:
    """An ASGI application that keeps what it was asked and answers as a test says."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.sent = 0
        self.marks: list[str] = []
        self.threads: list[str] = []
        self.gone = threading.Event()
        self.more = threading.Event()
        self.answer: Any = self.at_once

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.bodies.append((await receive())["body"])
        self.marks.append(marked.get())
        self.threads.append(threading.current_thread().name)
        await self.answer(receive, send)

    async def at_once(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    async def in_turns(self, receive: Any, send: Any) -> None:
        """A part, and the next one when the test wants more."""
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.to_thread(self.more.wait)
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    async def endless(self, receive: Any, send: Any) -> None:
        """Parts until the client is gone."""

        async def parts() -> None:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
                self.sent += 10_000
                await asyncio.sleep(0)

        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        sending = asyncio.create_task(parts())
        while (await receive())["type"] != "http.disconnect":
            pass
        sending.cancel()
        self.gone.set()

    async def silent(self, receive: Any, send: Any) -> None:
        await receive()
        self.gone.set()

    async def breaks(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        raise OSError("the application broke")


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    for name in ("get_asgi_transport", "_registered_transports"):
        # To be put back: other tests of this process make clients, too.
        monkeypatch.setattr(sdk, name, getattr(sdk, name))
    monkeypatch.setenv("__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT", "")
    monkeypatch.setattr(utilities, "_registered_transports", [])
    made = Application()
    serve_loopback(lambda: made)
    yield made
    made.more.set()


@pytest.fixture
async def http(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=LoopbackTransport(app=None), base_url="http://api") as client:  # type: ignore[arg-type]
        yield client


async def test_client_made_afterwards_is_served(application: Application) -> None:
    assert await get_client().assistants.search() == []
    assert application.scopes[0]["path"] == "/assistants/search"


async def test_client_made_before_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "_registered_transports", registered := list[Any]())
    monkeypatch.setattr(utilities, "_registered_transports", registered)
    monkeypatch.setattr(sdk, "get_asgi_transport", lambda: httpx.ASGITransport)
    monkeypatch.setenv("__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT", "true")
    early, application = get_client(), Application()
    serve_loopback(lambda: application)
    assert await early.assistants.search() == []


async def test_clients_are_forgotten_with_their_last_reference(application: Application) -> None:
    transport = weakref.ref(get_client().http.client._transport)
    gc.collect()
    assert transport() is None


async def test_request_arrives_whole(application: Application, http: httpx.AsyncClient) -> None:
    await http.post("/threads/a%2Fb?x=1", content=b"{}", headers={"X-One": "1", "X-Api-Key": "a key of LangSmith"})
    scope = application.scopes[0]
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/threads/a/b", b"x=1")
    assert scope["raw_path"] == b"/threads/a%2Fb"
    assert (b"x-one", b"1") in scope["headers"]
    assert b"x-api-key" not in dict(scope["headers"])
    assert application.bodies == [b"{}"]


async def test_answer_is_streamed_as_it_comes(application: Application, http: httpx.AsyncClient) -> None:
    application.answer = application.in_turns
    async with http.stream("GET", "/") as answer:
        parts = answer.aiter_bytes()
        assert await anext(parts) == b"data: 1\n\n"
        application.more.set()
        assert [part async for part in parts] == [b"data: 2\n\n"]


async def test_application_learns_that_the_reader_is_gone(application: Application, http: httpx.AsyncClient) -> None:
    application.answer = application.endless
    async with http.stream("GET", "/") as answer:
        await anext(answer.aiter_bytes())
    await asyncio.to_thread(application.gone.wait)


async def test_application_learns_that_the_caller_was_cancelled(
    application: Application, http: httpx.AsyncClient
) -> None:
    application.answer = application.silent
    asking = asyncio.create_task(http.get("/"))
    while not application.scopes:  # noqa: ASYNC110 - set on another thread
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.to_thread(application.gone.wait)


async def test_slow_reader_holds_the_application_back(application: Application, http: httpx.AsyncClient) -> None:
    application.answer = application.endless
    async with http.stream("GET", "/") as answer:
        parts = answer.aiter_raw()
        await anext(parts)
        before = -1
        while application.sent != before:
            # Nothing is read: the application comes to a stop by itself.
            before = application.sent
            await asyncio.sleep(0.1)
        assert application.sent <= 2 * BUFFER_BYTES
        for _ in range(100):
            await anext(parts)
        while application.sent == before:  # noqa: ASYNC110 - set on another thread
            await asyncio.sleep(0.01)


async def test_answer_that_breaks_off_is_no_complete_answer(application: Application, http: httpx.AsyncClient) -> None:
    application.answer = application.breaks
    with pytest.raises(httpx.ReadError, match="the application broke"):
        await http.get("/")


async def test_read_timeout_of_the_client_counts(application: Application, http: httpx.AsyncClient) -> None:
    application.answer = application.silent
    with pytest.raises(httpx.ReadTimeout):
        await http.get("/", timeout=0.01)
    await asyncio.to_thread(application.gone.wait)


async def test_application_runs_neither_on_the_callers_loop_nor_in_its_context(
    application: Application, http: httpx.AsyncClient
) -> None:
    marked.set("of the caller")
    await http.get("/")
    assert application.marks == ["nothing"]
    assert application.threads == ["loopback"]


def test_client_serves_one_loop_after_the_other(application: Application) -> None:
    client = get_client()
    for _ in range(3):
        assert asyncio.run(client.assistants.search()) == []


def test_loop_that_ends_with_an_open_answer_leaves_nothing_behind(application: Application) -> None:
    application.answer = application.endless

    async def leave() -> None:
        client = get_client().http.client
        await client.send(client.build_request("GET", "/"), stream=True)

    asyncio.run(leave())
    gc.collect()
    application.gone.wait()


async def test_request_says_for_whom_it_is_made(application: Application, http: httpx.AsyncClient) -> None:
    actor = Actor(Principal(1), run_id=uuid4())
    with acting_for(actor):
        await http.get("/")
        await asyncio.to_thread(lambda: asyncio.run(get_client().assistants.search()))
    assert [scope[ACTOR] for scope in application.scopes] == [actor, actor]


async def test_what_outlives_its_caller_acts_for_nobody(application: Application, http: httpx.AsyncClient) -> None:
    goes_on = asyncio.Event()

    async def late() -> None:
        await goes_on.wait()
        await http.get("/")

    with acting_for(Actor(Principal(1))):
        task = asyncio.create_task(late())
    goes_on.set()
    await task
    assert application.scopes[0][ACTOR] is None


def test_thread_without_the_context_acts_for_nobody() -> None:
    seen: list[Any] = []
    with acting_for(Actor(Principal(1))):
        thread = threading.Thread(target=lambda: seen.append(current_actor()))
        thread.start()
        thread.join()
    assert seen == [None]
