"""How an attempt may end its run, and what is kept of that (`finish.py` writes it)."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings

from platform_site.core.error_texts import full_text, run_error
from platform_site.core.serialization.packing import ValueNotStorable
from platform_site.core.serialization.serializer import Losses, told_losses
from runs.models import CancelAction, RunSpan, RunStatus
from threads.head import Head

CANCEL_ERRORS = {
    CancelAction.INTERRUPT: "UserInterrupt",
    CancelAction.ROLLBACK: "UserRollback",
}


@dataclass
class Ending:
    """How a run ended, and what is kept of it."""

    status: RunStatus
    # The state after the run; None leaves the thread's values and interrupts as they are.
    head: Head | None = None
    # As the wire shows it: `{"error", "message"}`.
    error: dict[str, str] | None = None
    error_text: str = ""
    error_traceback: str = ""
    rollback: bool = False
    spans: list[RunSpan] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def stopped_before(self) -> tuple[str, ...]:
        """The nodes before which a breakpoint stopped the run. A run that asked a question stopped for that."""
        if self.status is not RunStatus.SUCCESS or self.head is None or self.head.interrupts:
            return ()
        return self.head.next_nodes


def cancelled_error(action: CancelAction) -> dict[str, str]:
    """Return the error of a run that was cancelled, as the wire shows it."""
    return {
        "error": CANCEL_ERRORS[action],
        "message": f"{action.value} requested via POST /threads/{{thread_id}}/runs/{{run_id}}/cancel",
    }


def cancelled(action: str | None) -> Ending:
    """Return the end that was asked for; None asks for an interrupt."""
    asked = CancelAction(action or CancelAction.INTERRUPT)
    error = cancelled_error(asked)
    return Ending(RunStatus.INTERRUPTED, error=error, rollback=asked is CancelAction.ROLLBACK)


def timed_out() -> Ending:
    """Return the end of a run whose time is over."""
    message = f"The run was stopped after {settings.RUN_TIME_LIMIT_SECONDS:g} s, the longest time a run may take."
    return Ending(RunStatus.TIMEOUT, error={"error": "RunTimeout", "message": message}, error_text=message)


def worker_lost(attempts: int) -> Ending:
    """Return the end of a run whose process was lost in each of its attempts."""
    message = (
        f"The process that executed this run ended unexpectedly in each of its {attempts} attempts; "
        "it is not tried again."
    )
    return Ending(RunStatus.ERROR, error={"error": "WorkerLost", "message": message}, error_text=message)


def failed(error: BaseException, losses: Losses, node_of: Callable[[str], str | None]) -> Ending:
    """Return the end of a run whose graph raised. `node_of` names the node of a task.

    `losses` are what the attempt read from checkpoints as something else than was stored. The message tells of them.
    """
    if isinstance(error, ValueNotStorable):
        error.returned_by(node_of(error.task_id))
    shown, told = run_error(error), told_losses(error, losses)
    return Ending(
        RunStatus.ERROR,
        error={**shown, "message": shown["message"] + told},
        error_text=full_text(error) + told,
        error_traceback="".join(traceback.format_exception(error)),
    )
