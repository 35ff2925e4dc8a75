"""Every page in every width and theme: readable, reachable, without a violation of the policy."""

import json
from collections.abc import Callable
from importlib import resources
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Open, printed_link
from tests.live import LiveServer
from tests.webhooks.receiving import answers, receiving

Finished = Callable[..., tuple[str, str]]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
WIDTHS = (360, 768, 1440)
_pages: dict[str, str] = {}


@pytest.fixture
def pages(finished: Finished, sdk: SyncLangGraphClient) -> dict[str, str]:
    """Addresses of all pages, with something on them: a long hostile title, an answer, an open question, a failure."""
    if not _pages:
        said = {"messages": [{"role": "user", "content": f"{HOSTILE} what is 3*4? {'long ' * 40}"}]}
        run, thread = finished("chat", said, stream_mode=["messages-tuple", "values", "updates"])
        asked, asked_thread = finished("approval", {"order": "A-1", "amount": 120, "reason": HOSTILE})
        failed, _ = finished("slow", {"task": "x"}, context={"steps": "not a number"})
        unattended = without_a_client(sdk)
        _pages.update({
            "overview": "/dashboard/", "runs": "/dashboard/runs", "threads": "/dashboard/threads",
            "assistants": "/dashboard/assistants", "search": "/dashboard/search?q=a", "nothing found":
            "/dashboard/runs?q=zzzz", "run": run, "thread": thread, "question": asked,
            "thread that waits": asked_thread,
            "failed run": failed,
            **unattended,
        })  # fmt: skip
    return _pages


def without_a_client(sdk: SyncLangGraphClient) -> dict[str, str]:
    """Addresses of the pages of crons, of the store and of webhooks, with something on them."""
    said: dict[str, Any] = {"messages": [{"role": "user", "content": HOSTILE}]}
    named = {"name": f"{HOSTILE} {'long ' * 20}"}
    cron: Any = sdk.crons.create("chat", schedule="* * * * * *", input=said, metadata=named, on_run_completed="keep")
    thread = sdk.threads.create(ttl=60)["thread_id"]
    sdk.crons.create_for_thread(thread, "chat", schedule="30 8 * * mon-fri", timezone="America/New_York", input=said)
    with receiving(then=answers(500, HOSTILE.encode())) as receiver:
        # The run that is told of is one more tick.
        sdk.crons.update(cron["cron_id"], webhook=receiver.url)
        delivery = UUID(receiver.wait(1)[0].identity.removeprefix("msg_"))
    sdk.crons.update(cron["cron_id"], enabled=False)
    for number in range(3):
        sdk.store.put_item(["users", "ada", HOSTILE.replace(".", "")], str(number), {"text": HOSTILE}, ttl=60)
    place = f"/dashboard/store?in={quote('users.ada.' + HOSTILE.replace('.', ''))}"
    return {
        "crons": "/dashboard/crons", "cron": f"/dashboard/crons/{cron['cron_id']}", "new cron": "/dashboard/crons/new",
        "edited cron": f"/dashboard/crons/{cron['cron_id']}/edit", "thread with an end": f"/dashboard/threads/{thread}",
        "store": "/dashboard/store", "namespace above": "/dashboard/store?in=users.ada", "namespace": place,
        "item": f"{place}&key=1", "edited item": f"{place}&key=1&edit=1", "new item": "/dashboard/store?new=1",
        "found by text": "/dashboard/store?q=alert", "found by meaning": "/dashboard/store?q=alert&by=meaning",
        "webhooks": "/dashboard/operations/webhooks", "delivery": f"/dashboard/operations/webhooks/{delivery}",
    }  # fmt: skip


def overflow(page: Page) -> int:
    scroll: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return scroll


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways_or_breaks_the_policy(open_page: Open, pages: dict[str, str], width: int):
    page = open_page("/dashboard/", width=width)
    for name, path in pages.items():
        page.goto(page.url.split("/dashboard")[0] + path)
        assert overflow(page) <= 0, f"{name} scrolls sideways at {width}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing(open_page: Open, pages: dict[str, str], scheme: Any, width: int):
    axe = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
    page = open_page("/dashboard/", width=width, color_scheme=scheme, reduced_motion="reduce")
    found: list[str] = []
    for name, path in pages.items():
        page.goto(page.url.split("/dashboard")[0] + path)
        page.evaluate(axe)
        for violation in page.evaluate("axe.run().then((result) => result.violations)"):
            nodes = [node["html"][:160] for node in violation["nodes"][:3]]
            found.append(f"{name}: {violation['id']}: {violation['help']}: {json.dumps(nodes)}")
    assert found == []


def test_the_admin_works_under_the_same_policy(open_page: Open, pages: dict[str, str]):
    page = open_page("/admin/")
    page.get_by_role("link", name="Threads", exact=True).nth(1).click()
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_text("Open on the dashboard")).to_be_visible()
    expect(page.get_by_role("cell", name="root").first).to_be_visible()


def test_the_printed_link_no_longer_works_once_it_was_used(browser: Browser, yard_server: LiveServer, open_page: Open):
    page = open_page("/dashboard/sign-in", storage_state=None)
    expect(page.get_by_label("Password")).to_be_visible()
    answer = page.request.get(printed_link(yard_server))
    assert answer.status == 200
    page.set_content(answer.text())
    assert overflow(page) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(open_page: Open, scheme: Any):
    page = open_page("/dashboard/", color_scheme=scheme)

    def is_dark() -> bool:
        color: str = page.evaluate(
            "(() => { const c = document.createElement('canvas').getContext('2d');"
            " c.fillStyle = getComputedStyle(document.body).backgroundColor; c.fillRect(0, 0, 1, 1);"
            " return String(c.getImageData(0, 0, 1, 1).data[0]); })()"
        )
        return int(color) < 128

    assert is_dark() is (scheme == "dark")
    with page.expect_response("**/dashboard/theme"):
        page.get_by_role("button", name="Switch between light and dark").click()
    assert is_dark() is (scheme != "dark")
    page.reload()
    assert is_dark() is (scheme != "dark")


def test_everything_reads_without_javascript(open_page: Open, pages: dict[str, str]):
    page = open_page("/dashboard/runs", java_script_enabled=False)
    page.get_by_label("Status").select_option("Done")
    page.get_by_role("button", name="Filter").click()
    assert "status=done" in page.url
    page.locator("a.whole").first.click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_on_a_small_screen_the_menu_is_a_drawer(open_page: Open):
    page = open_page("/dashboard/", width=360)
    menu = page.get_by_role("navigation", name="Main")
    expect(menu).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    menu.get_by_role("link", name="Threads").click()
    expect(page.get_by_role("heading", name="Threads", level=1)).to_be_visible()


def test_lists_are_walked_with_the_keyboard(open_page: Open, pages: dict[str, str]):
    page = open_page("/dashboard/runs")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.is-cursor")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Search everything")).to_be_focused()


def test_the_first_key_offers_to_skip_to_the_content(open_page: Open):
    page = open_page("/dashboard/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_a_filter_applies_at_once(open_page: Open, pages: dict[str, str]):
    page = open_page("/dashboard/runs")
    page.get_by_label("Status").select_option("Waiting for a person")
    page.wait_for_url("**status=waiting**")
    expect(page.locator("tbody tr")).not_to_have_count(0)


def test_signed_out_nothing_is_left_to_see(open_page: Open, yard_server: LiveServer):
    page = open_page("/dashboard/runs", storage_state=None)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "next=/dashboard/runs" in page.url


def test_the_due_times_follow_what_is_typed(open_page: Open):
    page = open_page("/dashboard/crons/new")
    preview = page.locator("#c-preview")
    page.get_by_label("Schedule").fill("15 7 * * *")
    expect(preview.get_by_role("cell", name="07:15")).to_have_count(5)
    page.get_by_label("Zone").fill("America/New_York")
    expect(preview).to_contain_text("New York")
    expect(preview.get_by_role("cell", name="07:15")).to_have_count(5)
    page.get_by_label("Schedule").fill("75 7 * * *")
    expect(preview).to_contain_text("Invalid cron schedule: '75 7 * * *'")


def test_a_cron_is_made_run_paused_and_deleted(open_page: Open):
    page = open_page("/dashboard/crons/new")
    page.get_by_label("Name").fill("by hand")
    page.get_by_label("Assistant").select_option("slow")
    page.get_by_label("Input").fill('{"task": "x"}')
    page.get_by_role("button", name="Create cron").click()
    expect(page.get_by_role("heading", name="by hand")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("cell", name="Run by hand")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("None while it is paused.")).to_be_visible()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete cron").click()
    expect(page.get_by_text("by hand was deleted.")).to_be_visible()


def test_an_item_is_made_changed_and_deleted(open_page: Open):
    page = open_page("/dashboard/store")
    page.get_by_role("link", name="New item").click()
    page.get_by_role("textbox", name="Namespace").fill("hands.on")
    page.get_by_role("textbox", name="Key").fill("note")
    page.get_by_role("textbox", name="Value").fill('{"n": 1}')
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("textbox", name="Value").fill('{"n": 2}')
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="JSON").click()
    expect(page.get_by_text('"n": 2')).to_be_visible()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete item").click()
    expect(page.get_by_text("note was deleted.")).to_be_visible()


def test_a_delivery_is_looked_at_and_sent_again(open_page: Open, pages: dict[str, str]):
    page = open_page(pages["delivery"])
    page.get_by_role("link", name="Webhooks").click()
    page.locator("a.whole").last.click()
    expect(page.get_by_text("webhook-signature").first).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("It is being sent again.")).to_be_visible()
