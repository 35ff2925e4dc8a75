"""What threads keep, copy, prune and lose on PostgreSQL, where rows and checkpoints share one database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.live import CONTRACT_CONFIG, LiveServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.runs.conftest import eventually

pytestmark = pytest.mark.postgres

TABLES = ("threads_thread", "threads_threadtombstone", "runs_run", "checkpoints", "checkpoint_blobs",
          "checkpoint_writes")  # fmt: skip

ORDERS = ("asc", "desc")


@pytest.fixture
def http(tmp_path: Path, postgres_url: str) -> Iterator[httpx.Client]:  # noqa: F811
    server = LiveServer(CONTRACT_CONFIG, tmp_path, {"DATABASE_URL": postgres_url}).start()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
    server.stop()


def post(http: httpx.Client, path: str, **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def values(http: httpx.Client, thread: str) -> Any:
    return http.get(f"/threads/{thread}/state").json()["values"]


def ran(http: httpx.Client) -> str:
    """A thread with a run."""
    thread: str = post(http, "/threads", metadata={"owner": "me"})["thread_id"]
    post(http, f"/threads/{thread}/runs/wait", assistant_id="counter", input={"count": 1})
    return thread


def test_copy_lives_on_without_its_source(http: httpx.Client) -> None:
    thread = ran(http)
    copied = post(http, f"/threads/{thread}/copy")
    assert UUID(copied["thread_id"]).version == 4
    assert (copied["metadata"]["owner"], "values" in copied) == ("me", False)
    measured = [http.get(f"/threads/{id_}/storage").json() for id_ in (thread, copied["thread_id"])]
    assert measured[0] | {"thread_id": ""} == measured[1] | {"thread_id": ""}
    assert measured[0]["checkpoints"]["count"] == 4
    http.delete(f"/threads/{thread}")
    assert values(http, copied["thread_id"]) == {"count": 4, "log": ["inc", "double"]}
    assert len(post(http, f"/threads/{copied['thread_id']}/history", limit=9)) == 4
    assert http.post(f"/threads/{thread}/copy").status_code == 409


def test_keep_latest_keeps_the_state(http: httpx.Client) -> None:
    thread = ran(http)
    body = {"thread_ids": [thread, str(uuid4())], "strategy": "keep_latest"}
    assert post(http, "/threads/prune", **body) == {"pruned_count": 1}
    assert len(post(http, f"/threads/{thread}/history", limit=9)) == 1
    assert http.get(f"/threads/{thread}/storage").json()["checkpoints"]["count"] == 1
    assert values(http, thread) == {"count": 4, "log": ["inc", "double"]}
    post(http, f"/threads/{thread}/runs/wait", assistant_id="counter", input={"count": 1})
    assert values(http, thread)["log"] == ["inc", "double", "inc", "double"]


def test_nothing_is_left_of_what_is_deleted(http: httpx.Client, postgres_url: str) -> None:  # noqa: F811
    threads = [ran(http) for _ in range(2)]
    copies = [post(http, f"/threads/{thread}/copy")["thread_id"] for thread in threads]
    assert post(http, "/threads/prune", thread_ids=[*threads, *copies]) == {"pruned_count": 4}
    with psycopg.connect(postgres_url) as connection:
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES}
    assert counts == dict.fromkeys(TABLES, (0,))


def test_thread_begins_with_supersteps(http: httpx.Client) -> None:
    steps = [{"updates": [{"values": {"count": 5}, "as_node": "__input__"}]}]
    thread = post(http, "/threads", metadata={"graph_id": "counter"}, supersteps=steps)
    assert (thread["status"], thread["interrupts"]) == ("interrupted", {})
    post(http, f"/threads/{thread['thread_id']}/runs/wait", assistant_id="counter")
    assert values(http, thread["thread_id"])["log"] == ["inc", "double"]


def test_messages_wait_for_a_run(http: httpx.Client) -> None:
    thread = post(http, "/threads")["thread_id"]
    said = [post(http, f"/threads/{thread}/messages", role="user", content=text) for text in ("one", "two")]
    post(http, f"/threads/{thread}/runs/wait", assistant_id="chat")
    shown = http.get(f"/threads/{thread}/messages").json()
    assert [message["id"] for message in shown[:2]] == [message["id"] for message in said]
    assert len(shown) == 3
    post(http, f"/threads/{thread}/messages", role="user", content="three")
    assert http.get(f"/threads/{thread}/messages").json()[-1]["content"] == "three"


def test_searches_find_in_every_order(http: httpx.Client) -> None:
    made = {ran(http) for _ in range(2)}
    queries: list[dict[str, Any]] = [
        {"metadata": {"owner": "me"}},
        {"values": {"log": ["inc"]}},
        {"ids": sorted(made)},
        {"status": "idle"},
        {},
    ]
    for column in ("thread_id", "status", "created_at", "updated_at", "state_updated_at"):
        for query in queries:
            found = [post(http, "/threads/search", sort_by=column, sort_order=order, **query) for order in ORDERS]
            ids = [[thread["thread_id"] for thread in threads] for threads in found]
            assert set(ids[0]) == made
            assert ids[0] == ids[1][::-1]
    assert post(http, "/threads/search", values={"log": ["zz"]}) == []


def test_a_large_thread_is_gone_at_once_and_removed_in_portions(http: httpx.Client, postgres_url: str) -> None:  # noqa: F811
    thread, other = ran(http), ran(http)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        names = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'runs_run'"
            " AND column_name NOT IN ('sequence', 'run_id')"
        ).fetchall()
        columns = ", ".join(f'"{name}"' for (name,) in names)
        connection.execute(
            f"INSERT INTO runs_run (run_id, {columns}) SELECT gen_random_uuid(), {columns}"
            " FROM runs_run, generate_series(1, 6000) WHERE thread_id = %s",
            [thread],
        )
        connection.execute(
            "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata)"
            " SELECT thread_id, 'n' || n, checkpoint_id, checkpoint, metadata"
            " FROM checkpoints, generate_series(1, 1000) n WHERE thread_id = %s",
            [thread],
        )
        assert http.delete(f"/threads/{thread}").status_code == 204
        assert http.get(f"/threads/{thread}").status_code == 404
        assert http.get(f"/threads/{thread}/runs").status_code == 404
        assert post(http, "/threads/count") == 1

        def left() -> int:
            # The rows of the thread, in tables with a thread_id.
            return sum(
                connection.execute(f"SELECT count(*) FROM {table} WHERE thread_id::text = %s", [thread]).fetchone()[0]  # type: ignore[index]
                for table in TABLES
            )

        eventually(lambda: left() == 0, 60)
    assert values(http, other) == {"count": 4, "log": ["inc", "double"]}


def test_a_message_that_cannot_be_read_is_shown_as_it_is(http: httpx.Client) -> None:
    thread = post(http, "/threads")["thread_id"]
    odd = {"role": "zzz", "content": 1}
    post(http, f"/threads/{thread}/runs/wait", assistant_id="chat", input={"messages": [odd]})
    [shown] = http.get(f"/threads/{thread}/messages").json()
    assert {key: shown[key] for key in odd} == odd
    post(http, f"/threads/{thread}/messages", role="user", content="later")
    assert [message["content"] for message in http.get(f"/threads/{thread}/messages").json()] == ["later"]
