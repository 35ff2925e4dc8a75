"""Numbers, times and ids as pages write them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from platform_site.console.wording import (
    ago,
    compact,
    initials,
    local_time,
    number,
    percent,
    short_id,
    size,
    took,
    whole_took,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0, "0 s"), (0.0006, "0.6 ms"), (0.31, "0.31 s"), (18.7, "18.7 s"), (182, "3 min 2 s"),
        (600, "10 min"), (7500, "2 h 5 min"), (100 * 3600, "4 d 4 h"), (-3, "0 s"),
    ],
)  # fmt: skip
def test_spans_of_time(seconds, text):
    assert took(seconds) == text


@pytest.mark.parametrize(
    ("past", "text"),
    [(0.2, "now"), (12, "12 s ago"), (360, "6 min ago"), (3 * 3600, "3 h ago"), (5 * 86400, "5 d ago"),
     (40 * 86400, "12 Oct 2026"), (-90, "in 1 min 30 s")],
)  # fmt: skip
def test_moments_are_told_from_now(past, text):
    assert ago(NOW - timedelta(seconds=past), NOW) == text


def test_numbers_have_separators_and_nothing_is_a_dash():
    assert (number(4812), number(None)) == ("4,812", "–")
    assert (percent(62, 1000), percent(0, 0)) == ("6.2 %", "–")
    assert size(212_000) == "212 kB"


@pytest.mark.parametrize(("value", "text"), [(950, ("950", "")), (8_610_000, ("8.61", "M")), (45_200, ("45.2", "k"))])
def test_large_counts_are_shortened(value, text):
    assert compact(value) == text


def test_ids_are_shortened_to_their_end():
    assert short_id("01a1fdeb-39a7-70c9-b346-ffeec4d7c853") == "c4d7c853"


def test_initials_are_of_the_first_and_the_last_name():
    assert [initials(name) for name in ("Mara Lindqvist", "admin", "a.b.c", "")] == ["ML", "A", "AC", "?"]


@pytest.mark.parametrize(("seconds", "text"), [(0.6, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (182, "3 min 2 s")])
def test_spans_of_time_in_whole_seconds(seconds, text):
    assert whole_took(seconds) == text


@pytest.mark.parametrize(
    ("moment", "seconds", "text"),
    [(datetime(2026, 11, 23, 7, 30, tzinfo=UTC), False, "Mon 23 Nov 08:30"),
     (datetime(2026, 11, 23, 7, 30, tzinfo=UTC), True, "Mon 23 Nov 08:30:00"),
     (datetime(2026, 11, 23, 7, 30, 5, tzinfo=UTC), False, "Mon 23 Nov 08:30:05"),
     (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), False, "Fri 1 Jan 2027 00:00")],
)  # fmt: skip
def test_a_moment_as_the_clock_of_a_zone_shows_it(moment, seconds, text):
    assert local_time(moment, ZoneInfo("Europe/Berlin"), seconds, NOW) == text
