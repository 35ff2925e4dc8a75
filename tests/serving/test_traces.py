"""Traces of a real server, sent to a real receiver."""

import httpx
import pytest

from tests.tracing import Receiver, attributes
from tests.tracing import receiver as receiver

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}


def answer(url: str) -> None:
    """A run of the sample chat, from a request that belongs to a trace."""
    body = {"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": "hi"}]}}
    httpx.post(f"{url}/runs/wait", json=body, headers=TRACEPARENT, timeout=30).raise_for_status()


def test_a_server_sends_what_it_has_when_it_ends(start_server, receiver: Receiver) -> None:
    server = start_server(
        None, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="60000", TRACE_REQUESTS="true"
    )
    answer(server.url)
    server.terminate()
    spans = {span.name: span for span in receiver.spans() if span.trace_id.hex() == TRACE_ID}
    request, run = spans["POST /runs/wait"], spans["chat"]
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert run.parent_span_id == request.span_id
    assert attributes(request)["http.response.status_code"] == 200
    assert attributes(run)["switchyard.status"] == "success"
    assert {name for name in spans if name.startswith("chat ")}


def test_requests_have_no_spans_unless_they_are_asked_for(start_server, receiver: Receiver) -> None:
    server = start_server(None, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    answer(server.url)
    server.terminate()
    names = {span.name for span in receiver.spans()}
    assert "chat" in names
    assert not [name for name in names if name.startswith("POST")]


def test_a_receiver_that_is_away_disturbs_nobody(start_server) -> None:
    server = start_server(None, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    for _ in range(5):
        answer(server.url)
    server.terminate()
    assert server.log.count("could not be sent") == 1


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_a_protocol_that_is_not_there_stops_the_start(start_server, variable: str) -> None:
    with pytest.raises(RuntimeError, match="must be http/protobuf"):
        start_server(None, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **{variable: "grpc"})
