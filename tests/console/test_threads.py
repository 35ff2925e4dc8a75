"""The list of threads and the page of one."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client

from crons.models import Cron
from runs.models import RunStatus
from tests.console.conftest import HOSTILE
from threads.models import ThreadStatus
from threads.pages.browse import PER_PAGE


def titles(client: Client, **query: str) -> list[str]:
    page = client.get("/dashboard/threads", query).content.decode()
    return [part.split("</a>")[0].split(">")[1] for part in page.split('<a class="whole cut"')[1:]]


def test_the_last_used_thread_is_on_top(yard, member):
    for minutes, title in ((5, "Older"), (1, "Newer")):
        yard.thread(title, updated_at=yard.now - timedelta(minutes=minutes))
    assert titles(member) == ["Newer", "Older"]


def test_threads_of_other_workspaces_are_not_listed(elsewhere, yard, member):
    elsewhere.thread("Theirs")
    assert titles(member) == []


@pytest.mark.parametrize(
    ("word", "found"),
    [("idle", {"I"}), ("running", {"R"}), ("waiting", {"W"}), ("paused", {"P"}), ("failed", {"F"}),
     ("nonsense", set("IRWPF"))],
)  # fmt: skip
def test_they_are_filtered_by_the_word_that_is_shown(yard, member, word, found):
    yard.thread("I")
    yard.thread("R", status=ThreadStatus.BUSY)
    yard.thread("P", status=ThreadStatus.INTERRUPTED)
    yard.thread("F", status=ThreadStatus.ERROR)
    yard.question(yard.run(yard.thread("W")))
    assert set(titles(member, status=word)) == found


def test_they_are_found_by_title_and_parts_of_the_id(yard, member):
    thread = yard.thread("The broken lamp")
    yard.thread("A chair")
    for text in ("broken", str(thread.pk), str(thread.pk)[-6:]):
        assert titles(member, q=text) == ["The broken lamp"]


def test_the_list_has_pages(yard, member):
    for number in range(PER_PAGE + 2):
        yard.thread(str(number))
    assert len(titles(member)) == PER_PAGE
    assert len(titles(member, page="2")) == 2


def test_an_untitled_thread_can_be_opened(yard, member):
    yard.thread("")
    assert titles(member) == ["Untitled thread"]


def test_the_page_tells_state_runs_and_open_questions(yard, member):
    thread = yard.thread("The lamp", values={"order": {"id": "48213"}}, metadata={"customer": "c-91"})
    run = yard.run(thread, RunStatus.SUCCESS, assistant=yard.assistant("Refund agent"))
    yard.question(run, {"question": "Refund 120.00?"})
    page = member.get(f"/dashboard/threads/{thread.pk}").content.decode()
    for text in ("The lamp", "48213", "c-91", "Refund agent", "Refund 120.00?", "Waiting for a person",
                 f"/dashboard/runs/{run.run_id}"):  # fmt: skip
        assert text in page


def test_a_thread_without_runs_says_so(yard, member):
    page = member.get(f"/dashboard/threads/{yard.thread().pk}").content.decode()
    assert "no run has written to this thread yet" in page
    assert "No run has been started" in page


def test_a_thread_whose_state_could_not_be_read_says_why(yard, member):
    error = {"error": "ValidationError", "message": "Input should be a valid integer"}
    thread = yard.thread(status="error", error=error)
    page = member.get(f"/dashboard/threads/{thread.pk}").content.decode()
    for text in ("ValidationError", "Input should be a valid integer", "its state could not be read",
                 f"POST /threads/{thread.pk}/state"):  # fmt: skip
        assert text in page
    assert "no run has written" not in page


def test_a_thread_with_an_error_leads_to_the_run_that_has_the_whole_of_it(yard, member):
    thread = yard.thread(status="error", error={"error": "OSError", "message": "An internal error occurred"})
    run = yard.run(thread, RunStatus.ERROR, error_class="OSError")
    link = f'<a href="/dashboard/runs/{run.run_id}">The run\'s page</a>'
    assert link in member.get(f"/dashboard/threads/{thread.pk}").content.decode()
    assert link not in member.get(f"/dashboard/threads/{yard.thread().pk}").content.decode()


def test_the_configuration_of_the_last_run_is_not_shown(yard, member):
    thread = yard.thread(run_config={"configurable": {"token": "secret-token"}})
    for path in (f"threads/{thread.pk}", "threads"):
        assert "secret-token" not in member.get(f"/dashboard/{path}").content.decode()


def test_the_page_tells_the_time_to_live(yard, member):
    thread = yard.thread(ttl_minutes=90, expires_at=yard.now + timedelta(minutes=80.5))
    page = member.get(f"/dashboard/threads/{thread.pk}").content.decode()
    assert "<dt>Deleted</dt>" in page
    assert "in 1 h 20 min" in page
    assert "time to live 1 h 30 min" in page
    assert "time to live" not in member.get(f"/dashboard/threads/{yard.thread().pk}").content.decode()


def test_a_thread_that_is_pruned_says_so(yard, member):
    thread = yard.thread(ttl_minutes=90, ttl_strategy="keep_latest", expires_at=yard.now + timedelta(minutes=80))
    assert "Pruned to its last step" in member.get(f"/dashboard/threads/{thread.pk}").content.decode()


def test_the_page_names_the_crons_that_run_on_it(yard, member):
    thread = yard.thread()
    cron = Cron.objects.create(
        workspace=yard.workspace,
        assistant_id=yard.assistant().assistant_id,
        thread=thread,
        schedule="@daily",
        enabled=False,
    )
    page = member.get(f"/dashboard/threads/{thread.pk}").content.decode()
    assert f"/dashboard/crons/{cron.pk}" in page
    assert "paused" in page


def test_a_stranger_does_not_learn_that_it_exists(yard, stranger):
    assert stranger.get(f"/dashboard/threads/{yard.thread().pk}").status_code == 404
    assert stranger.get(f"/dashboard/threads/{uuid4()}").status_code == 404


def test_only_staff_gets_a_link_to_the_admin(yard, admin, member):
    path = f"/dashboard/threads/{yard.thread().pk}"
    assert b"In the admin" in admin.get(path).content
    assert b"In the admin" not in member.get(path).content


def test_nothing_a_graph_left_becomes_markup(yard, member):
    thread = yard.thread(HOSTILE, values={HOSTILE: HOSTILE}, metadata={"a": HOSTILE}, error={"message": HOSTILE})
    yard.question(yard.run(thread, RunStatus.ERROR, error_class=HOSTILE), HOSTILE)
    for path in ("/dashboard/threads", f"/dashboard/threads/{thread.pk}", "/dashboard/search?q=script"):
        page = member.get(path).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_more_rows_do_not_mean_more_queries(yard, member, django_assert_max_num_queries):
    thread = yard.thread()
    for number in range(30):
        yard.question(yard.run(yard.thread(str(number))))
        yard.run(thread)
    with django_assert_max_num_queries(8):
        member.get("/dashboard/threads")
    with django_assert_max_num_queries(9):
        member.get(f"/dashboard/threads/{thread.pk}")
