"""What the system endpoints answer, for the OpenAPI document."""

from typing import Any, Literal

from ninja import Schema


class Health(Schema):
    ok: Literal[True]
    services: dict[str, Any]
    graphs: Literal["loading", "ready"] | None = None
    broken_graphs: list[str] | None = None


class GraphState(Schema):
    status: Literal["loading", "ready", "broken"]
    reason: str | None = None


class Info(Schema):
    version: str
    langgraph_py_version: str
    mode: Literal["embedded", "embedded-postgresql", "scaled"]
    flags: dict[str, bool]
    host: dict[str, Any]
    metadata: dict[str, Any]
    graphs: dict[str, GraphState]


class RequestCount(Schema):
    method: str
    path: str
    status: int
    count: int


class ApiMetrics(Schema):
    http_requests_total: list[RequestCount]


class QueueMetrics(Schema):
    n_pending: int
    pending_runs_wait_time_max_secs: float | None
    pending_runs_wait_time_med_secs: float | None
    pending_unblocked_runs_wait_time_max_secs: float | None
    n_running: int


class WorkerMetrics(Schema):
    max: int
    active: int
    available: int


class BackgroundMetrics(Schema):
    """How a background task of this process is doing; `last_run_at` is when a round of it last went well."""

    name: str
    last_run_at: str | None
    rounds: int
    failures_in_a_row: int
    last_error: str | None


class Budget(Schema):
    bytes: int
    budget_bytes: int


class MemoryMetrics(Schema):
    """The memory of this process; `redis_streams` is null without Redis, and while Redis does not answer."""

    resident_bytes: int
    limit_bytes: int
    events: Budget
    states: Budget
    redis_streams: Budget | None


class Metrics(Schema):
    queue: QueueMetrics
    api: ApiMetrics
    workers: WorkerMetrics
    memory: MemoryMetrics
    background: list[BackgroundMetrics]
