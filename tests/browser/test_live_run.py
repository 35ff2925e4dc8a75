"""A run page while its run goes on."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.live import LiveServer

Start = Callable[..., str]
STEPS = {"context": {"steps": 4, "delay": 0.4}, "stream_mode": ["custom", "updates"]}


def test_events_come_live_and_the_end_changes_the_page(open_page: Open, start: Start):
    page = open_page(start("slow", {"task": "Sort it"}, **STEPS))
    expect(page.locator("#run-status")).to_have_text("Running")
    expect(page.get_by_text("Following")).to_be_visible()
    rows = page.locator("[data-log] > li")
    expect(rows.filter(has_text="step: 1")).to_have_count(1)
    expect(rows.filter(has_text="step: 4")).to_have_count(1)
    expect(page.locator("#run-status")).to_have_text("Done")
    expect(page.get_by_text("Following")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
    # What the timeline learned at the end is there without a reload.
    expect(page.locator(".gantt").get_by_text("finish", exact=True)).to_be_visible()


def test_the_tokens_of_a_message_become_one_text(open_page: Open, start: Start):
    given = {"messages": [{"role": "user", "content": "What is 12*7?"}]}
    page = open_page(start("chat", given, stream_mode=["messages-tuple"]))
    expect(page.locator("#run-status")).to_have_text("Done")
    answer = page.locator("[data-log] .flow").last
    expect(answer).to_contain_text("84")
    assert page.locator("[data-log] .flow").count() < 8


def test_pausing_holds_rows_back_and_following_brings_them(open_page: Open, start: Start):
    page = open_page(start("slow", {"task": "Sort it"}, **STEPS))
    rows = page.locator("[data-log] > li")
    expect(rows.filter(has_text="step: 1")).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name=re.compile(r"Follow, \d+ new"))).to_be_visible()
    expect(page.locator("#run-status")).to_have_text("Done")
    expect(rows.filter(has_text="step: 4")).to_have_count(0)
    page.get_by_role("button", name=re.compile("Follow")).click()
    expect(rows.filter(has_text="step: 4")).to_have_count(1)


def test_a_connection_that_is_made_anew_goes_on_where_the_last_one_stopped(open_page: Open, start: Start):
    page = open_page(start("slow", {"task": "Sort it"}, **{**STEPS, "context": {"steps": 8, "delay": 0.4}}))
    rows = page.locator("[data-log] > li")
    expect(rows.filter(has_text="step: 2,")).to_have_count(1)
    first = page.evaluate(
        """() => new Promise((done) => {
            const url = document.querySelector("[data-watch]").getAttribute("sse-connect");
            const source = htmx.createEventSource(url);
            source.addEventListener("rows", (event) => { source.close(); done(event.data); });
        })"""
    )
    assert "step: 1," not in first
    assert "step: 2," not in first
    expect(rows.filter(has_text="step: 8,")).to_have_count(1)
    expect(rows.filter(has_text="step: 1,")).to_have_count(1)


def test_a_page_survives_a_restart_of_the_server(open_page: Open, start: Start, yard_server: LiveServer):
    address = start("slow", {"task": "Sort it"}, **{**STEPS, "context": {"steps": 12, "delay": 0.3}})
    page = open_page(address, tolerate=r"ERR_|htmx:sendError|htmx:sseError|^\[object Event\]$")
    rows = page.locator("[data-log] > li")
    expect(rows.filter(has_text="step: 2,")).to_have_count(1)
    yard_server.restart()
    # The second attempt begins the node again: its events follow those of the first.
    expect(rows.filter(has_text="attempt 2")).to_have_count(1, timeout=60_000)
    expect(rows.filter(has_text="Connection lost for")).to_have_count(1)
    expect(rows.filter(has_text="step: 2,")).to_have_count(2)
    expect(page.locator("#run-status")).to_have_text("Done", timeout=30_000)


def test_a_run_is_cancelled_after_a_question(open_page: Open, start: Start):
    page = open_page(start("slow", {"task": "Sort it"}, context={"steps": 100, "delay": 0.2}))
    page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Cancel this run?")).to_be_visible()
    expect(dialog.get_by_role("button", name="Keep it running")).to_be_focused()
    dialog.get_by_role("button", name="Cancel run").click()
    expect(page.get_by_text("The run is being cancelled.")).to_be_visible()
    expect(page.locator("#run-status")).to_contain_text("Cancelled")


def test_a_finished_run_still_shows_its_events(open_page: Open, finished):
    run, _ = finished("slow", {"task": "Sort it"}, context={"steps": 1, "delay": 0}, stream_mode=["custom"])
    page = open_page(run)
    expect(page.locator("[data-log] > li").filter(has_text="step: 1")).to_have_count(1)
