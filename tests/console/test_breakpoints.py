"""A run that a breakpoint stopped waits for a person until another run takes its thread on."""

import pytest

from platform_site.access.principal import Principal
from runs.models import RunStatus
from runs.pages.browse import waiting_count, waiting_for_people
from tests.console.test_run_list import titles


def badge(page: str) -> bool:
    return "Waiting for a person" in page


def test_it_is_listed_among_what_waits_and_not_among_what_is_done(yard, member):
    yard.stopped(yard.run(yard.thread("Stopped")), "two")
    yard.run(yard.thread("Done"))
    assert titles(member, status="waiting") == ["Stopped"]
    assert titles(member, status="done") == ["Done"]


def test_its_page_says_before_which_nodes_it_was_stopped(yard, member):
    run = yard.stopped(yard.run(yard.thread("Stopped")), "two", "<three>")
    page = member.get(f"/dashboard/runs/{run.run_id}").content.decode()
    assert "A breakpoint stopped it before <code>two</code>, <code>&lt;three&gt;</code>." in page


def test_the_page_of_its_thread_says_the_same_while_it_waits(yard, member):
    thread = yard.thread("Stopped")
    yard.stopped(yard.run(thread), "two")
    assert "stopped it before <code>two</code>." in member.get(f"/dashboard/threads/{thread.pk}").content.decode()
    yard.run(thread)
    assert "stopped it before" not in member.get(f"/dashboard/threads/{thread.pk}").content.decode()


def test_its_thread_waits(yard, member):
    thread = yard.thread("Stopped")
    yard.stopped(yard.run(thread), "two")
    assert badge(member.get("/dashboard/threads", {"status": "waiting"}).content.decode().split("<main")[1])
    assert "Stopped" in member.get("/dashboard/threads", {"status": "waiting"}).content.decode()
    assert "Stopped" not in member.get("/dashboard/threads", {"status": "paused"}).content.decode()


def test_the_overview_lists_and_counts_it_beside_questions(yard, elsewhere, member):
    yard.stopped(yard.run(yard.thread("Stopped")), "two")
    yard.question(yard.run(yard.thread("Asked")))
    elsewhere.stopped(elsewhere.run(elsewhere.thread("Theirs")), "two")
    principal = Principal(yard.workspace.pk)
    assert {waiting.thread.title: waiting.node for waiting in waiting_for_people(principal, 5)} == {
        "Stopped": "before two",
        "Asked": "review",
    }
    assert waiting_count(principal) == 2
    assert "before two" in member.get("/dashboard/").content.decode()


@pytest.mark.parametrize("status", [RunStatus.SUCCESS, RunStatus.INTERRUPTED, RunStatus.RUNNING])
def test_a_run_that_has_taken_the_thread_on_ends_the_wait(yard, member, status):
    thread = yard.thread("Stopped")
    yard.stopped(yard.run(thread), "two")
    yard.run(thread, status)
    assert titles(member, status="waiting") == []
    assert waiting_count(Principal(yard.workspace.pk)) == 0


def test_a_run_that_only_waits_for_its_turn_does_not(yard):
    thread = yard.thread("Stopped")
    yard.stopped(yard.run(thread), "two")
    yard.run(thread, RunStatus.PENDING)
    assert waiting_count(Principal(yard.workspace.pk)) == 1
