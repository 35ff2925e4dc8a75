"""Who asks for traces, and how they are sent."""

import logging
import subprocess
import sys
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from platform_site.core.telemetry import otel, tracing
from tests.tracing import Receiver, attributes, place
from tests.tracing import receiver as receiver
from tests.tracing import traces as traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, []),
        (ENDPOINT, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, []),
        ({"OTEL_TRACES_EXPORTER": "console"}, ["console"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, []),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, []),
        ({"OTEL_SERVICE_NAME": "agents"}, []),
    ],
)
def test_the_standard_variables_ask_for_traces(environ: dict[str, str], names: list[str]) -> None:
    assert tracing.check(environ) == names


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(environ: dict[str, str], variable: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=variable):
        tracing.check(environ)


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_is_installed", lambda package: False)
    with pytest.raises(ImproperlyConfigured, match="extra `otel`"):
        tracing.check(ENDPOINT)
    assert tracing.check({}) == []


def test_nothing_is_imported_unless_traces_are_asked_for() -> None:
    program = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'platform_site.settings'; django.setup()\n"
        "import platform_site.asgi, runs.engine.attempt\n"
        "from platform_site.core.telemetry import tracing; tracing.start('1')\n"
        # LangSmith imports some of OpenTelemetry wherever it is installed.
        "mine = {'platform_site.core.telemetry.otel', 'opentelemetry.exporter'}\n"
        "print(sorted(mine & set(sys.modules)), tracing.tracing())"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == "[] None\n"


def test_a_child_may_end_before_its_parent_is_made(traces: InMemorySpanExporter) -> None:
    made = tracing.tracing()
    assert made is not None
    root, parent_id = made.span("root", Context(), {}), uuid4()
    made.span("child", otel.context_of(root.get_span_context(), parent_id), {}).end()
    made.span("parent", trace.set_span_in_context(root), {}, span_id=parent_id).end()
    child, parent = traces.get_finished_spans()
    assert child.parent is not None
    assert child.parent.span_id == place(parent).span_id
    assert place(child).trace_id == root.get_span_context().trace_id


def test_all_that_has_no_parent_and_is_of_one_run_is_one_trace(traces: InMemorySpanExporter) -> None:
    made, run_id = tracing.tracing(), uuid4()
    assert made is not None
    for name in ("first", "second"):
        made.span(name, Context(), {}, trace_of=run_id).end()
    first, second = (place(span) for span in traces.get_finished_spans())
    assert first.trace_id == second.trace_id
    assert first.span_id != second.span_id


@pytest.mark.parametrize("sent", [b"nonsense", b"00-00000000000000000000000000000000-b7ad6b7169203331-01", b""])
def test_a_header_that_names_no_trace_is_not_kept(traces: InMemorySpanExporter, sent: bytes) -> None:
    made = tracing.tracing()
    assert made is not None
    assert made.carried([(b"traceparent", sent)]) == {}


def test_a_trace_is_kept_with_its_state(traces: InMemorySpanExporter) -> None:
    made = tracing.tracing()
    assert made is not None
    carried = made.carried([(b"Traceparent", TRACEPARENT.encode()), (b"tracestate", b"vendor=1"), (b"x-other", b"2")])
    assert tracing.kept({**carried, "x-other": "2"}) == {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}


@pytest.fixture
def sending(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> otel.Tracing:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    return otel.Tracing(otel.processors(["otlp"]))


def test_spans_are_sent_by_otlp(receiver: Receiver, sending: otel.Tracing) -> None:
    sending.span("work", Context(), {"switchyard.attempt": 2}).end()
    sending.close()
    [span] = receiver.spans()
    assert (span.name, attributes(span)) == ("work", {"switchyard.attempt": 2})
    assert receiver.services() == {"switchyard"}


def test_the_service_has_the_name_it_is_given(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "agents")
    made = otel.Tracing(otel.processors(["otlp"]))
    made.span("work", Context(), {}).end()
    made.close()
    assert receiver.services() == {"agents"}


def test_spans_that_cannot_be_sent_are_counted_and_told_once(
    receiver: Receiver, sending: otel.Tracing, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 400
    lost = REGISTRY.get_sample_value("switchyard_trace_spans_lost_total") or 0
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sending.span("work", Context(), {}).end()
            sending._provider.force_flush()
        sending.close()
    assert REGISTRY.get_sample_value("switchyard_trace_spans_lost_total") == lost + 3
    [line] = caplog.messages
    assert "spans of traces could not be sent" in line
    assert "400" in line
