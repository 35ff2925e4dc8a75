"""The page of one run."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from crons.models import Cron
from platform_site.webhooks.models import WebhookDelivery
from runs.models import Run, RunAttempt, RunSpan, RunStatus
from tests.console.conftest import HOSTILE, Yard

TRACEBACK = """Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/langgraph/main.py", line 12, in astream
    async for _ in runner.atick(
  File "/home/mara/agents/refund.py", line 91, in call_model
    answer = await model.ainvoke(messages)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
langchain.RateLimitError: limit reached
"""


def shown(client: Client, run: Run, **query: str) -> str:
    answer = client.get(f"/dashboard/runs/{run.run_id}", query)
    assert answer.status_code == 200
    return answer.content.decode()


def span(run: Run, name: str, begin: float, end: float, kind: str = "node", **fields: Any) -> RunSpan:
    assert run.started_at is not None
    return RunSpan.objects.create(
        run=run, span_id=uuid4(), kind=kind, name=name, started_at=run.started_at + timedelta(seconds=begin),
        ended_at=run.started_at + timedelta(seconds=end), **fields,
    )  # fmt: skip


def test_a_stranger_does_not_learn_that_it_exists(yard, stranger):
    run = yard.run()
    assert stranger.get(f"/dashboard/runs/{run.run_id}").status_code == 404
    assert stranger.get(f"/dashboard/runs/{uuid4()}").status_code == 404


def test_facts_timeline_and_attempts_are_told(yard, member):
    run = yard.run(yard.thread("The lamp"), assistant=yard.assistant("Refund agent"), input_tokens=1200)
    lookup = span(run, "lookup_order", 0, 1)
    span(run, "orders.get", 0.2, 0.9, RunSpan.Kind.TOOL, parent_id=lookup.span_id)
    RunAttempt.objects.create(
        run=run, number=1, worker="worker-3", started_at=run.started_at, ended_at=run.finished_at, reason="finished"
    )
    page = shown(member, run)
    for text in ("The lamp", "Refund agent", "Done", "lookup_order", "orders.get", "1,200 in", "Attempt 1, finished",
                 "worker-3", str(run.run_id)):  # fmt: skip
        assert text in page
    assert page.index("lookup_order") < page.index("orders.get")
    assert 'class="gantt-name in-1"' in page


def test_attempts_and_the_pause_between_them_are_parts_of_the_timeline(yard, member):
    run = yard.run(status=RunStatus.RUNNING, attempt=2, lease_owner="worker-2/x/2/random", worker="worker-2")
    ended = run.started_at + timedelta(seconds=2)
    RunAttempt.objects.create(
        run=run, number=1, worker="worker-3", started_at=run.started_at, ended_at=ended, reason="lost"
    )
    Run.objects.update(attempt_started_at=ended + timedelta(seconds=2))
    page = shown(member, run)
    assert "Running, attempt 2 of 3" in page
    assert "Attempt 2, worker-2, after a pause of 2.00 s" in page
    assert "Pause before retry" in page
    assert "b-live" in page


def test_a_failure_is_explained_the_author_s_code_first(yard, member):
    run = yard.run(
        status=RunStatus.ERROR, error_class="RateLimitError", error_text="limit reached", error_traceback=TRACEBACK
    )
    page = shown(member, run)
    assert "Why it failed" in page
    assert "agents/refund.py" in page
    assert "line 91, in call_model" in page
    assert "answer = await model.ainvoke(messages)" in page
    assert "1 frame in libraries" in page
    assert page.index("Why it failed") < page.index("Timeline")


def test_what_clients_are_told_stands_beside_what_went_wrong(yard, member):
    run = yard.run(
        status=RunStatus.ERROR,
        error_class="OSError",
        error_text="no such key",
        error_message="An internal error occurred",
    )
    page = shown(member, run)
    assert "no such key" in page
    assert "Clients are told: An internal error occurred" in page


def test_why_a_graph_could_not_be_loaded_is_for_admins(yard, member, admin):
    run = yard.run(
        status=RunStatus.ERROR, error_class="BrokenGraph", error_message="Graph 'a' could not be loaded",
        error_text="postgres://app:secret@db", error_traceback="BrokenGraph: postgres://app:secret@db",
    )  # fmt: skip
    assert "secret" in shown(admin, run)
    page = shown(member, run)
    assert "could not be loaded" in page
    assert "secret" not in page


def test_an_open_question_is_shown_with_its_value(yard, member):
    run = yard.run()
    yard.question(run, {"question": "Refund 120.00?"})
    page = shown(member, run)
    assert "Waiting for a person" in page
    assert "Refund 120.00?" in page


def test_input_and_config_are_trees_without_credentials(yard, member):
    run = yard.run(kwargs={
        "input": {"channel": "mail"}, "durability": "sync",
        "config": {"recursion_limit": 25, "configurable": {"model": "m1", "langgraph_auth_user": {"token": "hush"}}},
    })  # fmt: skip
    page = shown(member, run)
    for text in ("channel", "mail", "durability", "recursion_limit", "m1"):
        assert text in page
    assert "hush" not in page


def test_a_command_is_shown_as_its_input(yard, member):
    assert "approve" in shown(member, yard.run(kwargs={"input": None, "command": {"resume": "approve"}}))


def test_other_runs_of_the_thread_are_listed(yard, member):
    lamp = yard.thread()
    first, second = yard.run(lamp), yard.run(lamp, RunStatus.ERROR)
    page = shown(member, first)
    assert f"/dashboard/runs/{second.run_id}" in page


def test_nothing_a_graph_left_becomes_markup(yard, member):
    run = yard.run(
        yard.thread(HOSTILE), RunStatus.ERROR, assistant=yard.assistant(HOSTILE), error_class=HOSTILE,
        error_text=HOSTILE, error_traceback=TRACEBACK.replace("call_model", HOSTILE), metadata={HOSTILE: HOSTILE},
        kwargs={"input": {HOSTILE: [HOSTILE]}, "context": {"a": HOSTILE}},
    )  # fmt: skip
    span(run, HOSTILE, 0, 1, error=HOSTILE, namespace=HOSTILE)
    page = shown(member, run)
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_a_running_run_is_watched_and_an_old_one_is_not(yard, member):
    running, old = yard.run(status=RunStatus.RUNNING), yard.run()
    assert f'sse-connect="/dashboard/runs/{running.run_id}/events"' in shown(member, running)
    page = shown(member, old)
    assert "sse-connect" not in page
    assert "htmx" not in page.split("</head>")[0].replace("htmx-config", "")


def test_what_changes_at_the_end_comes_as_one_answer(yard, member):
    page = shown(member, yard.run(), part="after")
    for element in ("run-head", "run-course", "run-aside"):
        assert f'id="{element}" hx-swap-oob="true"' in page
    assert "<html" not in page
    assert 'aria-label="Main"' not in page


def test_the_timeline_comes_alone_while_the_run_goes_on(yard, member):
    page = shown(member, yard.run(status=RunStatus.RUNNING), part="course")
    assert page.lstrip().startswith("<div")
    assert "run-head" not in page


def test_many_spans_do_not_mean_more_queries(yard, member, django_assert_max_num_queries):
    lamp = yard.thread()
    run = yard.run(lamp)
    for number in range(30):
        span(run, f"node {number}", number / 10, number / 10 + 0.1)
        yard.run(lamp)
    with django_assert_max_num_queries(10):
        shown(member, run)


# Cancelling


@pytest.fixture
def queued(yard):
    return yard.run(status=RunStatus.PENDING)


def test_a_member_cancels_a_run(queued, member):
    assert "Cancel this run?" in shown(member, queued)
    answer = member.post(f"/dashboard/runs/{queued.run_id}/cancel", follow=True)
    queued.refresh_from_db()
    assert queued.status == RunStatus.INTERRUPTED
    assert b"The run is being cancelled." in answer.content
    assert b"Cancelled" in answer.content


def test_a_viewer_sees_why_it_is_not_allowed_and_cannot_cancel(queued, viewer):
    page = shown(viewer, queued)
    assert "Ask an admin for the member role" in page
    assert 'aria-disabled="true"' in page
    answer = viewer.post(f"/dashboard/runs/{queued.run_id}/cancel")
    assert answer.status_code == 403
    assert b"Ask an admin for the member role" in answer.content
    queued.refresh_from_db()
    assert queued.status == RunStatus.PENDING


def test_a_stranger_cannot_cancel(queued, stranger):
    assert stranger.post(f"/dashboard/runs/{queued.run_id}/cancel").status_code == 404
    queued.refresh_from_db()
    assert queued.status == RunStatus.PENDING


def test_a_run_that_has_ended_cannot_be_cancelled(yard, member):
    run = yard.run()
    assert "Cancel this run?" not in shown(member, run)
    answer = member.post(f"/dashboard/runs/{run.run_id}/cancel", follow=True)
    assert b"The run was not cancelled" in answer.content


def test_looking_does_not_cancel(queued, member):
    assert member.get(f"/dashboard/runs/{queued.run_id}/cancel").status_code == 405


def test_a_run_that_a_cron_made_links_to_it(yard, elsewhere, member):
    def cron_of(where: Yard) -> Cron:
        return Cron.objects.create(
            workspace=where.workspace,
            assistant_id=where.assistant().assistant_id,
            schedule="@daily",
            metadata={"name": "night watch"},
        )

    def made_by(cron_id: Any) -> str:
        return shown(member, yard.run(kwargs={"config": {"configurable": {"cron_id": cron_id}}}))

    ours, theirs = cron_of(yard), cron_of(elsewhere)
    assert f'href="/dashboard/crons/{ours.pk}">night watch</a>' in made_by(str(ours.pk))
    for other in (str(theirs.pk), "nonsense", 5, None):
        assert "/dashboard/crons/" not in made_by(other)
    # The metadata of a run is anybody's.
    assert "/dashboard/crons/" not in shown(member, yard.run(metadata={"cron_id": str(ours.pk)}))


def test_a_run_links_to_the_deliveries_of_its_webhook(yard, member):
    run = yard.run(kwargs={"webhook": "https://hooks.example/in"})
    delivery = WebhookDelivery.objects.create(
        workspace=yard.workspace, run_id=run.run_id, thread_id=run.thread_id, url="https://hooks.example/in",
        host="hooks.example", endpoint_digest="x", event="run.success", body="{}", status="held",
    )  # fmt: skip
    page = shown(member, run)
    assert f"/dashboard/operations/webhooks/{delivery.delivery_id}" in page
    assert f"/dashboard/operations/webhooks?run={run.run_id}" in page
    assert "Held back" in page
