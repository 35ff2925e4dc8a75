"""Traces made with the OpenTelemetry SDK. Imported only when traces are asked for: see `core.telemetry.tracing`."""

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from platform_site.core.telemetry import logs, metrics
from platform_site.core.telemetry.carrier import CARRIED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token

Attributes = Mapping[str, str | int | float | bool]

logger = logging.getLogger("switchyard.tracing")

# How often the log tells that traces do not arrive.
LOG_SECONDS = 300.0
# How long the end of the process waits for spans that are not sent yet.
CLOSE_SECONDS = 5.0
_HEADERS = ("traceparent", "tracestate")
_w3c = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans, and hands them to `processors`. May be used from any thread."""

    def __init__(self, processors: Iterable[SpanProcessor], *, version: str = "", requests: bool = False) -> None:
        """`version` is the server's; `requests`: whether the API's requests get spans."""
        self.requests = requests
        self._ids = _GivenIds()
        self._provider = TracerProvider(resource=_resource(version), id_generator=self._ids, shutdown_on_exit=False)
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("switchyard", version)

    def become_global(self) -> None:
        """Let spans that graphs make by themselves go the same way, unless somebody has set up another one."""
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)

    def span(
        self,
        name: str,
        parent: Context,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        started: int | None = None,
        span_id: UUID | None = None,
        trace_of: UUID | None = None,
    ) -> Span:
        """A span that has begun, at `started` (nanoseconds since the epoch) or now.

        `span_id`: what `context_of` will find it by. `trace_of`: where it has no parent, the trace is this one's.
        """
        with self._ids.given(span_id, trace_of):
            return self._tracer.start_span(name, parent, kind, attributes, start_time=started)

    def request_begins(self, scope: Mapping[str, Any]) -> "Request":
        """The span of an ASGI request, current until `Request.end`."""
        method = scope["method"]
        attributes = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]}
        parent = extracted(_trace_headers(scope["headers"]))
        return Request(self.span(method, parent, attributes, kind=SpanKind.SERVER))

    def carried(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
        """The trace that what a request makes belongs to: the request's span, else what its headers name.

        The keys begin with `CARRIED`.
        """
        carrier: dict[str, str] = {}
        if trace.get_current_span().get_span_context().is_valid:
            _w3c.inject(carrier)
        else:
            # Only what is a trace: anybody may send anything.
            _w3c.inject(carrier, extracted(_trace_headers(headers)))
        return {CARRIED + name: value for name, value in carrier.items()}

    def close(self) -> None:
        """Send what is left; after `CLOSE_SECONDS` without it."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            logger.warning("the last traces could not be sent in %g s", CLOSE_SECONDS)


class Request:
    """A request's span. `end` it in the task that began it."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[Context] = contexts.attach(trace.set_span_in_context(span))
        logs.trace_id.set(trace_id_of(span))

    def end(self, method: str, route: str, status: int | None) -> None:
        """`route` is the template that matched, or empty; without `status` the client went away first."""
        if route:
            self._span.update_name(f"{method} {route}")
            self._span.set_attribute("http.route", route)
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if status is not None and status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
        contexts.detach(self._token)


def extracted(carrier: Mapping[str, str]) -> Context:
    """The trace that `traceparent` and `tracestate` name; an empty context if they name none."""
    return _w3c.extract(dict(carrier), Context())


def context_of(parent: SpanContext, span_id: UUID) -> Context:
    """Under the span that has this id, of the same trace as `parent`; that it may not have been made yet is no harm."""
    place = SpanContext(parent.trace_id, _short(span_id), False, parent.trace_flags, parent.trace_state)
    return trace.set_span_in_context(NonRecordingSpan(place), Context())


def trace_id_of(span: Span) -> str:
    """The span's trace as logs show it."""
    return trace.format_trace_id(span.get_span_context().trace_id)


def _trace_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return {name: value for name, value in found if name in _HEADERS}


def _short(span_id: UUID) -> int:
    # The last half of a UUID is random in all versions that LangChain makes, and never zero.
    return span_id.int & 0xFFFF_FFFF_FFFF_FFFF


class _GivenIds(RandomIdGenerator):
    """Random ids, except where the next span's are given: its children may be made before it is."""

    def __init__(self) -> None:
        self._given = threading.local()

    @contextmanager
    def given(self, span_id: UUID | None, trace_of: UUID | None) -> "Iterator[None]":
        self._given.ids = (span_id, trace_of)
        try:
            yield
        finally:
            self._given.ids = (None, None)

    def generate_span_id(self) -> int:
        span_id, _ = getattr(self._given, "ids", (None, None))
        return super().generate_span_id() if span_id is None else _short(span_id)

    def generate_trace_id(self) -> int:
        _, trace_of = getattr(self._given, "ids", (None, None))
        if trace_of is None:
            return super().generate_trace_id()
        # Hashed: samplers take the low bits for a random number, and a UUID's are not evenly spread.
        return int.from_bytes(blake2b(trace_of.bytes, digest_size=16).digest())


def processors(names: Sequence[str]) -> list[SpanProcessor]:
    """What sends spans in the background, for each of `core.telemetry.tracing.EXPORTERS`."""
    return [BatchSpanProcessor(_Watched(_exporter(name))) for name in names]


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        import sys

        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class _LastWords(logging.Filter):
    """Keeps the last message of a logger instead of letting it out."""

    words = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.words = record.getMessage()
        return False


_last_words = _LastWords()


class _Watched(SpanExporter):
    """An exporter whose failures are counted, and told once in a while instead of with every batch."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal"):
            logging.getLogger(name).addFilter(_last_words)
        self._lost = 0
        self._next_line = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lose(len(spans))
        elif self._next_line:
            self._next_line = 0.0
            logger.info("traces arrive again")
        return result

    def _lose(self, spans: int) -> None:
        metrics.TRACE_SPANS_LOST.inc(spans)
        self._lost += spans
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + LOG_SECONDS
            logger.warning("%d spans of traces could not be sent: %s", self._lost, _last_words.words or "no reason")
            self._lost = 0

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _resource(version: str) -> Resource:
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {SERVICE_VERSION: version}
    return Resource.create(own if named else {**own, SERVICE_NAME: "switchyard"})
