"""The scheduler on a clock that the tests set: exactly the runs that schedule and policies say, whoever makes them."""

import random
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.db.models import Count

from assistants.schemas import AssistantPatch
from assistants.services import assistant_patch
from crons import scheduler as module
from crons import services
from crons.models import Cron, CronTick
from crons.schedule import parse
from crons.scheduler import Scheduler, fire
from crons.schemas import CronPatch
from platform_site.access.models import Workspace
from platform_site.access.principal import Principal, Role
from platform_site.core.database.access import in_db
from platform_site.core.errors import NotFound
from runs.models import Run, RunStatus
from runs.services import CreatedRun
from tests.crons.conftest import at, create, fired, history, new_thread, runs_of, ticks
from threads.models import Thread

NOON = "2026-11-21T12:00:00"


async def fire_at(*moments: str, by: Scheduler | None = None) -> list[int]:
    """How many runs were made at each of these moments."""
    by = by or Scheduler()
    return [await by.fire_due(at(moment)) for moment in moments]


async def test_a_due_time_has_one_run(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON, metadata={"a": 1})
    assert await fire_at("2026-11-21T11:59:59.9", NOON, "2026-11-21T12:00:00.5", "2026-11-21T12:01:00") == [0, 1, 0, 1]
    assert await in_db(history, cron) == fired(["12:00:00", "12:01:00"])
    made, recorded = await in_db(runs_of, cron), await in_db(ticks, cron)
    assert [(tick.run_id, tick.thread_id, tick.reason) for tick in recorded] == [
        (run.run_id, run.thread_id, "") for run in made
    ]


async def test_the_run_is_what_the_cron_asks_for(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON, metadata={"a": 1}, context={"tone": "warm"})
    await fire_at(NOON)
    [run] = await in_db(runs_of, cron)
    assert run.metadata["a"] == 1
    assert run.metadata["cron_id"] == str(cron.cron_id)
    assert run.kwargs["config"]["configurable"]["cron_id"] == str(cron.cron_id)
    assert run.kwargs["context"] == {"tone": "warm"}
    assert (run.workspace_id, run.assistant_id) == (cron.workspace_id, cron.assistant_id)


async def test_the_run_is_made_with_the_assistant_as_the_workspace_has_changed_it_since(principal: Principal) -> None:
    stranger = Principal((await in_db(Workspace.objects.create, slug="other")).pk)
    ours, theirs = [await in_db(create, who, due=NOON, on_run_completed="keep") for who in (principal, stranger)]
    await in_db(assistant_patch, principal, ours.assistant_id, AssistantPatch(context={"tone": "dry"}))
    assert await fire_at(NOON) == [2]
    [own], [foreign] = await in_db(runs_of, ours), await in_db(runs_of, theirs)
    assert (own.kwargs["context"], foreign.kwargs["context"]) == ({"tone": "dry"}, {})
    assert own.assistant_id == foreign.assistant_id == ours.assistant_id


async def test_the_run_belongs_to_whoever_made_the_cron(principal: Principal) -> None:
    user = {"identity": "sy_abc", "team": "blue"}
    ann = Principal(principal.workspace_id, Role.MEMBER, "sy_abc", "Ann", ("crons:write",), user)
    cron = await in_db(create, ann, due=NOON)
    await fire_at(NOON)
    [run] = await in_db(runs_of, cron)
    configurable = run.kwargs["config"]["configurable"]
    assert (cron.user_id, configurable["user_id"]) == ("sy_abc", "sy_abc")
    assert configurable["langgraph_auth_user"] == user
    assert configurable["langgraph_auth_permissions"] == ["crons:write"]
    assert services.owner_of(cron) == ann


@pytest.mark.parametrize(("wanted", "temporary"), [("delete", True), ("keep", False)])
async def test_a_stateless_run_goes_with_its_thread_unless_it_is_kept(
    principal: Principal, wanted: str, temporary: bool
) -> None:
    cron = await in_db(create, principal, due=NOON, on_run_completed=wanted)
    await fire_at(NOON)
    [run] = await in_db(runs_of, cron)
    assert run.kwargs["temporary"] is temporary
    assert await in_db(lambda: Thread.objects.get(pk=run.thread_id).ephemeral) is temporary


async def test_a_thousand_due_times_and_three_schedulers(principal: Principal) -> None:
    """Each of them comes late or twice, in any order; every due time has its one run."""
    thread = await in_db(new_thread, principal)
    cron = await in_db(create, principal, "* * * * * */10", thread=thread, due=NOON)
    dice, schedulers = random.Random(4), [Scheduler() for _ in range(3)]
    for index in range(1000):
        moment = at(NOON) + timedelta(seconds=10 * index)
        for scheduler in dice.sample(schedulers, dice.randint(1, 3)):
            moment += timedelta(milliseconds=dice.randint(0, 900))
            await scheduler.fire_due(moment)
    recorded = await in_db(ticks, cron)
    assert [tick.due_at for tick in recorded] == [at(NOON) + timedelta(seconds=10 * index) for index in range(1000)]
    assert {tick.outcome for tick in recorded} == {"fired"}
    assert len({tick.run_id for tick in recorded}) == 1000
    assert await in_db(Run.objects.filter(thread_id=thread).count) == 1000


async def test_of_schedulers_that_have_seen_the_same_due_time_one_makes_the_run(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON)
    outcomes = [await in_db(fire, cron, at(NOON)) for _ in range(3)]
    assert outcomes == ["fired", None, None]
    assert len(await in_db(runs_of, cron)) == 1


@pytest.mark.parametrize(
    ("schedule", "start", "expected"),
    [
        ("30 2 * * *", "2027-03-13T01:00:00-05:00", ["13 07:30", "14 07:00", "15 06:30"]),
        ("30 1 * * *", "2027-11-06T01:00:00-04:00", ["06 05:30", "07 05:30", "08 06:30"]),
        ("0 */8 * * *", "2027-03-13T22:00:00-05:00", ["14 05:00", "14 12:00", "14 20:00", "15 04:00"]),
    ],
)
async def test_both_changes_of_the_clock(principal: Principal, schedule: str, start: str, expected: list[str]) -> None:
    first = parse(schedule, "America/New_York").next_after(at(start))
    assert first is not None
    cron = await in_db(create, principal, schedule, timezone="America/New_York", due=first.isoformat())
    scheduler, moment = Scheduler(), at(start)
    while len(recorded := await in_db(ticks, cron)) < len(expected):
        moment += timedelta(minutes=5)
        await scheduler.fire_due(moment)
    assert [(f"{tick.due_at:%d %H:%M}", tick.outcome) for tick in recorded] == [(due, "fired") for due in expected]


@pytest.mark.parametrize("start", ["2027-03-14T06:00:00", "2027-11-07T04:00:00"])
async def test_every_ten_minutes_goes_on_through_both_changes(principal: Principal, start: str) -> None:
    cron = await in_db(create, principal, "*/10 * * * *", timezone="America/New_York", due=start)
    scheduler = Scheduler()
    for index in range(24):
        await scheduler.fire_due(at(start) + timedelta(minutes=10 * index))
    recorded = await in_db(ticks, cron)
    assert [tick.due_at for tick in recorded] == [at(start) + timedelta(minutes=10 * index) for index in range(24)]
    assert {tick.outcome for tick in recorded} == {"fired"}


async def test_after_a_downtime_of_three_due_times_one_run_catches_up(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON)
    await fire_at(NOON, "2026-11-21T12:03:30", "2026-11-21T12:04:00")
    assert await in_db(history, cron) == [
        ("12:00:00", "fired"),
        ("12:01:00", "missed"),
        ("12:02:00", "missed"),
        ("12:03:00", "fired"),
        ("12:04:00", "fired"),
    ]
    assert len(await in_db(runs_of, cron)) == 3
    caught_up = (await in_db(ticks, cron))[3]
    assert caught_up.reason == "Fired 30 seconds late, once for all since 2026-11-21 12:01:00 UTC."


async def test_after_a_downtime_a_cron_that_skips_has_no_run(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON, misfire_policy="skip")
    await fire_at(NOON, "2026-11-21T12:03:30", "2026-11-21T12:04:00")
    assert await in_db(history, cron) == [
        ("12:00:00", "fired"),
        ("12:01:00", "missed"),
        ("12:02:00", "missed"),
        ("12:03:00", "missed"),
        ("12:04:00", "fired"),
    ]
    assert len(await in_db(runs_of, cron)) == 2


async def test_a_clock_that_is_set_forward_is_a_downtime(principal: Principal) -> None:
    cron = await in_db(create, principal, "0 * * * *", due=NOON)
    made = await fire_at(NOON, "2026-11-21T15:30:00", "2026-11-21T16:00:00", by=Scheduler())
    assert made == [1, 1, 1]
    outcomes = [outcome for _, outcome in await in_db(history, cron)]
    assert outcomes == ["fired", "missed", "missed", "fired", "fired"]


async def test_a_clock_that_is_set_back_fires_nothing_twice(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON)
    scheduler = Scheduler()
    minutes = [f"2026-11-21T12:0{minute}:00" for minute in range(6)]
    assert await fire_at(*minutes, by=scheduler) == [1] * 6
    # The clock shows 12:02:30 to 12:06 again.
    again = ["2026-11-21T12:02:30", *minutes[3:], "2026-11-21T12:06:00"]
    assert await fire_at(*again, by=scheduler) == [0, 0, 0, 0, 1]
    assert await in_db(history, cron) == fired(f"12:0{minute}:00" for minute in range(7))


async def test_a_clock_that_was_years_ahead_does_not_silence_a_cron(principal: Principal) -> None:
    cron = await in_db(create, principal, "0 12 * * *", due=NOON, end_time="2031-01-01T00:00:00Z")
    ended = await in_db(create, principal, "0 12 * * *", due=NOON, end_time="2028-01-01T00:00:00Z")
    scheduler = Scheduler()
    await fire_at(NOON, "2030-05-05T12:00:01", by=scheduler)
    assert await fire_at("2026-11-22T11:00:00", "2026-11-22T12:00:00", by=scheduler) == [0, 2]
    for one in (cron, ended):
        assert f"{(await in_db(ticks, one))[1].due_at:%Y-%m-%d}" == "2026-11-22"


async def test_a_clock_that_was_set_back_while_no_server_ran_is_noticed_at_the_start(principal: Principal) -> None:
    await in_db(create, principal, "0 12 * * *", due="2030-05-06T12:00:00")
    assert await fire_at("2026-11-22T11:00:00", "2026-11-22T12:00:00", by=Scheduler()) == [0, 1]


async def test_what_is_due_does_not_wait_until_all_others_have_been_looked_at(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REALIGNED", 2)
    for _ in range(3):
        await in_db(create, principal, "0 12 * * *", due="2030-05-06T12:00:00")
    due = await in_db(create, principal, due=NOON)
    scheduler = Scheduler()
    assert await fire_at(NOON, by=scheduler) == [1]
    assert await in_db(Cron.objects.filter(next_run_date__year=2030).count) > 0
    await fire_at("2026-11-21T12:00:01", "2026-11-21T12:00:02", by=scheduler)
    assert await in_db(Cron.objects.filter(next_run_date__year=2030).count) == 0
    assert await in_db(history, due) == fired(["12:00:00"])
    assert await fire_at("2026-11-22T12:00:00", by=scheduler) == [4]


async def test_while_the_last_run_is_going_a_due_time_is_skipped_if_the_policy_says_so(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON, overlap_policy="skip", on_run_completed="keep")
    await fire_at(NOON, "2026-11-21T12:01:00")
    [run] = await in_db(runs_of, cron)
    await in_db(Run.objects.filter(pk=run.pk).update, status=RunStatus.RUNNING)
    await fire_at("2026-11-21T12:02:00")
    await in_db(Run.objects.filter(pk=run.pk).update, status=RunStatus.ERROR)
    await fire_at("2026-11-21T12:03:00")
    assert [outcome for _, outcome in await in_db(history, cron)] == ["fired", "skipped", "skipped", "fired"]
    reason = (await in_db(ticks, cron))[1].reason
    assert reason == f"The cron's last run, {run.run_id}, is still going, and its overlap_policy is to skip."


async def test_a_run_that_is_gone_is_not_going(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON, overlap_policy="skip")
    await fire_at(NOON)
    await in_db(Run.objects.all().delete)
    assert await fire_at("2026-11-21T12:01:00") == [1]
    assert await in_db(history, cron) == fired(["12:00:00", "12:01:00"])


async def test_runs_overlap_unless_the_policy_says_otherwise(principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    cron = await in_db(create, principal, thread=thread, due=NOON)
    await fire_at(NOON, "2026-11-21T12:01:00")
    assert [run.status for run in await in_db(runs_of, cron)] == ["pending", "pending"]


async def test_after_its_end_a_cron_is_not_due(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON, end_time="2026-11-21T12:01:30Z")
    made = await fire_at(NOON, "2026-11-21T12:01:00", "2026-11-21T12:02:00", "2026-11-22T00:00:00")
    assert made == [1, 1, 0, 0]
    assert await in_db(history, cron) == fired(["12:00:00", "12:01:00"])
    assert (await in_db(Cron.objects.get, pk=cron.pk)).next_run_date is None


async def test_what_was_missed_before_the_end_is_not_caught_up_after_it(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON, end_time="2026-11-21T12:01:30Z")
    assert await fire_at("2026-11-21T13:00:00") == [0]
    assert await in_db(history, cron) == [("12:00:00", "missed"), ("12:01:00", "missed")]


async def test_a_paused_cron_is_not_due_and_catches_nothing_up(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON)
    await in_db(services.cron_pause, principal, cron.cron_id)
    assert await fire_at(NOON, "2026-11-21T12:01:00") == [0, 0]
    await in_db(services.cron_resume, principal, cron.cron_id)
    resumed = await in_db(Cron.objects.get, pk=cron.pk)
    assert resumed.enabled
    assert resumed.next_run_date is not None
    assert resumed.next_run_date > resumed.updated_at
    assert await in_db(history, cron) == []


async def test_a_refused_run_is_a_skipped_due_time_and_the_schedule_goes_on(principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    cron = await in_db(create, principal, thread=thread, due=NOON, multitask_strategy="reject")
    assert await fire_at(NOON, "2026-11-21T12:01:00") == [1, 0]
    await in_db(Run.objects.update, status=RunStatus.SUCCESS)
    assert await fire_at("2026-11-21T12:02:00") == [1]
    assert [outcome for _, outcome in await in_db(history, cron)] == ["fired", "skipped", "fired"]
    reason = (await in_db(ticks, cron))[1].reason
    assert reason.startswith("The run was refused: Thread is already running a task.")


async def test_a_cron_whose_thread_has_vanished_is_disabled_and_says_why(principal: Principal) -> None:
    thread = await in_db(new_thread, principal)
    cron = await in_db(create, principal, thread=thread, due=NOON)
    # As a stateless run's own thread goes.
    await in_db(Thread.objects.filter(pk=thread)._raw_delete, "default")
    assert await fire_at(NOON, "2026-11-21T12:01:00") == [0, 0]
    [tick] = await in_db(ticks, cron)
    assert (tick.outcome, tick.run_id) == ("skipped", None)
    assert tick.reason == "The run was refused: Thread or assistant not found. The cron is disabled."
    assert not (await in_db(Cron.objects.get, pk=cron.pk)).enabled


async def test_a_cron_whose_schedule_cannot_be_read_any_more_is_disabled_and_says_why(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON)
    await in_db(Cron.objects.filter(pk=cron.pk).update, timezone="Mars/X")
    assert await fire_at(NOON) == [0]
    [tick] = await in_db(ticks, cron)
    assert tick.reason.startswith("Invalid timezone: 'Mars/X'.")
    assert not (await in_db(Cron.objects.get, pk=cron.pk)).enabled


def break_cron(monkeypatch: pytest.MonkeyPatch, broken: Cron, error: Exception) -> None:
    """Making a run of this cron fails."""

    def make(cron: Cron) -> CreatedRun:
        if cron.pk == broken.pk:
            raise error
        return services.run_make(cron)

    monkeypatch.setattr(module, "run_make", make)


async def test_a_broken_cron_holds_up_no_other(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    crons = [await in_db(create, principal, due=NOON) for _ in range(3)]
    break_cron(monkeypatch, crons[1], ZeroDivisionError("by itself"))
    assert await fire_at(NOON) == [2]
    [tick] = await in_db(ticks, crons[1])
    assert (tick.outcome, tick.reason) == ("skipped", "It could not be fired: ZeroDivisionError: by itself")
    # It goes on, too.
    assert await fire_at("2026-11-21T12:01:00") == [2]
    assert len(await in_db(ticks, crons[1])) == 2


async def test_what_the_database_cannot_do_is_done_in_the_next_round(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    crons = [await in_db(create, principal, due=NOON) for _ in range(3)]
    with monkeypatch.context() as patched:
        break_cron(patched, crons[0], OperationalError("disk is full"))
        with pytest.raises(OperationalError, match="disk is full"):
            await fire_at(NOON)
    assert [len(await in_db(ticks, cron)) for cron in crons] == [0, 1, 1]
    # It is still due.
    assert await fire_at("2026-11-21T12:00:02") == [1]


async def test_more_crons_than_are_fired_together(principal: Principal) -> None:
    count = module.BATCH * 2 + 3
    for _ in range(count):
        await in_db(create, principal, due=NOON)
    assert await fire_at(NOON) == [count]
    per_cron = await in_db(
        lambda: list(CronTick.objects.values("cron").annotate(n=Count("pk")).values_list("n", flat=True))
    )
    assert per_cron == [1] * count


async def test_a_cron_that_changes_at_its_due_time_is_fired_as_it_is_now(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON)
    stale = await in_db(Cron.objects.get, pk=cron.pk)
    await in_db(services.cron_patch, principal, cron.cron_id, CronPatch(metadata={"new": 1}))
    assert not await in_db(module._take, stale, None)
    await fire_at(NOON)
    [run] = await in_db(runs_of, cron)
    assert run.metadata["new"] == 1


async def test_a_round_ends_with_the_time_until_the_next_due_time(principal: Principal) -> None:
    assert await Scheduler().round() is None
    await in_db(create, principal, "* * * * * *")
    pause = await Scheduler().round()
    assert pause is not None
    assert 0 <= pause <= 1


async def test_run_now_leaves_the_due_times_as_they_are(principal: Principal) -> None:
    cron = await in_db(create, principal, due=NOON)
    made = await in_db(services.cron_run_now, principal, cron.cron_id)
    [tick] = await in_db(ticks, cron)
    assert (tick.run_id, tick.reason) == (made.run_id, "Run by hand, by somebody without a name.")
    assert (await in_db(Cron.objects.get, pk=cron.pk)).next_run_date == at(NOON)
    with pytest.raises(NotFound):
        await in_db(services.cron_run_now, principal, uuid4())
