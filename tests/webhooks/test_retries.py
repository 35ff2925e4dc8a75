"""When a webhook that failed is sent again."""

from datetime import timedelta

import pytest

from platform_site.webhooks.retries import Verdict, next_attempt, reason, retry_after, verdict
from tests.webhooks.conftest import moment

START = moment("2026-11-21T12:00:00")


def attempts_of(dice: float) -> list[float]:
    """Seconds from the first attempt to each of the others, if all fail."""
    now = START
    found: list[float] = []
    while True:
        following = next_attempt(now, failures=len(found) + 1, failing_since=START, dice=dice)
        if following is None:
            return found
        now = following
        found.append((now - START).total_seconds())


def test_pauses_grow_until_the_day_is_over():
    assert attempts_of(0.5) == [5, 25, 105, 425, 1705, 6825, 27305, 48905, 70505, 86400]


def test_pauses_differ_by_a_fifth_at_most():
    assert attempts_of(0)[0] == 4
    assert attempts_of(1)[0] == 6
    assert 10 <= len(attempts_of(1)) <= len(attempts_of(0)) <= 12


def test_jitter_spreads_those_that_failed_together():
    moments = {next_attempt(START, failures=3, failing_since=START) for _ in range(50)}
    assert len(moments) > 25


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Verdict.DELIVERED), (204, Verdict.DELIVERED), (299, Verdict.DELIVERED),
        (301, Verdict.RETRY), (307, Verdict.RETRY), (400, Verdict.RETRY), (404, Verdict.RETRY), (429, Verdict.RETRY),
        (500, Verdict.RETRY), (None, Verdict.RETRY), (410, Verdict.STOP),
    ],
)  # fmt: skip
def test_what_an_answer_means(status, expected):
    assert verdict(status) is expected


def test_redirect_says_that_it_was_not_followed():
    assert reason(302) == "The receiver answered 302, a redirect; redirects are never followed."


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "120", 120),
        (503, "Sat, 21 Nov 2026 12:10:00 GMT", 600),
        (503, "999999999999", 6 * 3600),
        (503, "Sat, 21 Nov 2020 12:10:00 GMT", 0),
        (500, "120", 0),
        (429, None, 0),
        (429, "soon", 0),
        (429, "-5", 0),
        (429, "1e400", 0),
        (429, "²", 0),
        (429, "9" * 400, 6 * 3600),
    ],
)
def test_patience_that_a_receiver_asks_for(status, value, seconds):
    assert retry_after(status, value, START) == timedelta(seconds=seconds)


def test_patience_makes_a_pause_longer_and_never_shorter():
    def pause(patience: int) -> float:
        following = next_attempt(START, failures=1, failing_since=START, patience=timedelta(seconds=patience), dice=0.5)
        assert following is not None
        return (following - START).total_seconds()

    assert (pause(0), pause(1), pause(600)) == (5, 5, 600)


def test_last_attempt_comes_when_the_day_is_over_whatever_is_asked_for():
    late = START + timedelta(hours=23)
    assert next_attempt(late, failures=9, failing_since=START, patience=timedelta(hours=5)) == START + timedelta(days=1)
