"""The one place that turns a stored status and open questions into the word, shape and tone a person sees.

The API's word alone does not tell: a run that asked a question ends with `success`, a cancelled one with
`interrupted`. Templates and views never decide; they print what they get from here.
"""

from dataclasses import dataclass

from runs.models import Run, RunStatus
from threads.models import Thread, ThreadStatus


@dataclass(frozen=True, slots=True)
class Shown:
    """A status as shown: `glyph` and `tone` name the symbol and the colour, `raw` is the value of the API."""

    word: str
    glyph: str
    tone: str
    raw: str
    detail: str = ""


QUEUED, RUNNING, WAITING, DONE = "queued", "running", "waiting", "done"
CANCELLED, FAILED, TIMED_OUT = "cancelled", "failed", "timed-out"

# What a list can be filtered by, in the order of the filter's menu.
RUN_WORDS = {
    QUEUED: "Queued",
    RUNNING: "Running",
    WAITING: "Waiting for a person",
    DONE: "Done",
    CANCELLED: "Cancelled",
    FAILED: "Failed",
    TIMED_OUT: "Timed out",
}
_LOOKS = {
    QUEUED: ("g-queued", "mute"),
    RUNNING: ("g-live", "live"),
    WAITING: ("g-you", "you"),
    DONE: ("g-ok", "ok"),
    CANCELLED: ("g-off", "mute"),
    FAILED: ("g-bad", "bad"),
    TIMED_OUT: ("g-late", "late"),
}
_RUN_KEYS = {
    RunStatus.PENDING: QUEUED,
    RunStatus.RUNNING: RUNNING,
    RunStatus.SUCCESS: DONE,
    RunStatus.ERROR: FAILED,
    RunStatus.TIMEOUT: TIMED_OUT,
    RunStatus.INTERRUPTED: CANCELLED,
}


def run_key(status: str, waits: bool) -> str:
    """The key in RUN_WORDS of a run with this stored status; `waits` says that a question of it is open."""
    if waits and status in (RunStatus.SUCCESS, RunStatus.INTERRUPTED):
        return WAITING
    return _RUN_KEYS[RunStatus(status)]


def run_shown(run: Run, waits: bool, max_attempts: int = 0) -> Shown:
    """How a run's status reads; with `max_attempts` a retrying run also says which attempt it is in."""
    key = run_key(run.status, waits)
    glyph, tone = _LOOKS[key]
    detail = ""
    if key == RUNNING and run.attempt > 1:
        detail = f"attempt {run.attempt} of {max_attempts}" if max_attempts else f"attempt {run.attempt}"
    elif key == CANCELLED and run.lease_owner:
        detail = "stopping"
    elif key == FAILED:
        detail = run.error_class
    return Shown(RUN_WORDS[key], glyph, tone, run.status, detail)


THREAD_WORDS = {
    "idle": "Idle",
    "running": "Running",
    WAITING: "Waiting for a person",
    "paused": "Paused",
    FAILED: "Failed",
}


def thread_shown(thread: Thread, waits: bool) -> Shown:
    """How a thread's status reads. One that stopped before its end without a question is paused."""
    if waits and thread.status != ThreadStatus.BUSY:
        return Shown(THREAD_WORDS[WAITING], "g-you", "you", thread.status)
    word, glyph, tone = {
        ThreadStatus.IDLE: ("Idle", "g-idle", "mute"),
        ThreadStatus.BUSY: ("Running", "g-live", "live"),
        ThreadStatus.INTERRUPTED: ("Paused", "g-paused", "mute"),
        ThreadStatus.ERROR: ("Failed", "g-bad", "bad"),
    }[ThreadStatus(thread.status)]
    return Shown(word, glyph, tone, thread.status)
