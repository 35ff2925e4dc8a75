"""A browser in front of a real server with the sample graphs, signed in with the link that the server printed.

Every page is watched: an error in its console, a refused resource among them, fails the test.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.live import LiveServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Open = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None and os.environ.get("CI") != "true":
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed"))


@pytest.fixture(scope="session")
def yard_server(start_server: Callable[..., LiveServer]) -> LiveServer:
    """A server of the browser's own: its sign-in link is fresh."""
    # Webhooks go to a receiver of the tests.
    return start_server(None, WEBHOOK_PRIVATE_ALLOWED="127.0.0.1")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # For one module only: while Playwright is open no asynchronous test can run in this process.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session() -> dict[str, Any]:
    """The cookies of whoever used the printed link; empty until then."""
    return {}


@pytest.fixture
def signed_in(browser: Browser, yard_server: LiveServer, session: dict[str, Any]) -> dict[str, Any]:
    """The session of the first admin."""
    if not session:
        context = browser.new_context()
        page = context.new_page()
        page.goto(printed_link(yard_server))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{yard_server.url}/dashboard/")
        session["state"] = context.storage_state()
        context.close()
    state: dict[str, Any] = session["state"]
    return state


def printed_link(server: LiveServer) -> str:
    found = re.search(r"http\S+/dashboard/sign-in/\S+", server.log)
    assert found, "the server printed no sign-in link"
    return found[0]


@pytest.fixture
def open_page(browser: Browser, yard_server: LiveServer, signed_in: dict[str, Any]) -> Iterator[Open]:
    """Open an address of the dashboard: `open_page("/dashboard/", width=390, color_scheme="dark")`."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def open_(path: str, width: int = 1440, height: int = 900, tolerate: str = "^$", **options: Any) -> Page:
        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and not re.search(tolerate, message.text):
                problems.append(message.text)

        context = browser.new_context(
            viewport={"width": width, "height": height}, **{"storage_state": signed_in, **options}
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(yard_server.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def sdk(yard_server: LiveServer) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=yard_server.url) as client:
        yield client


@pytest.fixture
def start(sdk: SyncLangGraphClient) -> Callable[..., str]:
    """Start a run on a new thread and return the address of its page."""

    def start(graph: str, given: Any, **fields: Any) -> str:
        thread = sdk.threads.create()
        run = sdk.runs.create(thread["thread_id"], graph, input=given, **fields)
        return f"/dashboard/runs/{run['run_id']}"

    return start


@pytest.fixture
def finished(sdk: SyncLangGraphClient) -> Callable[..., tuple[str, str]]:
    """Let a run end on a new thread; the addresses of the pages of the run and of the thread."""

    def finish(graph: str, given: Any, **fields: Any) -> tuple[str, str]:
        thread_id = sdk.threads.create()["thread_id"]
        run = sdk.runs.create(thread_id, graph, input=given, **fields)
        sdk.runs.join(thread_id, run["run_id"])
        return f"/dashboard/runs/{run['run_id']}", f"/dashboard/threads/{thread_id}"

    return finish
