"""What an attempt tells about itself while it works: the ids of its log lines, its metrics, its spans and its trace."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from platform_site.core.telemetry import logs, metrics
from platform_site.core.telemetry.tracing import tracing
from runs.engine.claim import Claim
from runs.engine.endings import Ending
from runs.engine.spans import SpanRecorder
from runs.engine.traces import AttemptTrace, attempt_trace
from runs.models import RunSpan, RunStatus

logger = logging.getLogger("switchyard.runs")

LOST = {"error": "LeaseLost", "message": "The run was taken away from this process, or deleted."}


class Telemetry:
    """Of one attempt."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._trace: AttemptTrace | None = None
        self.recorder = SpanRecorder(claim.attempt, tokens_only=claim.is_temporary and tracing() is None)
        self._ended_as: Ending | None = None
        self._kept: list[RunSpan] = []
        # Given back for another attempt, of its own accord.
        self.given_back = False
        self._events = self._event_bytes = 0
        # What of these `metrics` know.
        self._counting = threading.Lock()
        self._counted = (0, 0)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """From the attempt's begin to its end, in its own task."""
        claim = self._claim
        # Of a later attempt the time before it is not waiting alone.
        waited = None if claim.was_begun else (claim.attempt_started_at - claim.scheduled_at).total_seconds()
        metrics.run_claimed(waited)
        with self.end_only():
            yield

    @contextmanager
    def end_only(self) -> Iterator[None]:
        """The same where the run gets its end without an attempt."""
        self._name_lines()
        self._trace = attempt_trace(self._claim)
        try:
            yield
        finally:
            self._end()

    def _name_lines(self) -> None:
        """What is logged in this task, by the graph as well, belongs to the run from now on."""
        claim = self._claim
        logs.run_id.set(str(claim.run_id))
        logs.thread_id.set(str(claim.thread_id))
        logs.attempt.set(claim.attempt)
        logs.task.set("")
        logs.request_id.set(str(claim.configurable.get("langgraph_request_id") or ""))

    def event(self, size: int) -> None:
        """An event of so many bytes was appended."""
        self._events += 1
        self._event_bytes += size

    def count_events(self) -> None:
        """Tell the metrics of the events since the last call. From any thread."""
        with self._counting:
            before, self._counted = self._counted, (self._events, self._event_bytes)
            metrics.events_appended(self._counted[0] - before[0], self._counted[1] - before[1])

    def take_spans(self) -> list[RunSpan]:
        """The spans that have ended since the last call; the trace has them, too."""
        spans = self.recorder.take()
        if self._trace is not None:
            self._trace.add(spans)
        kept, self._kept = self._kept, []
        return kept + spans

    def keep_spans(self, spans: list[RunSpan]) -> None:
        """Keep spans that could not be stored for the next call of `take_spans`."""
        self._kept += spans

    def run_ended(self, ending: Ending) -> None:
        """The end of the run is written."""
        self._ended_as = ending
        self.count_events()
        claim = self._claim
        waited = (claim.started_at - claim.scheduled_at).total_seconds()
        worked = time.time() - claim.started_at.timestamp()
        metrics.run_finished(ending.status.value, waited, worked)
        logger.debug(
            "ended with %s; it had waited for %.3f s and was worked on for %.3f s", ending.status, waited, worked
        )

    def _end(self) -> None:
        ending = self._ended_as
        self.count_events()
        if ending is None and not self.given_back:
            metrics.ATTEMPTS_LOST.inc()
        if self._trace is None:
            return
        status, error = "given back", None
        if ending is not None:
            # That it was cancelled is no error.
            status, error = ending.status.value, None if ending.status is RunStatus.INTERRUPTED else ending.error
        elif not self.given_back:
            status, error = "lost", LOST
        self.take_spans()
        self._trace.end(status, error, (self.recorder.input_tokens, self.recorder.output_tokens))
