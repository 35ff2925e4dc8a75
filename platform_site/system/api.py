"""`/ok`, `/info` and `/metrics`: asked by load balancers, clients and monitors, without credentials."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Router
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from platform_site import __version__
from platform_site.access.authentication import authenticate
from platform_site.access.principal import Role
from platform_site.core.background.tasks import Status, background
from platform_site.core.config import config
from platform_site.core.database.access import read_db
from platform_site.core.errors import ApiError, Unauthorized
from platform_site.core.graphs.registry import registry
from platform_site.core.http.handler import json_response
from platform_site.core.http.openapi import declared
from platform_site.core.telemetry import metrics
from platform_site.core.wire import encode, timestamp
from platform_site.system import checks
from platform_site.system import gauges as figures
from platform_site.system.processes import processes
from platform_site.system.schemas import Health, Info, Metrics
from platform_site.system.selectors import Queue, mode, queue_figures, workers_max

router = Router(tags=["System"])
OneOrZero = Annotated[int, Field(ge=0, le=1)]


@router.get("/ok", response=Health, operation_id="ok", summary="Health check")
async def ok(request: HttpRequest, check_db: OneOrZero = 0) -> HttpResponse:
    """Whether the server answers and has loaded its graphs.

    With `check_db=1` the database has to answer a query and, in scale mode, Redis a ping, within a few seconds; else
    the answer is a 500 that names which of them does not.

    With `http.disable_meta` nothing is checked: the answer tells strangers no more than that somebody is there.
    """
    if config().http.disable_meta:
        return json_response(b'{"ok":true,"services":{}}')
    if check_db and (failures := await checks.failures()):
        raise ApiError("; ".join(failures), status=500)
    graphs = registry()
    body: dict[str, Any] = {"ok": True, "services": {}, "graphs": "ready" if graphs.is_loaded else "loading"}
    if graphs.failures:
        body["broken_graphs"] = sorted(graphs.failures)
    return json_response(encode(body))


@router.get("/", response=Health, operation_id="root", summary="Health check")
async def root(request: HttpRequest, check_db: OneOrZero = 0) -> HttpResponse:
    """The same as `/ok`."""
    return await ok(request, check_db)


@router.get("/info", response=Info, operation_id="info", summary="Server information")
async def info(request: HttpRequest) -> HttpResponse:
    """Versions, what the server can do, and which graphs could not be loaded.

    The reason is the text of an exception, which may hold anything: only the key of an admin is told, and in open mode
    everybody on this machine.
    """
    graphs = registry()
    reasons = graphs.failures if graphs.failures and await _is_admin(request) else {}
    body = {
        "version": __version__,
        "langgraph_py_version": version("langgraph"),
        "mode": mode(),
        "flags": {
            "assistants": True,
            "crons": True,
            "langsmith": False,
            "langsmith_tracing_replicas": False,
            "langsmith_tracing_session_on_runs": False,
            "strict_resume": True,
        },
        "host": {
            "kind": "self-hosted",
            "project_id": None,
            "host_revision_id": None,
            "revision_id": None,
            "tenant_id": None,
        },
        "metadata": {},
        "graphs": {graph_id: _state(graph_id, reasons) for graph_id in graphs.ids},
    }
    return json_response(encode(body))


async def _is_admin(request: HttpRequest) -> bool:
    """Return whether a public route was asked by an admin. Without credentials, or with wrong ones, nobody is."""
    try:
        return (await authenticate(request)).role is Role.ADMIN
    except Unauthorized:
        return False


def _state(graph_id: str, reasons: dict[str, str]) -> dict[str, str]:
    reason = {"reason": reasons[graph_id]} if graph_id in reasons else {}
    return {"status": registry().state(graph_id), **reason}


@router.get(
    "/metrics",
    response=Metrics,
    operation_id="metrics",
    summary="Metrics",
    openapi_extra=declared(answers={"text/plain": {"type": "string"}}),
)
async def show_metrics(request: HttpRequest, format: str = "prometheus") -> HttpResponse:
    """Prometheus text, or with `format=json` queue, workers, requests, memory and background tasks in short."""
    if format == "json":
        return json_response(encode(_as_json(await read_db(queue_figures))))
    await figures.update()
    metrics.WORKERS_MAX.set(workers_max())
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _as_json(queue: Queue) -> dict[str, Any]:
    active = min(metrics.workers_active(), workers_max())
    return {
        "queue": {
            "n_pending": queue.pending,
            "pending_runs_wait_time_max_secs": queue.longest_wait,
            "pending_runs_wait_time_med_secs": queue.median_wait,
            "pending_unblocked_runs_wait_time_max_secs": queue.longest_unblocked_wait,
            "n_running": queue.running,
        },
        "api": {"http_requests_total": metrics.http_requests()},
        "workers": {"max": workers_max(), "active": active, "available": workers_max() - active},
        "memory": _memory(),
        "background": [_background(status) for status in background().statuses()],
    }


def _memory() -> dict[str, Any]:
    known = processes()
    own, redis = known.own, known.redis
    return {
        "resident_bytes": own.resident_bytes,
        "limit_bytes": own.memory_limit,
        "events": {"bytes": own.event_bytes, "budget_bytes": own.event_budget},
        "states": {"bytes": own.state_cache_bytes, "budget_bytes": own.state_cache_budget},
        "redis_streams": redis and {"bytes": redis.streams_bytes, "budget_bytes": redis.streams_budget},
    }


def _background(status: Status) -> dict[str, Any]:
    last = None if status.last_run is None else timestamp(datetime.fromtimestamp(status.last_run, UTC))
    return {
        "name": status.name,
        "last_run_at": last,
        "rounds": status.rounds,
        "failures_in_a_row": status.failures_in_a_row,
        # Whatever else it says is not for everybody; the log has it.
        "last_error": status.last_error_class or None,
    }
