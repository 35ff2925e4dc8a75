"""Every public method of the installed client has its test: a new one fails here until it has."""

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests.client.sdk import (
    test_assistants_client,
    test_crons_client,
    test_runs_client,
    test_store_client,
    test_threads_client,
)
from tests.client.sdk.covering import public_methods

CLIENTS = [("async", get_client(url="http://127.0.0.1:1")), ("sync", get_sync_client(url="http://127.0.0.1:1"))]
TESTS = {
    "assistants": test_assistants_client,
    "threads": test_threads_client,
    "runs": test_runs_client,
    "crons": test_crons_client,
    "store": test_store_client,
}
# Methods that speak what this server does not speak yet.
NOT_DUE = {("threads", "stream"): "later: protocol v2"}


@pytest.mark.parametrize("resource", TESTS)
@pytest.mark.parametrize(("kind", "client"), CLIENTS, ids=["async", "sync"])
def test_every_method_has_a_test(kind: str, client: object, resource: str) -> None:
    methods = public_methods(type(getattr(client, resource)))
    missing = [
        name for name in methods if not hasattr(TESTS[resource], f"test_{name}") and (resource, name) not in NOT_DUE
    ]
    assert missing == []


def test_what_is_not_due_has_no_test() -> None:
    assert [name for resource, name in NOT_DUE if hasattr(TESTS[resource], f"test_{name}")] == []
