"""The status words: worked out in one place from what is stored and what is open."""

import pytest

from runs.models import Run, RunStatus
from runs.status import run_key, run_shown, thread_shown
from threads.models import Thread, ThreadStatus


@pytest.mark.parametrize(
    ("stored", "waits", "word"),
    [
        (RunStatus.PENDING, False, "Queued"),
        (RunStatus.RUNNING, False, "Running"),
        (RunStatus.SUCCESS, False, "Done"),
        (RunStatus.SUCCESS, True, "Waiting for a person"),
        (RunStatus.INTERRUPTED, True, "Waiting for a person"),
        (RunStatus.INTERRUPTED, False, "Cancelled"),
        (RunStatus.ERROR, False, "Failed"),
        (RunStatus.ERROR, True, "Failed"),
        (RunStatus.TIMEOUT, False, "Timed out"),
    ],
)
def test_a_run_reads_by_its_status_and_its_open_questions(stored, waits, word):
    assert run_shown(Run(status=stored), waits).word == word


def test_the_stored_value_stays_visible():
    assert run_shown(Run(status=RunStatus.SUCCESS), waits=True).raw == "success"


def test_a_retrying_run_says_which_attempt_it_is_in():
    assert run_shown(Run(status=RunStatus.RUNNING, attempt=2), False, max_attempts=3).detail == "attempt 2 of 3"
    assert run_shown(Run(status=RunStatus.RUNNING, attempt=1), False, max_attempts=3).detail == ""


def test_a_failed_run_names_its_error():
    assert run_shown(Run(status=RunStatus.ERROR, error_class="RateLimitError"), False).detail == "RateLimitError"


def test_a_cancelled_run_whose_attempt_still_holds_it_is_stopping():
    assert run_shown(Run(status=RunStatus.INTERRUPTED, lease_owner="worker/1"), False).detail == "stopping"


def test_every_stored_status_has_a_word():
    assert {run_key(status, False) for status in RunStatus} == {
        "queued", "running", "done", "failed", "timed-out", "cancelled",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "waits", "word"),
    [
        (ThreadStatus.IDLE, False, "Idle"),
        (ThreadStatus.BUSY, False, "Running"),
        (ThreadStatus.BUSY, True, "Running"),
        (ThreadStatus.INTERRUPTED, True, "Waiting for a person"),
        (ThreadStatus.INTERRUPTED, False, "Paused"),
        (ThreadStatus.ERROR, False, "Failed"),
    ],
)
def test_a_thread_reads_by_its_status_and_its_open_questions(stored, waits, word):
    assert thread_shown(Thread(status=stored), waits).word == word
