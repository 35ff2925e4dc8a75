"""The overview: is it well, and what wants me."""

import math
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from assistants.models import Assistant
from platform_site.access.principal import Principal
from platform_site.console.statistics import bucket_seconds, figures
from runs.models import RunStatistic, RunStatus, Worker
from tests.console.conftest import HOSTILE, Yard


def bucket(seconds: float) -> int:
    return round(4 * math.log2(seconds * 1000 + 1))


def statistic(
    yard: Yard,
    assistant: Assistant,
    minutes_ago: float = 1.0,
    runs: int = 1,
    wait: float = 0.1,
    time: float = 2.0,
    **fields: Any,
) -> RunStatistic:
    minute = (yard.now - timedelta(minutes=minutes_ago)).replace(second=0, microsecond=0)
    return RunStatistic.objects.create(
        workspace=yard.workspace, assistant_id=assistant.assistant_id, minute=minute, runs=runs,
        wait_bucket=bucket(wait), run_bucket=bucket(time), **{"status": RunStatus.SUCCESS, **fields},
    )  # fmt: skip


def test_an_empty_yard_says_what_belongs_here(member):
    page = member.get("/dashboard/").content.decode()
    assert "Nobody is waited for" in page
    assert "No runs yet" in page


def test_open_questions_come_first_the_oldest_on_top(yard, member):
    for minutes, title in ((5, "Younger"), (200, "Older")):
        run = yard.run(yard.thread(title))
        yard.question(run, created_at=yard.now - timedelta(minutes=minutes))
    page = member.get("/dashboard/").content.decode()
    assert page.index("Older") < page.index("Younger")
    assert "3 h 20 min" in page
    assert 'class="item item-old"' in page


def test_questions_runs_and_figures_of_others_are_not_shown(elsewhere, yard, member):
    elsewhere.question(elsewhere.run(elsewhere.thread("Not yours")))
    statistic(elsewhere, elsewhere.assistant(), runs=77, status=RunStatus.ERROR, error_class="TheirError")
    page = member.get("/dashboard/").content.decode()
    assert "Not yours" not in page
    assert "TheirError" not in page


@pytest.mark.parametrize("name", ["1h", "6h", "24h", "7d", "nonsense"])
def test_each_range_has_its_figures(yard, member, name):
    statistic(yard, yard.assistant("Refund agent"), runs=12, input_tokens=1000, output_tokens=500)
    page = member.get("/dashboard/", {"range": name}).content.decode()
    assert "Refund agent" in page
    assert "12 in" in page


def test_a_few_runs_in_a_day_are_not_shown_as_none_a_minute(yard, member):
    statistic(yard, yard.assistant(), runs=6)
    page = member.get("/dashboard/", {"range": "24h"}).content.decode()
    assert '<div class="stat-fig">&lt;0.01</div>' in page


def test_figures_are_counted_in_their_time(yard):
    helper = yard.assistant()
    for minutes, runs in ((1, 3), (45, 5), (70, 100)):
        statistic(yard, helper, minutes, runs, wait=minutes / 100)
    found = figures(Principal(yard.workspace.pk), "1h")
    assert found.total.runs == 8
    assert sum(point.runs for point in found.points) == 8
    assert max(found.rates) == 5


def test_percentiles_are_within_a_fifth(yard):
    helper = yard.assistant()
    statistic(yard, helper, runs=90, time=1.0)
    statistic(yard, helper, minutes_ago=2, runs=10, time=20.0)
    total = figures(Principal(yard.workspace.pk), "1h").total
    assert total.time(0.5) == pytest.approx(1.0, rel=0.2)
    assert total.time(0.95) == pytest.approx(20.0, rel=0.2)
    assert bucket_seconds(0) == 0


def test_one_assistant_can_be_looked_at_alone(yard, member):
    one, other = yard.assistant("One"), yard.assistant("Other")
    statistic(yard, one, runs=3)
    statistic(yard, other, runs=4)
    page = member.get("/dashboard/", {"assistant": str(one.assistant_id)}).content.decode()
    assert "3 in 24 hours" in page


def test_errors_are_counted_by_class_and_lead_to_their_runs(yard, member):
    helper = yard.assistant()
    statistic(yard, helper, runs=20)
    statistic(yard, helper, runs=6, status=RunStatus.ERROR, error_class="Rate<Limit>Error")
    statistic(yard, helper, runs=1, status=RunStatus.TIMEOUT)
    page = member.get("/dashboard/").content.decode()
    assert "7 of 27 runs" in page
    assert "?error=Rate%3CLimit%3EError" in page
    assert "Rate&lt;Limit&gt;Error" in page
    assert "?status=timed-out" in page


def test_a_queue_that_nobody_serves_is_told(yard, member):
    yard.run(status=RunStatus.PENDING, created_at=yard.now - timedelta(minutes=5))
    page = member.get("/dashboard/").content.decode()
    assert "1 waiting, oldest 5 min" in page
    assert "All healthy" not in page


def test_a_run_whose_worker_is_gone_is_told(yard, member):
    for name, alive_until in (
        ("gone", yard.now - timedelta(seconds=60)),
        ("here", timezone.now() + timedelta(hours=1)),
    ):
        Worker.objects.create(name=name, started_at=yard.now, alive_until=alive_until)
        yard.run(status=RunStatus.RUNNING, lease_owner=f"{name}/1", worker=name)
    assert "1 of 2 running lost their worker" in member.get("/dashboard/").content.decode()


def test_a_run_for_later_does_not_wait_yet(yard, member):
    yard.run(status=RunStatus.PENDING, scheduled_at=yard.now + timedelta(hours=1))
    assert "Nothing waits" in member.get("/dashboard/").content.decode()


def test_titles_are_escaped(yard, member):
    yard.question(yard.run(yard.thread(HOSTILE), assistant=yard.assistant(HOSTILE)))
    page = member.get("/dashboard/").content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_more_rows_do_not_mean_more_queries(yard, member, django_assert_max_num_queries):
    for number in range(12):
        helper = yard.assistant(f"Helper {number}")
        statistic(yard, helper, number, status=RunStatus.ERROR, error_class=f"Error{number}")
        yard.question(yard.run(assistant=helper))
    with django_assert_max_num_queries(10):
        member.get("/dashboard/")
