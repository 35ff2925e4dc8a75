"""What the process counts, kept by the Prometheus client and shown by `/metrics`.

Labels are taken from small closed sets: a route is its template (`/threads/{thread_id}`), never a path that was asked
for. The figures that are read from the database (`RUNS_PENDING`, `RUNS_RUNNING`) are filled in when somebody looks.
"""

from prometheus_client import Counter, Gauge, Histogram

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# The wait of a run: a fast one is dispatched in milliseconds, a long queue takes minutes.
_WAIT = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

HTTP_REQUESTS = Counter(
    "switchyard_http_requests", "Requests answered, by route template.", ["method", "route", "status"]
)
HTTP_SECONDS = Histogram(
    "switchyard_http_request_duration_seconds",
    "Time from a request to the end of its answer; for a stream, its whole life.",
    ["method", "route"],
    buckets=_SHORT,
)
HTTP_REFUSED = Counter(
    "switchyard_http_refused", "Connections and requests that the HTTP server refused by itself.", ["reason"]
)
RUNS_CLAIMED = Counter("switchyard_runs_claimed", "Attempts begun.")
RUNS_FINISHED = Counter("switchyard_runs_finished", "Runs that reached a terminal status.", ["status"])
RUN_WAIT_SECONDS = Histogram(
    "switchyard_run_wait_seconds", "Time a run was due before it was claimed for its first attempt.", buckets=_WAIT
)
RUN_SECONDS = Histogram("switchyard_run_duration_seconds", "Time a run was worked on.", buckets=_LONG)
RUN_TOTAL_SECONDS = Histogram("switchyard_run_total_seconds", "Time from due to finished.", buckets=_LONG)
EVENTS = Counter("switchyard_events", "Stream events appended to the event log.")
EVENT_BYTES = Counter("switchyard_event_bytes", "Bytes of the data of these events.")
EVENTS_GIVEN_UP = Counter("switchyard_events_given_up", "Stream events dropped because Redis was away for too long.")
ATTEMPTS_LOST = Counter(
    "switchyard_attempts_lost", "Attempts of this process that ended because their run was taken away or deleted."
)
LEASES_EXPIRED = Counter(
    "switchyard_leases_expired", "Leases of processes that were gone, found by this process and taken away."
)
TRACE_SPANS_LOST = Counter("switchyard_trace_spans_lost", "Spans of OpenTelemetry traces that could not be sent.")
STREAMS_OPEN = Gauge(
    "switchyard_streams_open", "Answers in progress: event streams, and calls that wait for a run.", ["kind"]
)
THREADS_SWEPT = Counter(
    "switchyard_threads_swept",
    "Threads that the sweep looked at: deleted, pruned, used (since), skipped or failed.",
    ["outcome"],
)
FULL_COLLECTIONS = Counter("switchyard_full_collections", "Full garbage collections of this process.")
FULL_COLLECTION_SECONDS = Counter(
    "switchyard_full_collection_seconds", "Time for which full garbage collections have stopped this process."
)
SLOW_COLLECTIONS = Counter("switchyard_slow_collections", "Full garbage collections of more than 50 ms.")
EVENT_LOGS = Gauge("switchyard_event_logs", "Event logs that this process keeps in memory.")
EVENT_LOG_BYTES = Gauge("switchyard_event_log_bytes", "Bytes that the event logs of this process hold in its memory.")
EVENT_LOG_BUDGET = Gauge("switchyard_event_log_budget_bytes", "Bytes that these event logs may hold.")
EVENTS_CUT = Counter("switchyard_events_cut", "Events dropped before their time because a log or all logs were full.")
READERS_CUT_OFF = Counter(
    "switchyard_readers_cut_off", "Streams that ended early because the next event was not kept any more."
)
REDIS_STREAMS_BYTES = Gauge("switchyard_redis_streams_bytes", "Bytes that all event streams hold in Redis.")
REDIS_STREAMS_BUDGET = Gauge("switchyard_redis_streams_budget_bytes", "Bytes that these event streams may hold.")
REDIS_BYTES = Gauge("switchyard_redis_memory_bytes", "Bytes that Redis uses, for whomever.")
REDIS_LIMIT = Gauge("switchyard_redis_memory_limit_bytes", "Redis' maxmemory; 0 if it has none.")
STATE_CACHE_BYTES = Gauge("switchyard_state_cache_bytes", "Bytes of the encoded states that this process keeps.")
STATE_CACHE_BUDGET = Gauge("switchyard_state_cache_budget_bytes", "Bytes that these states may have.")
STATE_CACHE_HITS = Counter("switchyard_state_cache_hits", "States found in this cache.")
STATE_CACHE_MISSES = Counter("switchyard_state_cache_misses", "States not found in this cache, and decoded.")
MEMORY_BYTES = Gauge("switchyard_memory_bytes", "Memory that this process has (RSS); NaN where nobody knows.")
MEMORY_LIMIT = Gauge(
    "switchyard_memory_limit_bytes", "Memory that this process may have: its control group's limit or the machine's."
)
DATABASE_UP = Gauge("switchyard_database_up", "Whether the database told its figures in time; without it they are NaN.")
RUNS_PENDING = Gauge("switchyard_runs_pending", "Runs that wait to be claimed.")
QUEUE_RUNS = Gauge(
    "switchyard_queue_runs",
    "These, by what they wait for: a slot (due), their thread (blocked), a time (delayed).",
    ["state"],
)
QUEUE_OLDEST_SECONDS = Gauge(
    "switchyard_queue_oldest_wait_seconds", "How long the run has been due that waits longest."
)
QUEUE_OLDEST_UNBLOCKED_SECONDS = Gauge(
    "switchyard_queue_oldest_unblocked_wait_seconds", "The same of the runs that their thread does not keep waiting."
)
LEASES_OVERDUE = Gauge("switchyard_leases_overdue", "Runs whose lease has expired and that nobody has taken back yet.")
RUNS_RUNNING = Gauge("switchyard_runs_running", "Runs in work, in any process.")
SLOTS_GIVEN_UP = Counter(
    "switchyard_slots_given_up", "Slots that were taken from runs which should have been over and could not be stopped."
)
RUNS_STUCK = Gauge("switchyard_runs_stuck", "Runs without a slot that still work in this process.")
WORKERS_MAX = Gauge("switchyard_workers_max", "Runs this process executes at the same time, at most.")
WORKERS_ACTIVE = Gauge("switchyard_workers_active", "Runs this process executes now.")
DATABASE_POOL_SIZE = Gauge(
    "switchyard_database_pool_size", "Threads (of SQLite: writer and readers) or connections to the database.", ["pool"]
)
DATABASE_POOL_IN_USE = Gauge("switchyard_database_pool_in_use", "Those of them that are in use.", ["pool"])
DATABASE_POOL_WAITING = Gauge("switchyard_database_pool_waiting", "Callers that wait for one of them.", ["pool"])
BACKGROUND_LAST_RUN = Gauge(
    "switchyard_background_last_run_timestamp_seconds", "When a background task last ended a round well.", ["task"]
)
BACKGROUND_SECONDS = Histogram(
    "switchyard_background_round_seconds", "Time of a background task's round.", ["task"], buckets=_SHORT
)
BACKGROUND_WAKE_UPS = Counter(
    "switchyard_background_wake_ups", "Times that a background task, or the dispatcher, was told to look now.", ["task"]
)
BACKGROUND_FAILURES = Counter("switchyard_background_failures", "Rounds of a background task that failed.", ["task"])
WEBHOOKS = Counter(
    "switchyard_webhooks", "What became of webhooks: delivered, retried, failed (given up) or held back.", ["outcome"]
)
WEBHOOKS_PENDING = Gauge("switchyard_webhooks_pending", "Webhooks that are not delivered yet, in any process.")
WEBHOOKS_HELD = Gauge("switchyard_webhooks_held", "Webhooks that are held back because their endpoint is disabled.")
WEBHOOKS_OLDEST_SECONDS = Gauge(
    "switchyard_webhooks_oldest_pending_seconds", "How long ago the oldest webhook was made that is not delivered yet."
)

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"}
# `labels()` takes a lock and builds a key; a request should cost one dictionary lookup. As many entries as label sets.
_routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}


def request_finished(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request; `route` is the template that matched, or `""` if none did."""
    found = _routes.get((method, route, status))
    if found is None:
        if method not in _METHODS:
            return request_finished("OTHER", route, status, seconds)
        found = HTTP_REQUESTS.labels(method, route, str(status)), HTTP_SECONDS.labels(method, route)
        _routes[method, route, status] = found
    found[0].inc()
    found[1].observe(seconds)


def run_claimed(wait_seconds: float | None) -> None:
    """Count an attempt that begins; `wait_seconds` is how long the run had been due, None if it is not the first."""
    RUNS_CLAIMED.inc()
    if wait_seconds is not None:
        RUN_WAIT_SECONDS.observe(wait_seconds)


def run_finished(status: str, wait_seconds: float, run_seconds: float) -> None:
    """Count a run that reached a terminal status."""
    RUNS_FINISHED.labels(status).inc()
    RUN_SECONDS.observe(run_seconds)
    RUN_TOTAL_SECONDS.observe(wait_seconds + run_seconds)


def events_appended(count: int, size: int) -> None:
    """Count events that were appended to an event log, and their bytes."""
    EVENTS.inc(count)
    EVENT_BYTES.inc(size)


def events_given_up(count: int) -> None:
    """Count events that no reader will see."""
    EVENTS_GIVEN_UP.inc(count)


def events_cut(count: int) -> None:
    """Count events that were dropped from event logs to keep a bound."""
    EVENTS_CUT.inc(count)


def reader_cut_off() -> None:
    """Count a stream that ended early because its reader was too slow, or came too late, for the events kept."""
    READERS_CUT_OFF.inc()


def total(counter: Counter) -> float:
    """Return the value of a counter without labels."""
    return next(
        sample.value for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")
    )


def background_ran(task: str, now: float, seconds: float) -> None:
    """Count a round of a background task that ended well at `now`, in seconds since the epoch."""
    BACKGROUND_LAST_RUN.labels(task).set(now)
    BACKGROUND_SECONDS.labels(task).observe(seconds)


def background_failed(task: str) -> None:
    """Count a round of a background task that failed."""
    BACKGROUND_FAILURES.labels(task).inc()


def workers_active() -> int:
    """Return how many runs this process executes now."""
    return int(next(sample.value for family in WORKERS_ACTIVE.collect() for sample in family.samples))


def http_requests() -> list[dict[str, str | int]]:
    """Return `HTTP_REQUESTS` as the contract's JSON form lists it: one entry for each method, path and status."""
    return [
        {
            "method": sample.labels["method"],
            "path": sample.labels["route"],
            "status": int(sample.labels["status"]),
            "count": int(sample.value),
        }
        for family in HTTP_REQUESTS.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    ]
