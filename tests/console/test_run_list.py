"""The list of runs."""

from datetime import timedelta

import pytest
from django.test import Client

from runs.models import RunStatus
from runs.pages.browse import PER_PAGE
from tests.console.conftest import HOSTILE


def titles(client: Client, **query: str) -> list[str]:
    page = client.get("/dashboard/runs", query).content.decode()
    return [part.split("</a>")[0].split(">")[1] for part in page.split('<a class="whole cut"')[1:]]


def test_the_newest_run_is_on_top(yard, member):
    for title in ("First", "Second"):
        yard.run(yard.thread(title))
    assert titles(member) == ["Second", "First"]


def test_runs_of_other_workspaces_are_not_listed(yard, elsewhere, member):
    elsewhere.run(elsewhere.thread("Theirs"))
    assert titles(member) == []
    assert "No runs yet" in member.get("/dashboard/runs").content.decode()


@pytest.mark.parametrize(
    ("word", "found"),
    [("queued", ["Q"]), ("running", ["R"]), ("waiting", ["W"]), ("done", ["D"]), ("cancelled", ["C"]),
     ("failed", ["F"]), ("timed-out", ["T"]), ("nonsense", ["T", "F", "C", "W", "D", "R", "Q"])],
)  # fmt: skip
def test_they_are_filtered_by_the_word_that_is_shown(yard, member, word, found):
    for title, status in (("Q", RunStatus.PENDING), ("R", RunStatus.RUNNING), ("D", RunStatus.SUCCESS)):
        yard.run(yard.thread(title), status)
    yard.question(yard.run(yard.thread("W")))
    yard.run(yard.thread("C"), RunStatus.INTERRUPTED)
    yard.run(yard.thread("F"), RunStatus.ERROR)
    yard.run(yard.thread("T"), RunStatus.TIMEOUT)
    assert titles(member, status=word) == found


def test_an_answered_question_is_no_longer_waited_for(yard, member):
    yard.question(yard.run(yard.thread("Answered")), answered_at=yard.now)
    assert titles(member, status="waiting") == []
    assert titles(member, status="done") == ["Answered"]


def test_they_are_filtered_by_assistant_error_and_thread(yard, member):
    helper, lamp = yard.assistant(), yard.thread("Lamp")
    yard.run(lamp, assistant=helper)
    yard.run(yard.thread("Chair"), RunStatus.ERROR, error_class="ValueError")
    assert titles(member, assistant=str(helper.assistant_id)) == ["Lamp"]
    assert titles(member, assistant="nonsense") == []
    assert titles(member, error="ValueError") == ["Chair"]
    assert titles(member, thread=str(lamp.pk)) == ["Lamp"]


def test_a_thread_of_others_is_no_filter(elsewhere, member):
    assert member.get("/dashboard/runs", {"thread": str(elsewhere.thread().pk)}).status_code == 404


def test_they_are_found_by_title_error_and_parts_of_the_id(yard, member):
    run = yard.run(yard.thread("The broken lamp"), RunStatus.ERROR, error_class="RateLimitError")
    yard.run(yard.thread("A chair"))
    for text in ("BROKEN", "ratelimit", str(run.run_id), str(run.run_id)[-8:]):
        assert titles(member, q=text) == ["The broken lamp"]
    assert titles(member, q="nothing like it") == []


def test_nothing_found_is_different_from_nothing_there(yard, member):
    yard.run()
    page = member.get("/dashboard/runs", {"q": "zzz"}).content.decode()
    assert "No run matches" in page
    assert "Clear filters" in page


def test_pages_keep_the_filter(yard, member):
    for number in range(PER_PAGE + 1):
        yard.run(yard.thread(f"Run {number}"), created_at=yard.now - timedelta(minutes=1))
    page = member.get("/dashboard/runs", {"status": "done"}).content.decode()
    assert f"1–{PER_PAGE} of {PER_PAGE + 1} runs" in page
    assert "?status=done&amp;page=2" in page
    assert titles(member, status="done", page="2") == ["Run 0"]
    assert titles(member, page="99") == ["Run 0"]


def test_hostile_titles_filters_and_errors_are_escaped(yard, member):
    yard.run(yard.thread(HOSTILE), RunStatus.ERROR, error_class=HOSTILE, assistant=yard.assistant(HOSTILE))
    page = member.get("/dashboard/runs", {"q": HOSTILE, "error": HOSTILE, "assistant": HOSTILE}).content.decode()
    page += member.get("/dashboard/runs").content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_more_rows_do_not_mean_more_queries(yard, member, django_assert_max_num_queries):
    for number in range(PER_PAGE):
        yard.run(yard.thread(f"{number}"), assistant=yard.assistant())
    with django_assert_max_num_queries(9):
        member.get("/dashboard/runs")
