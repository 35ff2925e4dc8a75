"""The list of crons, the page of one, and the form."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from assistants.models import Assistant
from crons.models import Cron, CronTick
from crons.pages.browse import PER_PAGE, TICKS_PER_PAGE
from platform_site.console.shell import VIEWER_SENTENCE
from runs.models import Run, RunStatus
from tests.console.conftest import HOSTILE, Yard
from tests.runs.conftest import _test_graphs as _test_graphs
from tests.runs.conftest import idle_engine as idle_engine
from tests.runs.conftest import registry as registry

MakeCron = Callable[..., Cron]


@pytest.fixture
def cron(yard: Yard) -> MakeCron:
    def make(name: str = "digest", of: Yard = yard, assistant: Assistant | None = None, **fields: Any) -> Cron:
        fields["assistant_id"] = (assistant or of.assistant("Nightly")).assistant_id
        fields.setdefault("schedule", "0 9 * * *")
        fields.setdefault("next_run_date", of.now + timedelta(hours=2))
        fields.setdefault("metadata", {"name": name})
        fields.setdefault("payload", {"assistant_id": str(fields["assistant_id"])})
        return Cron.objects.create(workspace=of.workspace, **fields)

    return make


def tick(cron: Cron, minutes_ago: float, outcome: str = "fired", **fields: Any) -> CronTick:
    due = cron.created_at - timedelta(minutes=minutes_ago)
    return CronTick.objects.create(cron=cron, due_at=due, fired_at=due, outcome=outcome, **fields)


def names(client: Client, **query: str) -> list[str]:
    page = client.get("/dashboard/crons", query).content.decode()
    return [part.split("</a>")[0].split(">")[1] for part in page.split('<a class="whole cut"')[1:]]


def read(client: Client, path: str, **query: str) -> str:
    return client.get(path, query).content.decode()


# The list.


def test_what_is_due_next_is_on_top_and_what_is_paused_below(yard, cron, member):
    cron("paused", enabled=False, next_run_date=yard.now)
    cron("later", next_run_date=yard.now + timedelta(hours=5))
    cron("sooner", next_run_date=yard.now + timedelta(hours=1))
    cron("ended", next_run_date=None)
    assert names(member) == ["sooner", "later", "ended", "paused"]


def test_a_row_tells_schedule_zone_assistant_and_thread(yard, cron, member):
    cron(timezone="Europe/Berlin", thread=yard.thread("The lamp"), schedule="30 8 * * mon-fri")
    page = read(member, "/dashboard/crons")
    for text in ("30 8 * * mon-fri", "Europe/Berlin", "Nightly", "The lamp", "1 active"):
        assert text in page


def test_a_cron_without_a_name_is_called_by_its_schedule(cron, member):
    cron(metadata={}, schedule="@daily")
    assert names(member) == ["@daily"]


@pytest.mark.parametrize(
    ("query", "found"),
    [({"state": "active"}, ["digest"]), ({"state": "paused"}, ["sweep"]), ({"q": "DIG"}, ["digest"]),
     ({"q": "5 * *"}, ["sweep"]), ({"q": "zzz"}, []), ({"state": "nonsense"}, ["digest", "sweep"]),
     ({"assistant": "nonsense"}, [])],
)  # fmt: skip
def test_the_list_is_narrowed(cron, member, query, found):
    cron("digest")
    cron("sweep", enabled=False, schedule="*/5 * * * *")
    assert names(member, **query) == found


def test_a_cron_is_found_by_its_id(cron, member):
    made = cron("digest")
    cron("sweep")
    assert names(member, q=str(made.pk)) == ["digest"]


def test_the_strip_tells_what_became_of_the_last_sixteen_ticks(yard, cron, member):
    made = cron()
    for minutes in range(20, 4, -1):
        tick(made, minutes)
    tick(made, 4, run_id=yard.run(status=RunStatus.ERROR).run_id)
    tick(made, 3, run_id=yard.run(status=RunStatus.RUNNING).run_id)
    tick(made, 2, "skipped")
    tick(made, 1, "missed")
    page = read(member, "/dashboard/crons")
    assert "Last 16 ticks: 12 fired, 1 failed, 1 going, 1 skipped, 1 missed" in page
    # Outcomes differ in height, not only in colour.
    for kind, height in (("ok", 12), ("bad", 18), ("skip", 5), ("miss", 3), ("next", 11)):
        assert f'class="k-{kind}"' in page
        assert f'height="{height}"' in page


def test_crons_of_other_workspaces_are_not_listed(elsewhere, cron, member):
    cron("theirs", of=elsewhere)
    assert names(member) == []
    assert "No crons yet" in read(member, "/dashboard/crons")


def test_the_list_has_pages(yard, cron, member):
    assistant = yard.assistant()
    for _ in range(PER_PAGE + 1):
        cron(assistant=assistant)
    assert len(names(member)) == PER_PAGE
    assert len(names(member, page="2")) == 1


def test_more_crons_do_not_mean_more_queries(yard, cron, member, django_assert_max_num_queries):
    assistant = yard.assistant()
    for number in range(20):
        made = cron(str(number), assistant=assistant, thread=yard.thread())
        tick(made, 1, run_id=yard.run().run_id)
    with django_assert_max_num_queries(14):
        member.get("/dashboard/crons")


def test_where_no_ticks_are_shown_none_are_asked_for(yard, cron, member):
    thread = yard.thread("The lamp")
    tick(cron(thread=thread), 1)
    for path in (f"/dashboard/threads/{thread.pk}", "/dashboard/search?q=digest"):
        with CaptureQueriesContext(connection) as asked:
            assert "digest" in read(member, path)
        assert not [query["sql"] for query in asked if "crons_crontick" in query["sql"]]


# One cron.


def test_the_page_tells_each_tick_with_its_run_or_the_reason(yard, cron, member):
    made = cron(timezone="America/New_York")
    run = yard.run()
    tick(made, 3, run_id=run.run_id)
    tick(made, 2, "skipped", reason="Its last run was still going.")
    tick(made, 1, "missed", reason="Noticed 3 hours late.")
    page = read(member, f"/dashboard/crons/{made.pk}")
    for text in (f"/dashboard/runs/{run.run_id}", "Skipped", "Its last run was still going.", "Missed",
                 "Noticed 3 hours late.", "Due, America/New_York", "on time"):  # fmt: skip
        assert text in page


def test_a_run_that_was_deleted_is_no_link(cron, member):
    made = cron()
    gone = uuid4()
    tick(made, 1, run_id=gone)
    page = read(member, f"/dashboard/crons/{made.pk}")
    assert "deleted" in page
    assert f"/dashboard/runs/{gone}" not in page


def test_earlier_ticks_are_behind_a_link(cron, member):
    made = cron()
    CronTick.objects.bulk_create([
        CronTick(cron=made, due_at=made.created_at - timedelta(minutes=number), outcome="fired")
        for number in range(TICKS_PER_PAGE + 1)
    ])  # fmt: skip
    path = f"/dashboard/crons/{made.pk}"
    page = read(member, path)
    assert page.count('class="due-cell"') == TICKS_PER_PAGE
    before = page.split("?before=")[1].split('"')[0]
    assert member.get(f"{path}?before={before}").content.decode().count('class="due-cell"') == 1


def test_the_page_tells_the_next_five_due_times_on_both_clocks(cron, member):
    made = cron(schedule="30 8 * * *", timezone="Asia/Kolkata")
    page = read(member, f"/dashboard/crons/{made.pk}")
    assert page.count(" 08:30</td>") == 5
    assert page.count(" 03:00</td>") == 5


def test_the_page_tells_input_webhook_and_options(cron, member):
    made = cron(payload={
        "assistant_id": str(cron().assistant_id), "input": {"queue": "new"}, "webhook": "https://hooks.example/in",
        "durability": "exit", "config": {"configurable": {"cron_id": "x", "tone": "dry"}},
    })  # fmt: skip
    page = read(member, f"/dashboard/crons/{made.pk}")
    for text in ("queue", "https://hooks.example/in", "durability", "tone"):
        assert text in page


def test_a_paused_cron_is_due_at_no_time(cron, member):
    page = read(member, f"/dashboard/crons/{cron(enabled=False).pk}")
    assert "Paused" in page
    assert "None while it is paused" in page


def test_a_schedule_that_is_no_longer_one_is_said_and_can_be_changed(cron, member):
    made = cron(timezone="Old/Zone")
    assert names(member) == ["digest"]
    assert "Invalid timezone: &#x27;Old/Zone&#x27;" in read(member, f"/dashboard/crons/{made.pk}")
    member.post(f"/dashboard/crons/{made.pk}/edit", {"zone": "Europe/Berlin"})
    made.refresh_from_db()
    assert made.timezone == "Europe/Berlin"


def test_a_stranger_does_not_learn_that_it_exists(cron, stranger):
    made = cron()
    for path in ("", "/edit"):
        assert stranger.get(f"/dashboard/crons/{made.pk}{path}").status_code == 404
    for act in ("run", "pause", "resume", "delete", "edit"):
        assert stranger.post(f"/dashboard/crons/{made.pk}/{act}").status_code == 404
    assert Cron.objects.filter(pk=made.pk, enabled=True).exists()


def test_nothing_that_people_wrote_becomes_markup(yard, cron, member):
    made = cron(HOSTILE, assistant=yard.assistant(HOSTILE), thread=yard.thread(HOSTILE), user_id=HOSTILE,
                payload={"input": {HOSTILE: HOSTILE}, "webhook": f"https://x.example/{HOSTILE}"})  # fmt: skip
    tick(made, 1, "missed", reason=HOSTILE)
    for path in ("/dashboard/crons", f"/dashboard/crons/{made.pk}", f"/dashboard/crons/{made.pk}/edit",
                 "/dashboard/search?q=script"):  # fmt: skip
        page = read(member, path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page


# What people do.


@pytest.mark.parametrize(("act", "before", "after"), [("pause", True, False), ("resume", False, True)])
def test_a_member_pauses_and_resumes(cron, member, act, before, after):
    made = cron(enabled=before)
    answer = member.post(f"/dashboard/crons/{made.pk}/{act}", follow=True)
    assert answer.redirect_chain == [(f"/dashboard/crons/{made.pk}", 302)]
    made.refresh_from_db()
    assert made.enabled is after


@pytest.mark.usefixtures("inline_db")
def test_run_now_makes_a_run_and_a_tick_that_says_who_asked(cron, member):
    made = cron()
    page = member.post(f"/dashboard/crons/{made.pk}/run", {"from": "list"}, follow=True)
    run = Run.objects.get()
    assert str(run.run_id)[-8:] in page.content.decode()
    assert page.redirect_chain == [("/dashboard/crons", 302)]
    assert "by Mara Lindqvist" in CronTick.objects.get(run_id=run.run_id).reason


def test_delete_takes_the_cron_and_its_ticks(cron, member):
    made = cron()
    tick(made, 1)
    assert "Its ticks <b>1</b>" in read(member, f"/dashboard/crons/{made.pk}")
    assert member.post(f"/dashboard/crons/{made.pk}/delete").headers["Location"] == "/dashboard/crons"
    assert not CronTick.objects.exists()


@pytest.mark.parametrize("act", ["run", "pause", "resume", "delete", "edit"])
def test_a_viewer_may_do_nothing(cron, viewer, act):
    made = cron()
    assert viewer.post(f"/dashboard/crons/{made.pk}/{act}").status_code == 403
    assert Cron.objects.filter(pk=made.pk, enabled=True).exists()
    assert not Run.objects.exists()


def test_a_viewers_controls_are_disabled_and_say_why(cron, viewer):
    made = cron()
    for path in ("/dashboard/crons", f"/dashboard/crons/{made.pk}", "/dashboard/crons/new"):
        page = read(viewer, path)
        assert VIEWER_SENTENCE in page
        assert 'aria-disabled="true"' in page
        assert "/run" not in page.replace("/runs", "")


def test_acts_are_posts_with_a_token(cron, member):
    made = cron()
    assert member.get(f"/dashboard/crons/{made.pk}/run").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = member.cookies
    assert strict.post(f"/dashboard/crons/{made.pk}/pause").status_code == 403


# The form.


def test_the_form_makes_a_cron(yard, member):
    assistant = str(yard.assistant().assistant_id)
    sent = {"name": "digest", "assistant": assistant, "schedule": "30 8 * * *", "zone": "Europe/Berlin",
            "input": '{"queue": "new"}', "on_run_completed": "keep", "misfire_policy": "skip", "overlap_policy": "skip",
            "ends": "2099-01-01T10:00", "webhook": ""}  # fmt: skip
    answer = member.post("/dashboard/crons/new", sent)
    made = Cron.objects.get()
    assert answer.headers["Location"] == f"/dashboard/crons/{made.pk}"
    assert (made.schedule, made.timezone, made.on_run_completed) == ("30 8 * * *", "Europe/Berlin", "keep")
    assert (made.misfire_policy, made.overlap_policy, made.metadata) == ("skip", "skip", {"name": "digest"})
    assert made.payload["input"] == {"queue": "new"}
    assert f"{made.ends_at:%Y-%m-%d %H:%M}" == "2099-01-01 10:00"
    assert made.user_id == "mara"


def test_a_cron_on_a_thread(yard, member):
    thread = yard.thread()
    sent = {"assistant": str(yard.assistant().assistant_id), "schedule": "@daily", "thread": str(thread.pk)}
    member.post("/dashboard/crons/new", sent)
    assert Cron.objects.get().thread_id == thread.pk


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"schedule": "61 * * * *"}, "Invalid cron schedule: &#x27;61 * * * *&#x27;"),
     ({"schedule": ""}, "Say when it is due"),
     ({"zone": "Mars/Olympus"}, "Invalid timezone: &#x27;Mars/Olympus&#x27;"),
     ({"input": "{"}, "Not JSON:"), ({"thread": "x"}, "Not the id of a thread"),
     ({"thread": "01a1fdf1-816e-70e2-88b7-1cbb01eed137"}, "Thread with ID"),
     ({"assistant": ""}, "Choose who is to run"), ({"ends": "soon"}, "Not a date and a time"),
     ({"assistant": "01a1fdf1-816e-70e2-88b7-1cbb01eed137"}, "not found"),
     ({"webhook": "ftp://x"}, "notice-bad"), ({"webhook": "http://127.0.0.1/"}, "notice-bad")],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_lost(yard, member, change, sentence):
    sent = {"name": "kept name", "assistant": str(yard.assistant().assistant_id), "schedule": "@daily", "input": "[1]"}
    answer = member.post("/dashboard/crons/new", sent | change)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence.lower() in page.lower()
    assert "kept name" in page
    assert not Cron.objects.exists()


@pytest.mark.parametrize("text", ['"\\u0000"', "[" * 400 + "]" * 400])
def test_what_cannot_be_stored_is_refused(yard, member, text):
    sent = {"assistant": str(yard.assistant().assistant_id), "schedule": "@daily", "input": text, "name": "nul\x00"}
    assert member.post("/dashboard/crons/new", sent).status_code == 422
    assert not Cron.objects.exists()


@pytest.mark.parametrize("before", ["x", "2026-13-99T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00"])
def test_a_place_in_the_ticks_that_is_none_shows_the_latest(cron, member, before):
    made = cron()
    tick(made, 1)
    assert 'class="due-cell"' in read(member, f"/dashboard/crons/{made.pk}", before=before)


def test_an_edit_changes_what_was_changed_and_nothing_else(cron, member):
    made = cron(metadata={"name": "digest", "team": "a"})
    made.payload |= {"input": {"a": 1}, "durability": "exit", "metadata": {"name": "digest", "team": "a"}}
    made.save()
    assert member.post(f"/dashboard/crons/{made.pk}/edit", {"name": "weekly", "schedule": "@weekly"}).status_code == 302
    made.refresh_from_db()
    assert (made.schedule, made.metadata) == ("@weekly", {"name": "weekly", "team": "a"})
    assert (made.payload["input"], made.payload["durability"]) == ({"a": 1}, "exit")
    assert made.payload["metadata"] == {"name": "weekly", "team": "a"}


def test_the_form_of_a_cron_is_filled_in(cron, member):
    made = cron(payload={"input": {"queue": "new"}, "webhook": "https://hooks.example/in"}, timezone="Europe/Berlin")
    page = read(member, f"/dashboard/crons/{made.pk}/edit")
    for text in ("digest", "0 9 * * *", "Europe/Berlin", "&quot;queue&quot;: &quot;new&quot;", "hooks.example"):
        assert text in page


# The preview.


def test_the_preview_tells_the_next_five_due_times(member):
    page = read(member, "/dashboard/crons/preview", schedule="30 8 * * *", zone="America/New_York")
    assert page.count(" 08:30</td>") == 5
    assert "<html" not in page
    assert "New York" in page


@pytest.mark.parametrize(
    ("query", "sentence"),
    [({"schedule": "x"}, "Invalid cron schedule"), ({"schedule": "@daily", "zone": "Nowhere"}, "Invalid timezone"),
     ({"schedule": "0 0 30 2 *"}, "it is never due"), ({"schedule": ""}, "show here"),
     ({"schedule": "@daily", "ends": "2001-01-01T00:00"}, "Never due before its end")],
)  # fmt: skip
def test_the_preview_says_what_is_wrong(member, query, sentence):
    assert sentence in read(member, "/dashboard/crons/preview", **query)


def test_without_javascript_a_button_shows_the_due_times(member):
    answer = member.post("/dashboard/crons/new", {"schedule": "30 8 * * *", "look": "1", "name": "kept name"})
    assert answer.content.decode().count(" 08:30</td>") == 5
    assert b"kept name" in answer.content
    assert not Cron.objects.exists()
