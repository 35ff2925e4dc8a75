"""Every operation of the server, and how the tests of tenants and readers go about it.

A new operation has no row here, which `test_coverage.py` does not let pass: whoever adds it says whether it reads.
"""

from enum import StrEnum


class Kind(StrEnum):
    """What is expected of a reader: role `viewer`, and keys with scopes that only read."""

    # Served, and nothing in the database is different afterwards: `test_readers.py`.
    READS = "reads"
    # Refused with 403, and nothing is different either: `test_readers.py`.
    WRITES = "writes"
    # Of no tenant: anybody may call it. Not attacked, for there is nothing to name.
    PUBLIC = "public"


_READS = """
GET /assistants
POST /assistants/search
POST /assistants/count
GET /assistants/{assistant_id}
POST /assistants/{assistant_id}/versions
GET /assistants/{assistant_id}/graph
GET /assistants/{assistant_id}/schemas
GET /assistants/{assistant_id}/subgraphs
GET /assistants/{assistant_id}/subgraphs/{namespace}
POST /threads/search
POST /threads/count
GET /threads/{thread_id}
GET /threads/{thread_id}/storage
GET /threads/{thread_id}/messages
GET /threads/{thread_id}/stream
GET /threads/{thread_id}/state
GET /threads/{thread_id}/state/{checkpoint_id}
POST /threads/{thread_id}/state/checkpoint
GET /threads/{thread_id}/history
POST /threads/{thread_id}/history
GET /threads/{thread_id}/runs
GET /threads/{thread_id}/runs/{run_id}
GET /threads/{thread_id}/runs/{run_id}/join
GET /threads/{thread_id}/runs/{run_id}/stream
GET /store/items
POST /store/items/search
POST /store/namespaces
POST /runs/crons/search
POST /runs/crons/count
GET /runs/crons/{cron_id}
"""
_WRITES = """
POST /assistants
PATCH /assistants/{assistant_id}
PUT /assistants/{assistant_id}
DELETE /assistants/{assistant_id}
POST /assistants/{assistant_id}/latest
POST /threads
POST /threads/prune
PATCH /threads/{thread_id}
DELETE /threads/{thread_id}
POST /threads/{thread_id}/copy
POST /threads/{thread_id}/messages
PATCH /threads/{thread_id}/state
POST /threads/{thread_id}/state
POST /threads/{thread_id}/runs
POST /threads/{thread_id}/runs/wait
POST /threads/{thread_id}/runs/stream
DELETE /threads/{thread_id}/runs/{run_id}
POST /threads/{thread_id}/runs/{run_id}/cancel
POST /runs
POST /runs/wait
POST /runs/stream
POST /runs/batch
POST /runs/cancel
PUT /store/items
DELETE /store/items
POST /threads/{thread_id}/runs/crons
POST /runs/crons
PATCH /runs/crons/{cron_id}
DELETE /runs/crons/{cron_id}
"""
_PUBLIC = """
GET /
GET /ok
GET /info
GET /metrics
GET /docs
GET /openapi.json
"""

COVERED: dict[str, Kind] = {
    operation: kind
    for kind, table in ((Kind.READS, _READS), (Kind.WRITES, _WRITES), (Kind.PUBLIC, _PUBLIC))
    for operation in table.split("\n")
    if operation
}
