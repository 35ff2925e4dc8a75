"""Every operation that is due, and bodies that it refuses.

In paths `{a}`, `{t}`, `{r}` and `{c}` stand for an assistant, a thread, a finished run of it and a cron, `{e}` for a
thread without a graph, `{u}` for an id that nothing has. A refused body comes with the first line of the answer's
detail; None where the wording is free.
"""

from typing import Any, NamedTuple

from tests.contract.refusals import (
    ARRAY,
    BOOLEAN,
    INTEGER,
    ITEM,
    NUMBER,
    OBJECT,
    STORE,
    STRING,
    Refusal,
    no_schema,
    wrong_type,
)


class Operation(NamedTuple):
    method: str
    path: str
    # A body that is accepted; None for operations without one.
    body: dict[str, Any] | list[dict[str, Any]] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


UNKNOWN = "00000000-0000-7000-8000-00000000dead"
RUN = {"assistant_id": "counter", "input": {}}
CRON = {**RUN, "schedule": "0 0 1 1 *"}
OPERATIONS = [
    Operation("GET", "/assistants"),
    Operation("POST", "/assistants", {"graph_id": "counter"}),
    Operation("POST", "/assistants/search", {}),
    Operation("POST", "/assistants/count", {}),
    Operation("GET", "/assistants/{a}"),
    Operation("PATCH", "/assistants/{a}", {}),
    Operation("PUT", "/assistants/{a}", {}),
    Operation("DELETE", "/assistants/{a}"),
    Operation("POST", "/assistants/{a}/versions", {}),
    Operation("POST", "/assistants/{a}/latest", {"version": 1}),
    Operation("GET", "/assistants/{a}/graph"),
    Operation("GET", "/assistants/{a}/schemas"),
    Operation("GET", "/assistants/{a}/subgraphs"),
    Operation("GET", "/assistants/{a}/subgraphs/x"),
    Operation("POST", "/threads", {}),
    Operation("POST", "/threads/search", {}),
    Operation("POST", "/threads/count", {}),
    Operation("POST", "/threads/prune", {"thread_ids": []}),
    Operation("GET", "/threads/{t}"),
    Operation("PATCH", "/threads/{t}", {"metadata": {}}),
    Operation("DELETE", "/threads/{t}"),
    Operation("POST", "/threads/{t}/copy"),
    Operation("GET", "/threads/{t}/storage"),
    Operation("GET", "/threads/{e}/messages"),
    Operation("POST", "/threads/{e}/messages", {"role": "user", "content": "hi"}),
    Operation("GET", "/threads/{t}/stream"),
    Operation("GET", "/threads/{t}/state"),
    Operation("PATCH", "/threads/{t}/state", {"metadata": {}}),
    Operation("POST", "/threads/{t}/state", {"values": {}}),
    Operation("GET", "/threads/{t}/state/x"),
    Operation("POST", "/threads/{t}/state/checkpoint", {"checkpoint": {}}),
    Operation("GET", "/threads/{t}/history"),
    Operation("POST", "/threads/{t}/history", {}),
    Operation("POST", "/threads/{t}/runs", RUN),
    Operation("POST", "/threads/{t}/runs/wait", RUN),
    Operation("POST", "/threads/{t}/runs/stream", RUN),
    Operation("GET", "/threads/{t}/runs"),
    Operation("GET", "/threads/{t}/runs/{r}"),
    Operation("DELETE", "/threads/{t}/runs/{r}"),
    Operation("POST", "/threads/{t}/runs/{r}/cancel"),
    Operation("GET", "/threads/{t}/runs/{r}/join"),
    Operation("GET", "/threads/{t}/runs/{r}/stream"),
    Operation("POST", "/runs", RUN),
    Operation("POST", "/runs/wait", RUN),
    Operation("POST", "/runs/stream", RUN),
    Operation("POST", "/runs/batch", [RUN]),
    Operation("POST", "/runs/cancel", {"status": "pending"}),
    Operation("PUT", "/store/items", ITEM),
    Operation("GET", "/store/items"),
    Operation("DELETE", "/store/items", {"namespace": ["n"], "key": "k"}),
    Operation("POST", "/store/items/search", {}),
    Operation("POST", "/store/namespaces", {}),
    Operation("POST", "/threads/{t}/runs/crons", CRON),
    Operation("POST", "/runs/crons", CRON),
    Operation("POST", "/runs/crons/search", {}),
    Operation("POST", "/runs/crons/count", {}),
    Operation("GET", "/runs/crons/{c}"),
    Operation("PATCH", "/runs/crons/{c}", {"enabled": True}),
    Operation("DELETE", "/runs/crons/{c}"),
]
# It stays open as long as the client does.
ENDLESS = "/threads/{t}/stream"


def paged(path: str) -> list[Refusal]:
    return [
        (path, {"limit": 0}, "0 is less than the minimum of 1"),
        (path, {"limit": 1001}, "1001 is greater than the maximum of 1000"),
        (path, {"limit": "x"}, wrong_type('"x"', INTEGER)),
        (path, {"metadata": 5}, wrong_type("5", OBJECT)),
    ]


def searched(path: str) -> list[Refusal]:
    return [
        *paged(path),
        (path, {"limit": 1.5}, wrong_type("1.5", INTEGER)),
        (path, {"limit": True}, wrong_type("true", INTEGER)),
        (path, {"offset": -1}, "-1 is less than the minimum of 0"),
        (path, {"sort_by": "zz"}, None),
        (path, {"sort_order": "up"}, '"up" is not one of "asc" or "desc"'),
        (path, {"select": ["zz"]}, None),
        (path, {"select": "x"}, wrong_type('"x"', ARRAY)),
    ]


def patched(path: str) -> list[Refusal]:
    return [
        (path, {"metadata": []}, wrong_type("[]", OBJECT)),
        (path, {"name": None}, wrong_type("null", STRING)),
        (path, {"graph_id": 5}, wrong_type("5", STRING)),
    ]


# Fields of a run that a cron has as well, values that both refuse, and the first line of the detail.
CONFIGURED: list[tuple[str, Any, str | None]] = [
    ("config", 5, wrong_type("5", OBJECT)),
    ("config", None, wrong_type("null", OBJECT)),
    ("config", {"recursion_limit": "x"}, wrong_type('"x"', INTEGER)),
    ("config", {"tags": 5}, wrong_type("5", ARRAY)),
    ("config", {"configurable": 5}, wrong_type("5", OBJECT)),
    ("context", 5, wrong_type("5", OBJECT)),
    ("metadata", 5, wrong_type("5", OBJECT)),
    ("metadata", None, wrong_type("null", OBJECT)),
    ("checkpoint_id", 5, None),
    ("interrupt_before", "inc", no_schema('"inc"')),
    ("interrupt_after", [5], no_schema("[5]")),
    ("stream_mode", "zzz", no_schema('"zzz"')),
    ("stream_subgraphs", "x", wrong_type('"x"', BOOLEAN)),
    ("stream_resumable", 5, wrong_type("5", BOOLEAN)),
    ("durability", "x", '"x" is not one of "sync", "async" or "exit"'),
    ("multitask_strategy", "x", '"x" is not one of "reject", "rollback" or 2 other candidates'),
    ("checkpoint_during", "x", wrong_type('"x"', BOOLEAN)),
    ("webhook", 5, wrong_type("5", STRING)),
]


def runs(path: str) -> list[Refusal]:
    fields: list[tuple[str, Any, str | None]] = [
        *CONFIGURED,
        ("assistant_id", 5, None),
        ("assistant_id", None, None),
        ("command", 5, None),
        ("command", {"goto": 5}, None),
        ("command", {"update": 5}, None),
        ("checkpoint", 5, wrong_type("5", OBJECT)),
        ("checkpoint", {"checkpoint_id": 5}, wrong_type("5", STRING)),
        ("interrupt_before", 5, no_schema("5")),
        ("stream_mode", ["values", 5], no_schema('["values",5]')),
        ("stream_mode", ["tools"], no_schema('["tools"]')),
        ("stream_mode", "lifecycle", no_schema('"lifecycle"')),
        ("if_not_exists", "x", '"x" is not one of "create" or "reject"'),
        ("after_seconds", "x", wrong_type('"x"', NUMBER)),
        ("feedback_keys", 5, wrong_type("5", ARRAY)),
    ]
    missing: Refusal = (path, {"input": {}}, '"assistant_id" is a required property')
    return [missing, *((path, {**RUN, field: value}, line) for field, value, line in fields)]


NO_SCHEDULE = (
    "Invalid cron schedule. Ensure the schedule uses the standard cron format (minute hour day_of_month month "
)
NO_SCHEDULE += "day_of_week). Example: '*/5 * * * *' for every 5 minutes."


def crons(path: str, body: dict[str, Any]) -> list[Refusal]:
    """What every operation with a cron in its body refuses, beginning with a body that it takes."""
    fields: list[tuple[str, Any, str | None]] = [
        ("schedule", 5, wrong_type("5", STRING)),
        ("schedule", None, wrong_type("null", STRING)),
        ("schedule", "bad", f"Invalid cron schedule: 'bad'. Reason: {NO_SCHEDULE}"),
        ("schedule", "* * * * * * *", f"Invalid cron schedule: '* * * * * * *'. Reason: {NO_SCHEDULE}"),
        (
            "schedule",
            "99 * * * *",
            "Invalid cron schedule: '99 * * * *'. Reason: [99 * * * *] is not acceptable, out of range",
        ),
        ("schedule", "0 0 30 2 *", "Invalid cron schedule: '0 0 30 2 *'. Reason: it is never due"),
        ("schedule", "0,1," * 5000 + "2 * * * *", None),
        ("timezone", 5, wrong_type("5", STRING)),
        ("timezone", None, wrong_type("null", STRING)),
        ("timezone", "Mars/X", "Invalid timezone: 'Mars/X'. Use IANA timezone format (e.g. 'America/New_York')."),
        ("timezone", "../../etc/passwd", None),
        ("end_time", 5, None),
        ("end_time", "soon", '"soon" is not a "date-time"'),
        ("end_time", "2026-02-30T00:00:00Z", '"2026-02-30T00:00:00Z" is not a "date-time"'),
        ("enabled", "x", wrong_type('"x"', BOOLEAN)),
        ("enabled", None, wrong_type("null", BOOLEAN)),
        ("misfire_policy", "x", '"x" is not one of "run_once" or "skip"'),
        ("overlap_policy", "x", '"x" is not one of "allow" or "skip"'),
        *CONFIGURED,
    ]
    return [(path, {**body, field: value}, line) for field, value, line in fields]


# Bodies that are answered with 422, and the first line of the detail.
REFUSED: list[Refusal] = [
    ("POST /assistants", {}, '"graph_id" is a required property'),
    ("POST /assistants", {"graph_id": 5}, wrong_type("5", STRING)),
    ("POST /assistants", {"graph_id": "echo", "metadata": 5}, wrong_type("5", OBJECT)),
    ("POST /assistants", {"graph_id": "echo", "metadata": None}, wrong_type("null", OBJECT)),
    ("POST /assistants", {"graph_id": "echo", "config": "x"}, wrong_type('"x"', OBJECT)),
    ("POST /assistants", {"graph_id": "echo", "config": None}, wrong_type("null", OBJECT)),
    ("POST /assistants", {"graph_id": "echo", "config": {"recursion_limit": "x"}}, wrong_type('"x"', INTEGER)),
    ("POST /assistants", {"graph_id": "echo", "config": {"tags": "x"}}, wrong_type('"x"', ARRAY)),
    ("POST /assistants", {"graph_id": "echo", "config": {"configurable": 5}}, wrong_type("5", OBJECT)),
    ("POST /assistants", {"graph_id": "echo", "context": 5}, wrong_type("5", OBJECT)),
    ("POST /assistants", {"graph_id": "echo", "name": None}, wrong_type("null", STRING)),
    ("POST /assistants", {"graph_id": "echo", "description": 5}, None),
    ("POST /assistants", {"graph_id": "echo", "assistant_id": 5}, wrong_type("5", STRING)),
    ("POST /assistants", {"graph_id": "echo", "assistant_id": "x"}, "Invalid assistant ID: must be a UUID"),
    ("POST /assistants", {"graph_id": "echo", "if_exists": "x"}, '"x" is not one of "raise" or "do_nothing"'),
    ("POST /assistants", {"graph_id": "echo", "if_exists": None}, None),
    *patched("PATCH /assistants/{a}"),
    *patched("PUT /assistants/{a}"),
    *searched("POST /assistants/search"),
    ("POST /assistants/search", {"graph_id": 5}, wrong_type("5", STRING)),
    ("POST /assistants/search", {"name": 5}, wrong_type("5", STRING)),
    ("POST /assistants/count", {"metadata": 5}, wrong_type("5", OBJECT)),
    ("POST /assistants/count", {"graph_id": 5}, wrong_type("5", STRING)),
    *paged("POST /assistants/{a}/versions"),
    ("POST /assistants/{a}/latest", {"version": "1"}, wrong_type('"1"', INTEGER)),
    ("POST /threads", {"metadata": 5}, wrong_type("5", OBJECT)),
    ("POST /threads", {"metadata": None}, wrong_type("null", OBJECT)),
    ("POST /threads", {"thread_id": "x"}, "Invalid thread ID: must be a UUID"),
    ("POST /threads", {"thread_id": 5}, wrong_type("5", STRING)),
    ("POST /threads", {"if_exists": "x"}, '"x" is not one of "raise" or "do_nothing"'),
    ("POST /threads", {"ttl": 5}, wrong_type("5", OBJECT)),
    ("PATCH /threads/{t}", {"metadata": 5}, wrong_type("5", OBJECT)),
    ("POST /threads", {"supersteps": 5}, None),
    ("POST /threads", {"supersteps": [{}]}, '"updates" is a required property'),
    ("POST /threads", {"supersteps": [{"updates": [{"values": {}}]}]}, '"as_node" is a required property'),
    ("POST /threads/prune", {}, '"thread_ids" is a required property'),
    ("POST /threads/prune", {"thread_ids": "x"}, wrong_type('"x"', ARRAY)),
    ("POST /threads/prune", {"thread_ids": ["x"]}, "Invalid thread ID: must be a UUID"),
    ("POST /threads/prune", {"thread_ids": [], "strategy": "x"}, '"x" is not one of "delete" or "keep_latest"'),
    ("POST /threads/{e}/messages", {"role": "user"}, '"content" is a required property'),
    ("POST /threads/{e}/messages", {"content": "hi"}, '"role" is a required property'),
    ("POST /threads/{e}/messages", {"role": "nobody", "content": "hi"}, None),
    ("POST /threads/{e}/messages", {"role": "user", "content": 5}, None),
    ("PATCH /threads/{t}/state", {}, '"metadata" is a required property'),
    ("PATCH /threads/{t}/state", {"metadata": 5}, wrong_type("5", OBJECT)),
    *searched("POST /threads/search"),
    ("POST /threads/search", {"values": 5}, wrong_type("5", OBJECT)),
    ("POST /threads/search", {"status": "zz"}, '"zz" is not one of "idle", "busy" or 2 other candidates'),
    ("POST /threads/search", {"ids": "x"}, wrong_type('"x"', ARRAY)),
    ("POST /threads/search", {"extract": 5}, wrong_type("5", OBJECT)),
    ("POST /threads/search", {"extract": {"a": 5}}, wrong_type("5", STRING)),
    ("POST /threads/search", {"extract": {str(number): "values.x" for number in range(11)}}, None),
    ("POST /threads/count", {"status": "zz"}, '"zz" is not one of "idle", "busy" or 2 other candidates'),
    ("POST /threads/count", {"metadata": 5}, wrong_type("5", OBJECT)),
    ("POST /threads/{t}/state", {"values": "str"}, no_schema('"str"')),
    ("POST /threads/{t}/state", {"values": 5}, no_schema("5")),
    ("POST /threads/{t}/state", {"values": {}, "as_node": 5}, wrong_type("5", STRING)),
    ("POST /threads/{t}/state", {"values": {}, "checkpoint": 5}, wrong_type("5", OBJECT)),
    ("POST /threads/{t}/state/checkpoint", {}, '"checkpoint" is a required property'),
    ("POST /threads/{t}/state/checkpoint", {"checkpoint": 5}, wrong_type("5", OBJECT)),
    ("POST /threads/{t}/state/checkpoint", {"checkpoint": {"checkpoint_id": 5}}, wrong_type("5", STRING)),
    *paged("POST /threads/{t}/history"),
    ("POST /threads/{t}/history", {"before": 5}, None),
    ("POST /threads/{t}/history", {"checkpoint": 5}, wrong_type("5", OBJECT)),
    *runs("POST /threads/{t}/runs"),
    *runs("POST /threads/{t}/runs/wait"),
    *runs("POST /threads/{t}/runs/stream"),
    *runs("POST /runs"),
    *runs("POST /runs/wait"),
    *runs("POST /runs/stream"),
    ("POST /runs", {**RUN, "on_completion": "x"}, '"x" is not one of "delete" or "keep"'),
    *STORE,
    ("POST /runs/cancel", {}, None),
    ("POST /runs/cancel", {"status": "zz"}, None),
    ("POST /runs/cancel", {"status": "all", "thread_id": UNKNOWN, "run_ids": [UNKNOWN]}, None),
    ("POST /runs/cancel", {"thread_id": UNKNOWN}, None),
    ("POST /runs/cancel", {"run_ids": [UNKNOWN]}, None),
    ("POST /runs/cancel", {"thread_id": "x", "run_ids": [UNKNOWN]}, "Invalid thread ID: must be a UUID"),
    ("POST /runs/cancel", {"thread_id": UNKNOWN, "run_ids": ["x"]}, "Invalid run ID: must be a UUID"),
    *crons("POST /threads/{t}/runs/crons", CRON),
    *crons("POST /runs/crons", CRON),
    *crons("PATCH /runs/crons/{c}", {}),
    ("POST /runs/crons", {"assistant_id": "counter"}, '"schedule" is a required property'),
    ("POST /runs/crons", {"schedule": "* * * * *"}, '"assistant_id" is a required property'),
    ("POST /runs/crons", {**CRON, "assistant_id": 5}, wrong_type("5", STRING)),
    ("POST /runs/crons", {**CRON, "checkpoint_id": UNKNOWN}, None),
    ("POST /runs/crons", {**CRON, "on_run_completed": "x"}, '"x" is not one of "delete" or "keep"'),
    ("POST /runs/crons", {**CRON, "on_run_completed": None}, None),
    ("PATCH /runs/crons/{c}", {"on_run_completed": "x"}, '"x" is not one of "delete" or "keep"'),
    *searched("POST /runs/crons/search"),
    ("POST /runs/crons/search", {"assistant_id": "counter"}, "Invalid assistant ID: must be a UUID"),
    ("POST /runs/crons/search", {"thread_id": "x"}, "Invalid thread ID: must be a UUID"),
    ("POST /runs/crons/search", {"enabled": "x"}, wrong_type('"x"', BOOLEAN)),
    ("POST /runs/crons/count", {"assistant_id": "counter"}, "Invalid assistant ID: must be a UUID"),
    ("POST /runs/crons/count", {"metadata": 5}, wrong_type("5", OBJECT)),
]
# The recorded server takes these without a look on stateless runs, or fails on them.
UNCHECKED_BY_REFERENCE = {
    "checkpoint",
    "checkpoint_id",
    "interrupt_before",
    "interrupt_after",
    "if_not_exists",
    "multitask_strategy",
}

NO_GRAPH = "Graph 'nope' not found. Expected one of: ['approval', 'chat', 'counter', 'ctx', 'echo', 'failing', "
NO_GRAPH += "'memory', 'nested', 'slow']"
NO_RUN_TARGET = "Thread or assistant not found."
NO_THREAD = "Thread with ID {u} not found"
NO_CRON_THREAD = "Thread with ID '{u}' not found. Create it, or create a cron without a thread."
NO_THREAD_ID = "You must provide a thread_id when resuming."
NOT_FINISHED = "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
NOT_FINISHED += "and the runs haven't been deleted or completed."

# Requests for what is not there or does not fit, with status and detail.
ANSWERS: list[tuple[str, Any, int, str | None]] = [
    ("POST /assistants", {"graph_id": "nope"}, 404, NO_GRAPH),
    ("GET /assistants/{u}", None, 404, "Not Found"),
    ("PATCH /assistants/{u}", {}, 404, "Assistant {u} not found"),
    ("PUT /assistants/{u}", {}, 404, "Assistant {u} not found"),
    ("PATCH /assistants/{a}", {"graph_id": "nope"}, 404, NO_GRAPH),
    ("DELETE /assistants/{u}", None, 404, "Assistant with ID {u} not found"),
    ("POST /assistants/{u}/versions", {}, 404, "Assistant {u} not found"),
    ("POST /assistants/{u}/latest", {"version": 1}, 404, "Assistant {u} not found"),
    ("POST /assistants/{a}/latest", {"version": 99}, 404, "Version 99 not found for assistant {a}"),
    ("POST /assistants/{a}/latest", {}, 404, "Version None not found for assistant {a}"),
    ("GET /assistants/{u}/graph", None, 404, "Not Found"),
    ("GET /assistants/{u}/schemas", None, 404, "Not Found"),
    ("GET /assistants/{u}/subgraphs", None, 404, "Not Found"),
    ("GET /assistants/nope/graph", None, 422, "Invalid assistant ID: must be a UUID"),
    ("GET /assistants/{a}/graph?xray=abc", None, 422, "Invalid xray value"),
    ("GET /assistants/{a}/graph?xray=-1", None, 422, "Invalid xray value"),
    ("GET /threads/{u}", None, 404, NO_THREAD),
    ("PATCH /threads/{u}", {"metadata": {}}, 404, "Not Found"),
    ("DELETE /threads/{u}", None, 404, NO_THREAD),
    ("GET /threads/{u}/state", None, 404, NO_THREAD),
    ("GET /threads/{u}/state/{u}", None, 404, NO_THREAD),
    ("POST /threads/{u}/state", {"values": {}}, 404, NO_THREAD),
    ("POST /threads/{u}/state/checkpoint", {"checkpoint": {"checkpoint_id": "x"}}, 404, NO_THREAD),
    ("POST /threads/{t}/state", {"values": {"count": 1}, "as_node": "zzz"}, 400, "Node zzz does not exist"),
    ("POST /threads/{t}/state", {"values": {"count": 1}, "as_node": "__end__"}, 400, "Node __end__ does not exist"),
    ("POST /threads/{t}/state", {"values": [1]}, 400, None),
    ("PATCH /threads/{u}/state", {"metadata": {}}, 404, NO_THREAD),
    ("POST /threads/{u}/copy", None, 409, "Conflict"),
    ("GET /threads/{u}/storage", None, 404, NO_THREAD),
    ("GET /threads/{u}/messages", None, 404, NO_THREAD),
    ("POST /threads/{u}/messages", {"role": "user", "content": "hi"}, 404, NO_THREAD),
    ("POST /threads/{t}/messages", {"role": "user", "content": "hi"}, 400, None),
    ("GET /threads/{t}/stream?stream_modes=zzz", None, 422, "Invalid stream mode: zzz"),
    ("GET /threads/{t}/stream?stream_mode=zzz", None, 422, "Invalid stream mode: zzz"),
    ("GET /threads/{u}/history", None, 404, NO_THREAD),
    ("POST /threads/{u}/history", {}, 404, NO_THREAD),
    ("POST /threads/search", {"ids": ["bad"]}, 400, "Invalid thread ID bad"),
    ("GET /threads/{u}/runs", None, 404, NO_THREAD),
    ("GET /threads/{t}/runs?limit=x", None, 400, "invalid literal for int() with base 10: 'x'"),
    ("GET /threads/{t}/runs?select=zz", None, 422, None),
    ("GET /threads/{t}/runs?select=run_id,status", None, 422, None),
    ("GET /threads/{t}/runs/{u}", None, 404, "Not Found"),
    ("DELETE /threads/{t}/runs/{u}", None, 404, "Run not found"),
    ("POST /threads/{t}/runs/{u}/cancel", None, 404, "No runs found to cancel."),
    ("POST /threads/{t}/runs/{r}/cancel", None, 404, NOT_FINISHED),
    ("POST /threads/{u}/runs", RUN, 404, NO_RUN_TARGET),
    ("POST /threads/{u}/runs/wait", RUN, 404, NO_RUN_TARGET),
    ("POST /threads/{u}/runs/stream", RUN, 404, NO_RUN_TARGET),
    ("POST /threads/{t}/runs", {**RUN, "assistant_id": "{u}"}, 404, NO_RUN_TARGET),
    ("POST /runs", {**RUN, "assistant_id": "{u}"}, 404, NO_RUN_TARGET),
    ("POST /runs", {**RUN, "assistant_id": "nope"}, 422, None),
    ("POST /runs/cancel", {"thread_id": UNKNOWN, "run_ids": [UNKNOWN]}, 404, "No runs found to cancel."),
    (
        "POST /runs/wait",
        {"assistant_id": "counter", "command": {"resume": 1}},
        400,
        "You must provide a thread_id when resuming.",
    ),
    ("POST /runs/crons", {**CRON, "assistant_id": "zzz"}, 404, "Assistant 'zzz' not found"),
    ("POST /runs/crons", {**CRON, "assistant_id": "{u}"}, 404, "Assistant '{u}' not found"),
    ("POST /threads/{u}/runs/crons", CRON, 404, NO_CRON_THREAD),
    ("POST /runs/crons", {**CRON, "context": {"a": 1}, "config": {"configurable": {"a": 1}}}, 400, None),
    ("GET /runs/crons/{u}", None, 404, "Not Found"),
    ("PATCH /runs/crons/{u}", {"enabled": False}, 404, "Cron '{u}' not found"),
    ("PATCH /runs/crons/{c}", {}, 400, "Request body cannot be empty"),
    ("DELETE /runs/crons/{u}", None, 404, "Not Found"),
    ("PUT /store/items", {**ITEM, "namespace": []}, 400, "Namespace cannot be empty."),
    (
        "PUT /store/items",
        {**ITEM, "namespace": ["langgraph", "x"]},
        400,
        "Root label for namespace cannot be \"langgraph\". Got: ('langgraph', 'x')",
    ),
    ("GET /store/items?namespace=n&key=k&refresh_ttl=x", None, 422, None),
    ("GET /nope", None, 404, "Not Found"),
    ("GET /threads/{t}/nope", None, 404, "Not Found"),
    ("GET /runs/{u}", None, 404, "Not Found"),
    ("PUT /threads", {}, 405, "Method Not Allowed"),
    ("GET /threads", None, 405, "Method Not Allowed"),
    ("GET /runs", None, 405, "Method Not Allowed"),
]
