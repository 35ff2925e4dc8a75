"""The trace of one attempt at a run: a span for it, and in that one for each of its nodes, models and tools.

Names follow OpenTelemetry's conventions for generative AI where they have one; the rest begins with `switchyard.`.
"""

import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from platform_site.core.error_texts import storable_text
from platform_site.core.telemetry import logs
from platform_site.core.telemetry.tracing import tracing
from runs.engine.claim import Claim
from runs.models import RunSpan

if TYPE_CHECKING:
    from platform_site.core.telemetry.otel import Attributes, Tracing


def attempt_trace(claim: Claim) -> "AttemptTrace | None":
    """The trace of an attempt that begins now, in its own task; None if nobody asked for traces."""
    made = tracing()
    return None if made is None else AttemptTrace(claim, made)


class AttemptTrace:
    """From its making to `end`, in the attempt's task; spans may be added from any thread in between."""

    def __init__(self, claim: Claim, made: "Tracing") -> None:
        """Begin the attempt's span; spans that nodes make by themselves are its children."""
        from opentelemetry import context, trace

        from platform_site.core.telemetry.otel import extracted, trace_id_of

        self._tracing = made
        self._span = made.span(
            claim.graph_id,
            extracted(claim.kwargs.get("trace") or {}),
            _attributes(claim),
            kind=trace.SpanKind.CONSUMER,
            # All attempts of a run are one trace.
            trace_of=claim.run_id,
        )
        # For the rest of the task, which is this attempt's own.
        context.attach(trace.set_span_in_context(self._span))
        logs.trace_id.set(trace_id_of(self._span))

    def add(self, spans: Iterable[RunSpan]) -> None:
        """Spans that have ended."""
        if not self._span.is_recording():
            return
        for span in spans:
            self._add(span)

    def end(self, status: str, error: dict[str, str] | None, tokens: tuple[int, int]) -> None:
        """End the attempt's span: `status` is the run's, or how the attempt ended without one."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("switchyard.status", status)
        self._span.set_attributes(_usage(*tokens))
        if error is not None:
            self._span.set_attribute("error.type", error["error"])
            # What cannot be encoded would take the whole batch along.
            self._span.set_status(Status(StatusCode.ERROR, storable_text(error["message"])))
        self._span.end()

    def _add(self, span: RunSpan) -> None:
        from opentelemetry import context, trace

        from platform_site.core.telemetry.otel import context_of

        own = self._span.get_span_context()
        enclosing = span.parent_id
        parent = context_of(own, enclosing) if enclosing else trace.set_span_in_context(self._span, context.Context())
        name, attributes = _named(span)
        kind = trace.SpanKind.CLIENT if span.kind == RunSpan.Kind.MODEL else trace.SpanKind.INTERNAL
        made = self._tracing.span(
            name, parent, attributes, kind=kind, started=_nanoseconds(span.started_at), span_id=span.span_id
        )
        if span.error:
            made.set_attribute("error.type", span.error.partition(":")[0])
            made.set_status(trace.Status(trace.StatusCode.ERROR, span.error))
        made.end(_nanoseconds(span.ended_at))


def _attributes(claim: Claim) -> "Attributes":
    assistant_id = str(claim.assistant_id)
    waited = claim.attempt_started_at - claim.scheduled_at
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": assistant_id,
        "gen_ai.agent.name": claim.graph_id,
        "gen_ai.conversation.id": str(claim.thread_id),
        "switchyard.run_id": str(claim.run_id),
        "switchyard.thread_id": str(claim.thread_id),
        "switchyard.assistant_id": assistant_id,
        "switchyard.workspace_id": claim.workspace_id,
        "switchyard.attempt": claim.attempt,
        "switchyard.wait_seconds": waited.total_seconds(),
    }


def _named(span: RunSpan) -> "tuple[str, Attributes]":
    attributes: dict[str, str | int] = {"switchyard.kind": str(span.kind)}
    if span.namespace:
        attributes["switchyard.namespace"] = span.namespace
    if span.kind == RunSpan.Kind.MODEL:
        attributes |= {"gen_ai.operation.name": "chat", "gen_ai.request.model": span.name}
        return f"chat {span.name}", {**attributes, **_usage(span.input_tokens, span.output_tokens)}
    if span.kind == RunSpan.Kind.TOOL:
        attributes |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": span.name}
        return f"execute_tool {span.name}", attributes
    return span.name, {**attributes, "langgraph.node": span.name}


def _usage(given: int, made: int) -> dict[str, int]:
    return {"gen_ai.usage.input_tokens": given, "gen_ai.usage.output_tokens": made} if given or made else {}


def _nanoseconds(moment: datetime | None) -> int:
    return time.time_ns() if moment is None else round(moment.timestamp() * 1_000_000) * 1000
