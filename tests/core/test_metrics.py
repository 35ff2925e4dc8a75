"""What the process counts, and how few label sets it needs for it."""

from prometheus_client import REGISTRY

from platform_site.core import metrics


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
    metrics.run_claimed(0.01)
    metrics.run_finished("success", 0.01, 0.5)
    assert value("switchyard_runs_finished_total", status="success") == before + 1
