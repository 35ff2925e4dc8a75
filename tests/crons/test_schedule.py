"""When schedules are due: their forms, the clock changes of zones, and what is no schedule."""

import time
from datetime import timedelta
from itertools import pairwise

import pytest

from crons.schedule import LONGEST, Schedule, ScheduleError, parse
from tests.crons.conftest import at

NEW_YORK = "America/New_York"


def due_times(schedule: Schedule, after: str, count: int) -> list[str]:
    """The next due times as the clock of the zone shows them, with its offset."""
    moment, found = at(after), []
    for _ in range(count):
        following = schedule.next_after(moment)
        assert following is not None
        moment = following
        found.append(f"{moment.astimezone(schedule.zone):%d %H:%M:%S %z}")
    return found


@pytest.mark.parametrize(
    ("expression", "after", "due"),
    [
        ("*/5 * * * *", "2026-11-21T12:03:30", "2026-11-21T12:05:00"),
        ("*/5 * * * *", "2026-11-21T12:05:00", "2026-11-21T12:10:00"),
        ("*/5 * * * *", "2026-11-21T12:04:59.999999", "2026-11-21T12:05:00"),
        ("30 8 * * mon-fri", "2026-11-21T12:00:00", "2026-11-23T08:30:00"),
        ("0 0 1 1 *", "2026-11-21T12:00:00", "2027-01-01T00:00:00"),
        ("0 0 29 2 *", "2026-11-21T12:00:00", "2028-02-29T00:00:00"),
        ("0 0 l * *", "2027-02-03T12:00:00", "2027-02-28T00:00:00"),
        ("0 12 * * fri#2", "2026-11-21T12:00:00", "2026-12-11T12:00:00"),
        ("0 0 13 * fri", "2026-11-21T12:00:00", "2026-11-27T00:00:00"),
        ("* * * * * *", "2026-11-21T12:00:00.4", "2026-11-21T12:00:01"),
        ("* * * * * 15,45", "2026-11-21T12:00:20", "2026-11-21T12:00:45"),
        ("0 12 * * * 30", "2026-11-21T12:00:00", "2026-11-21T12:00:30"),
        ("@hourly", "2026-11-21T12:00:00", "2026-11-21T13:00:00"),
        ("@daily", "2026-11-21T12:00:00", "2026-11-22T00:00:00"),
        ("@midnight", "2026-11-21T12:00:00", "2026-11-22T00:00:00"),
        ("@weekly", "2026-11-21T12:00:00", "2026-11-22T00:00:00"),
        ("@monthly", "2026-11-21T12:00:00", "2026-12-01T00:00:00"),
        ("@yearly", "2026-11-21T12:00:00", "2027-01-01T00:00:00"),
        ("@ANNUALLY", "2026-11-21T12:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_the_next_due_time_is_after_the_moment_at_a_whole_second(expression: str, after: str, due: str) -> None:
    assert parse(expression).next_after(at(after)) == at(due)


def test_a_schedule_is_read_in_its_zone_and_due_in_utc() -> None:
    due = parse("0 0 1 1 *", NEW_YORK).next_after(at("2026-11-21T12:00:00"))
    assert due is not None
    assert due.isoformat() == "2027-01-01T05:00:00+00:00"


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        # The clock jumps from 02:00 to 03:00 on the 14th.
        ("30 2 * * *", ["13 02:30:00 -0500", "14 03:00:00 -0400", "15 02:30:00 -0400"]),
        ("15,45 2 * * *", ["13 02:15:00 -0500", "13 02:45:00 -0500", "14 03:00:00 -0400", "15 02:15:00 -0400"]),
        ("0 2,3 * * *", ["13 02:00:00 -0500", "13 03:00:00 -0500", "14 03:00:00 -0400", "15 02:00:00 -0400"]),
        ("0 3 * * *", ["13 03:00:00 -0500", "14 03:00:00 -0400", "15 03:00:00 -0400"]),
        ("0 */2 14 * *", ["14 00:00:00 -0500", "14 03:00:00 -0400", "14 04:00:00 -0400", "14 06:00:00 -0400"]),
    ],
)
def test_a_time_of_day_that_spring_jumps_over_is_due_at_the_jump(expression: str, due: list[str]) -> None:
    assert due_times(parse(expression, NEW_YORK), "2027-03-13T01:00:00-05:00", len(due)) == due


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        # The clock goes back from 02:00 to 01:00 on the 7th.
        ("30 1 * * *", ["07 01:30:00 -0400", "08 01:30:00 -0500", "09 01:30:00 -0500"]),
        ("0,30 1 * * *", ["07 01:00:00 -0400", "07 01:30:00 -0400", "08 01:00:00 -0500"]),
        ("0 2 * * *", ["07 02:00:00 -0500", "08 02:00:00 -0500"]),
    ],
)
def test_a_time_of_day_that_autumn_shows_twice_is_due_the_first_time(expression: str, due: list[str]) -> None:
    assert due_times(parse(expression, NEW_YORK), "2027-11-06T20:00:00-04:00", len(due)) == due


def test_a_time_of_day_is_not_due_again_for_who_asks_in_the_second_hour() -> None:
    assert due_times(parse("30 1 * * *", NEW_YORK), "2027-11-07T01:10:00-05:00", 1) == ["08 01:30:00 -0500"]


def test_an_hourly_schedule_goes_on_in_spring() -> None:
    due = ["14 00:30:00 -0500", "14 01:30:00 -0500", "14 03:30:00 -0400", "14 04:30:00 -0400"]
    assert due_times(parse("30 * * * *", NEW_YORK), "2027-03-14T00:00:00-05:00", 4) == due


def test_an_hourly_schedule_goes_on_in_autumn() -> None:
    due = ["07 00:30:00 -0400", "07 01:30:00 -0400", "07 01:30:00 -0500", "07 02:30:00 -0500"]
    assert due_times(parse("30 * * * *", NEW_YORK), "2027-11-07T00:00:00-04:00", 4) == due


@pytest.mark.parametrize(
    ("expression", "zone", "start", "step"),
    [
        ("*/20 * * * *", NEW_YORK, "2027-03-14T05:00:00", 1200),
        ("*/20 * * * *", NEW_YORK, "2027-11-07T03:00:00", 1200),
        ("* * * * *", "Europe/Berlin", "2027-03-27T23:30:00", 60),
        ("* * * * *", "Europe/Berlin", "2027-10-30T23:30:00", 60),
        # Half an hour of summer time.
        ("*/15 * * * *", "Australia/Lord_Howe", "2027-04-03T12:00:00", 900),
        ("*/15 * * * *", "Australia/Lord_Howe", "2027-10-02T12:00:00", 900),
        # At midnight: the first minutes of a day are jumped over, the last of it shown twice.
        ("*/10 * * * *", "America/Havana", "2027-03-14T03:00:00", 600),
        ("*/10 * * * *", "America/Havana", "2027-11-07T03:00:00", 600),
        ("* * * * * */30", NEW_YORK, "2027-11-07T05:30:00", 30),
    ],
)
def test_short_intervals_are_even_through_every_change(expression: str, zone: str, start: str, step: int) -> None:
    schedule, moment = parse(expression, zone), at(start)
    found = [moment]
    for _ in range(300):
        following = schedule.next_after(found[-1])
        assert following is not None
        found.append(following)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(seconds=step)}


def test_the_hour_that_is_shown_twice_may_end_a_day() -> None:
    # Havana goes from 01:00 back to 00:00: of the day that is asked for, only that hour comes once more.
    schedule = parse("45 * 7 11 *", "America/Havana")
    assert due_times(schedule, "2027-11-07T00:50:00-04:00", 2) == ["07 00:45:00 -0500", "07 01:45:00 -0500"]


def test_the_last_due_time_until_a_moment() -> None:
    schedule, first = parse("* 0-20 * * *"), at("2020-01-01T00:00:00")
    assert schedule.last_until(first, at("2026-11-21T22:00:30")) == at("2026-11-21T20:59:00")
    assert schedule.last_until(first, at("2026-11-21T20:59:00")) == at("2026-11-21T20:59:00")
    assert schedule.last_until(first, first) == first


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "bad",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * * 60",
        "*/0 * * * *",
        "a b c d e",
        "-1 * * * *",
        "1-2-3 * * * *",
        "\x00 * * * *",
        "０ * * * *",
        "@reboot",
        "@daily @daily",
        "r * * * *",
        "h(0-5) * * * *",
        "R/5 * * * *",
        "* " * 300,
        "1," * 50_000 + "1 * * * *",
        "9" * 5000 + " * * * *",
    ],
)
def test_what_is_no_schedule_is_refused_with_a_reason(expression: str) -> None:
    with pytest.raises(ScheduleError, match=r"(?s)^Invalid cron schedule: '.*'. Reason: .+") as refused:
        parse(expression)
    assert len(str(refused.value)) < 2 * LONGEST


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30 2 mon#5", "* * 31 2 * *"])
def test_a_schedule_that_is_never_due_is_refused_at_once(expression: str) -> None:
    begin = time.process_time()
    with pytest.raises(ScheduleError, match="it is never due"):
        parse(expression)
    # Not a second of work, on a machine of any kind.
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    "zone", ["", "Mars/X", "utc+1", "../etc/passwd", "/etc/localtime", "localtime", "a" * 5000, "\x00"]
)
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(ScheduleError, match=r"(?s)^Invalid timezone: '.*'. Use IANA timezone format"):
        parse("* * * * *", zone)
