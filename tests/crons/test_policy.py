"""What is done about due times that nobody noticed in time."""

from datetime import datetime, timedelta

import pytest

from crons.policy import MISSED_ROWS, Plan, plan
from crons.schedule import parse
from tests.crons.conftest import at

FIRST = "2026-11-21T12:00:00"


def planned(now: str, policy: str = "run_once", *, schedule: str = "* * * * *", ends_at: str = "") -> Plan:
    return plan(
        parse(schedule),
        at(FIRST),
        at(now),
        ends_at=at(ends_at) if ends_at else None,
        policy=policy,
        grace=timedelta(seconds=10),
    )


def missed(found: Plan) -> list[str]:
    return [f"{one.due:%H:%M:%S}" for one in found.missed]


@pytest.mark.parametrize("policy", ["run_once", "skip"])
@pytest.mark.parametrize("now", ["2026-11-21T12:00:00", "2026-11-21T12:00:00.4", "2026-11-21T12:00:10"])
def test_a_due_time_within_the_grace_is_on_time(policy: str, now: str) -> None:
    assert planned(now, policy) == Plan(at(FIRST), "", [], at("2026-11-21T12:01:00"))


def test_one_that_is_late_is_caught_up() -> None:
    found = planned("2026-11-21T12:00:40")
    assert (found.fired, found.reason, found.missed) == (at(FIRST), "Fired 40 seconds late.", [])


def test_one_that_is_late_is_missed_where_the_policy_is_to_skip() -> None:
    found = planned("2026-11-21T12:00:40", "skip")
    assert (found.fired, missed(found)) == (None, ["12:00:00"])
    assert found.missed[0].reason == "Noticed 40 seconds late, and the cron's misfire_policy is to skip then."


def test_of_several_the_last_is_fired_for_all() -> None:
    found = planned("2026-11-21T12:02:40")
    assert (found.fired, missed(found)) == (at("2026-11-21T12:02:00"), ["12:00:00", "12:01:00"])
    assert found.reason == "Fired 40 seconds late, once for all since 2026-11-21 12:00:00 UTC."
    assert {one.reason for one in found.missed} == {
        "Noticed only when a later due time, 2026-11-21 12:02:00 UTC, had come."
    }


def test_none_of_several_is_fired_where_the_policy_is_to_skip() -> None:
    found = planned("2026-11-21T12:02:40", "skip")
    assert (found.fired, missed(found)) == (None, ["12:00:00", "12:01:00", "12:02:00"])


def test_where_the_policy_is_to_skip_the_last_of_several_may_still_be_on_time() -> None:
    found = planned("2026-11-21T12:02:05", "skip")
    assert (found.fired, found.reason, missed(found)) == (at("2026-11-21T12:02:00"), "", ["12:00:00", "12:01:00"])


def test_nothing_is_caught_up_after_the_end() -> None:
    found = planned("2026-11-21T13:00:00", ends_at="2026-11-21T12:01:30")
    assert (found.fired, missed(found)) == (None, ["12:00:00", "12:01:00"])
    assert "the cron's end_time had passed" in found.missed[0].reason


def test_a_due_time_at_the_very_end_is_fired() -> None:
    assert planned("2026-11-21T12:00:00.2", ends_at=FIRST).fired == at(FIRST)


def test_a_year_of_seconds_is_missed_in_a_bounded_number_of_rows() -> None:
    found = planned("2027-11-21T12:00:00", schedule="* * * * * *")
    assert found.fired == at("2027-11-21T12:00:00")
    assert len(found.missed) == MISSED_ROWS + 1
    assert found.missed[-1].reason.endswith("This stands for all due times before that.")


@pytest.mark.parametrize(
    ("late", "said"), [(90, "90 seconds"), (120, "2 minutes"), (7300, "2 hours"), (86400 * 12, "12 days")]
)
def test_how_late_is_said_in_round_figures(late: int, said: str) -> None:
    now: datetime = at(FIRST) + timedelta(seconds=late)
    assert planned(now.isoformat(), schedule="0 12 21 11 *").reason == f"Fired {said} late."
