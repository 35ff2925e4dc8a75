"""What the process counts, and how few label sets it needs for it."""

import re
from pathlib import Path

from prometheus_client import REGISTRY

from platform_site.core.telemetry import metrics

OPERATIONS = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


def test_every_metric_is_documented_with_its_type() -> None:
    documented = set(re.findall(r"^\| `(switchyard_\w+)` \| (\w+) \|", OPERATIONS, re.MULTILINE))
    own = [family for family in REGISTRY.collect() if family.name.startswith("switchyard_")]
    assert documented == {(family.name + "_total" * (family.type == "counter"), family.type) for family in own}


def test_what_is_documented_to_alert_on_exists() -> None:
    names = {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"switchyard_\w+", OPERATIONS)}
    assert names <= {family.name for family in REGISTRY.collect()}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def test_a_request_is_counted_under_its_route() -> None:
    labels = {"method": "GET", "route": "/threads/{thread_id}", "status": "200"}
    before = value("switchyard_http_requests_total", **labels)
    metrics.request_finished("GET", "/threads/{thread_id}", 200, 0.002)
    assert value("switchyard_http_requests_total", **labels) == before + 1


def test_the_json_form_lists_method_path_status_and_count() -> None:
    metrics.request_finished("POST", "/only/here", 201, 0.001)
    assert [entry for entry in metrics.http_requests() if entry["path"] == "/only/here"] == [
        {"method": "POST", "path": "/only/here", "status": 201, "count": 1}
    ]


def test_methods_a_client_invents_share_one_label() -> None:
    metrics.request_finished("BREW", "/invented", 405, 0.001)
    metrics.request_finished("WHEN", "/invented", 405, 0.001)
    assert [(entry["method"], entry["count"]) for entry in metrics.http_requests() if entry["path"] == "/invented"] == [
        ("OTHER", 2)
    ]


def test_a_finished_run_is_counted_by_status() -> None:
    before = value("switchyard_runs_finished_total", status="success")
    metrics.run_finished("success", 0.01, 0.5)
    assert value("switchyard_runs_finished_total", status="success") == before + 1


def test_only_first_attempts_have_waited() -> None:
    before = value("switchyard_runs_claimed_total"), value("switchyard_run_wait_seconds_count")
    metrics.run_claimed(0.01)
    metrics.run_claimed(None)
    assert value("switchyard_runs_claimed_total") == before[0] + 2
    assert value("switchyard_run_wait_seconds_count") == before[1] + 1


def test_events_are_counted_with_their_bytes() -> None:
    before = value("switchyard_events_total"), value("switchyard_event_bytes_total")
    metrics.events_appended(3, 120)
    assert (value("switchyard_events_total"), value("switchyard_event_bytes_total")) == (before[0] + 3, before[1] + 120)
