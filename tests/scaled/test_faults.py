"""What is guaranteed when parts of scale mode die, freeze or restart, with real processes."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from langgraph_sdk import get_sync_client

from tests.faults.conftest import QUICK
from tests.faults.victim import CONFIG, NODES, REPEATS
from tests.live import SyncClient
from tests.scaled_stack import ScaledStack, Worker

pytestmark = pytest.mark.fault
# Longer leases than with one worker: a second one takes a run away when the first is only slow.
LEASES = {"LEASE_SECONDS": "4", "HEARTBEAT_SECONDS": "0.5"}
# A node as long as this is in work when something is done to its worker.
DELAY: dict[str, Any] = {"input": {"delay": 0.3}, "durability": "sync"}


class Machine:
    """A scaled stack whose graphs leave a trail, and what the tests ask of it."""

    def __init__(self, stack: ScaledStack, trail: Path) -> None:
        self.stack, self.trail = stack, trail
        self.client: SyncClient = get_sync_client(url=stack.url, timeout=60)

    def start(self, graph: str = "six", thread: str | None = None, **body: Any) -> tuple[str, str]:
        thread = thread or self.client.threads.create()["thread_id"]
        return thread, self.client.runs.create(thread, graph, **body)["run_id"]

    def starts(self, thread: str) -> list[str]:
        lines = self.trail.read_text().splitlines() if self.trail.exists() else []
        return [line.split()[1] for line in lines if line.startswith(thread)]

    def until(self, true: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError("\n".join(worker.log[-3000:] for worker in self.stack.workers))
            time.sleep(0.02)

    def until_started(self, thread: str, node: str) -> None:
        self.until(lambda: node in self.starts(thread))

    def status(self, run: str) -> str:
        (row,) = self.stack.rows("SELECT status FROM runs_run WHERE run_id = %s", run)
        return str(row["status"])

    def until_over(self, run: str) -> str:
        self.until(lambda: self.status(run) not in ("pending", "running"))
        return self.status(run)

    def values(self, thread: str) -> dict[str, Any]:
        return dict(self.client.threads.get_state(thread)["values"])


@pytest.fixture(scope="module")
def machine(scaled_stacks: Callable[..., ScaledStack], tmp_path_factory: pytest.TempPathFactory) -> Machine:
    trail = tmp_path_factory.mktemp("scaled") / "trail"
    return Machine(scaled_stacks(CONFIG, TRAIL=str(trail), **{**QUICK, **LEASES}).start(workers=2), trail)


@pytest.fixture(autouse=True)
def everything_is_up(machine: Machine) -> Iterator[None]:
    yield
    for worker in machine.stack.workers:
        if not worker.is_running():
            worker.start()


def holder(machine: Machine, run: str) -> int:
    """Which of the workers has the run: their places in the stack."""
    (row,) = machine.stack.rows("SELECT lease_owner FROM runs_run WHERE run_id = %s", run)
    name = str(row["lease_owner"]).partition("/")[0]
    (place,) = [place for place, worker in enumerate(machine.stack.workers) if f'"worker":"{name}"' in worker.log]
    return place


# --- Workers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_another_worker_takes_over_from_one_that_was_killed(machine: Machine, repeat: int) -> None:
    thread, run = machine.start(**DELAY)
    machine.until_started(thread, NODES[1 + repeat % 4])
    machine.stack.workers[holder(machine, run)].kill()
    assert machine.until_over(run) == "success"
    assert machine.values(thread)["done"] == NODES
    assert len(machine.starts(thread)) <= len(NODES) + 1


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_a_worker_that_thaws_after_its_lease_writes_nothing_more(machine: Machine, repeat: int) -> None:
    thread, run = machine.start(input={"delay": 0.6}, durability="sync", stream_resumable=True, stream_mode="updates")
    machine.until_started(thread, "n2")
    frozen = machine.stack.workers[holder(machine, run)]
    frozen.freeze()
    try:
        # The other one is at work now, or done.
        machine.until(lambda: machine.starts(thread).count("n2") >= 2)
    finally:
        frozen.thaw()
    assert machine.until_over(run) == "success"
    machine.until(lambda: any("gave up" in line and run in line for line in frozen.log.splitlines()))

    assert machine.values(thread)["done"] == NODES
    steps = [state["metadata"]["step"] for state in machine.client.threads.get_history(thread, limit=50)]
    assert steps == sorted(set(steps), reverse=True)
    # The end of the log came from the one that owned the run.
    events = [part.data for part in machine.client.runs.join_stream(thread, run, last_event_id="-1")]
    updates = [next(iter(data)) for data in events if isinstance(data, dict) and next(iter(data), "") in NODES]
    assert updates[-5:] == NODES[1:]
    (row,) = machine.stack.rows("SELECT attempt, status FROM runs_run WHERE run_id = %s", run)
    assert row["attempt"] >= 2
    assert row["status"] == "success"


@pytest.fixture
def frozen(machine: Machine) -> Iterator[tuple[Worker, tuple[str, str], tuple[str, str]]]:
    """A worker that stands still in the transaction that ends a run, that run, and another one of it."""
    one, other = machine.stack.workers
    other.terminate()
    ending = machine.start(input={"delay": 0.02})
    beside = machine.start(input={"delay": 0.4}, durability="sync")
    with psycopg.connect(machine.stack.database_url) as connection:
        # The end of the run has locked its thread and its row by the time that it counts.
        connection.execute("LOCK TABLE runs_runstatistic IN EXCLUSIVE MODE")
        machine.until(lambda: bool(machine.stack.rows(WAITS_TO_COUNT)))
        one.freeze()
    try:
        machine.until(lambda: not machine.stack.rows(WAITS_TO_COUNT))
        yield one, ending, beside
    finally:
        one.thaw()


WAITS_TO_COUNT = (
    "SELECT 1 FROM pg_locks WHERE relation = 'runs_runstatistic'::regclass AND NOT granted AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def test_a_worker_that_stands_still_in_a_transaction_stops_nobody_but_itself(
    machine: Machine, frozen: tuple[Worker, tuple[str, str], tuple[str, str]]
) -> None:
    _, (thread, run), beside = frozen
    path = f"{machine.stack.url}/threads/{thread}"
    calls = [("POST", f"{path}/runs/{run}/cancel"), ("DELETE", f"{path}/runs/{run}"), ("DELETE", path)]
    answers = [httpx.request(method, url, timeout=60) for method, url in calls]
    assert {(answer.status_code, answer.json()["detail"]) for answer in answers} == {
        (503, "Another process has locked what this needs; try again")
    }

    machine.stack.workers[1].start()
    assert machine.until_over(beside[1]) == "success"
    assert machine.values(beside[0])["done"] == NODES
    assert machine.until_over(run) == "success"
    assert machine.values(thread)["done"] == NODES
    (row,) = machine.stack.rows("SELECT attempt FROM runs_run WHERE run_id = %s", run)
    assert row["attempt"] == 2
    assert "ended the database session" in machine.stack.workers[1].log


def test_a_cancel_reaches_the_worker_that_has_the_run(machine: Machine) -> None:
    thread, run = machine.start(input={"delay": 60})
    machine.until_started(thread, "n1")
    machine.client.runs.cancel(thread, run, wait=True)
    assert machine.status(run) == "interrupted"
    assert machine.client.threads.get(thread)["status"] != "busy"


def test_a_synchronous_node_that_goes_on_keeps_its_thread(machine: Machine) -> None:
    thread, run = machine.start("synchronous", input={"delay": 1.5})
    machine.until_started(thread, "sleeps")
    _, following = machine.start("six", thread, input={"delay": 0.01}, multitask_strategy="interrupt")
    assert machine.starts(thread) == ["sleeps"]
    assert machine.until_over(following) == "success"
    (rows,) = machine.stack.rows(
        "SELECT first.finished_at <= second.started_at AS in_order FROM runs_run first, runs_run second"
        " WHERE first.run_id = %s AND second.run_id = %s",
        run,
        following,
    )
    assert rows["in_order"]


def test_a_thread_that_is_deleted_under_a_worker_stays_deleted(machine: Machine) -> None:
    thread, run = machine.start(input={"delay": 0.2}, durability="async")
    machine.until_started(thread, "n2")
    machine.client.threads.delete(thread)
    # Long enough for everything that was under way in the worker.
    started = len(machine.starts(thread))
    time.sleep(1.5)
    assert len(machine.starts(thread)) <= started + 1
    for table in ("threads_thread", "runs_run", "checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        assert machine.stack.rows(f"SELECT 1 FROM {table} WHERE thread_id::text = %s", thread) == [], table
    assert run


# --- Web processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", range(REPEATS))
def test_a_run_completes_though_the_web_process_died_after_its_answer(machine: Machine, repeat: int) -> None:
    web = machine.stack.start_web()
    with httpx.Client(base_url=web.url, timeout=30) as http:
        thread = http.post("/threads", json={}).json()["thread_id"]
        body = {"assistant_id": "six", "input": {"delay": 0.02}}
        run = http.post(f"/threads/{thread}/runs", json=body).json()["run_id"]
        web.kill()
    assert machine.until_over(run) == "success"


def test_a_stream_is_resumed_from_another_web_process(machine: Machine) -> None:
    other = machine.stack.start_web()
    thread, run = machine.start(input={"delay": 0.2}, stream_resumable=True, stream_mode="updates")
    path = f"/threads/{thread}/runs/{run}/stream"
    first, rest = [], []
    with httpx.stream("GET", machine.stack.url + path, headers={"Last-Event-ID": "-1"}, timeout=30) as answer:
        for line in answer.iter_lines():
            first += [line] if line.startswith(("id:", "event:")) else []
            if len(first) >= 6:
                break
    last = next(line[4:] for line in reversed(first) if line.startswith("id:"))
    with httpx.stream("GET", other.url + path, headers={"Last-Event-ID": last}, timeout=30) as answer:
        rest = [line for line in answer.iter_lines() if line.startswith("id:")]
    whole = httpx.get(other.url + path, headers={"Last-Event-ID": "-1"}, timeout=30).text.splitlines()
    ids = [line for line in whole if line.startswith("id:")]
    assert ids == [line for line in first if line.startswith("id:")] + rest
    other.stop()


def test_two_hundred_idle_streams_need_no_database_connection(machine: Machine) -> None:
    thread, run = machine.start(input={"delay": 3})
    machine.until_started(thread, "n1")
    with (
        ThreadPoolExecutor(200) as pool,
        httpx.Client(base_url=machine.stack.url, timeout=60, limits=httpx.Limits(max_connections=300)) as http,
    ):
        joins = [pool.submit(http.get, f"/threads/{thread}/runs/{run}/join") for _ in range(200)]
        machine.until(lambda: sum(join.running() for join in joins) == 200)
        time.sleep(1)
        (row,) = machine.stack.rows("SELECT count(*) AS held FROM pg_stat_activity WHERE state <> 'idle'")
        # This query's own.
        assert row["held"] <= 3
        assert http.get("/ok?check_db=1").status_code == 200
        machine.client.runs.cancel(thread, run)
        assert {join.result().status_code for join in joins} == {200}


# --- PostgreSQL and Redis ----------------------------------------------------------------------------


class Load:
    """Clients that keep starting runs, and remember which of them were accepted."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.accepted: list[tuple[str, str]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with httpx.Client(base_url=self.machine.stack.url, timeout=30) as http:
            while not self._stop.wait(0.05):
                with contextlib.suppress(httpx.TransportError, KeyError, ValueError):
                    thread = http.post("/threads", json={}).json()["thread_id"]
                    body = {"assistant_id": "six", "input": {"delay": 0.1}, "durability": "sync"}
                    self.accepted.append((thread, http.post(f"/threads/{thread}/runs", json=body).json()["run_id"]))


@pytest.mark.parametrize("part", ["postgres", "valkey"])
@pytest.mark.parametrize("hard", [False, True], ids=["stopped", "killed"])
def test_a_restart_under_load_loses_no_accepted_run(machine: Machine, part: str, hard: bool) -> None:
    with Load(machine) as load:
        machine.until(lambda: len(load.accepted) > 10)
        restart = machine.stack.restart_postgres if part == "postgres" else machine.stack.restart_valkey
        restart(hard=hard)
        accepted = len(load.accepted)
        machine.until(lambda: len(load.accepted) > accepted + 10)
    statuses = Counter(machine.until_over(run) for _, run in load.accepted)
    assert statuses == {"success": len(load.accepted)}
    for thread, _ in load.accepted:
        assert machine.values(thread)["done"] == NODES


def test_a_stream_outlives_a_restart_of_redis(machine: Machine) -> None:
    thread, run = machine.start(input={"delay": 0.5}, stream_mode="updates")
    machine.until_started(thread, "n1")
    with httpx.stream("GET", f"{machine.stack.url}/threads/{thread}/runs/{run}/stream", timeout=60) as answer:
        machine.until_started(thread, "n2")
        machine.stack.restart_valkey(hard=True)
        lines = [line for line in answer.iter_lines() if line.startswith("data:")]
    assert machine.until_over(run) == "success"
    assert "n6" in lines[-1]


# --- Many at once ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["enqueue", "reject", "interrupt", "rollback"])
def test_fifty_posts_at_once_keep_the_order_of_a_thread(machine: Machine, strategy: str) -> None:
    other = machine.stack.webs[-1] if machine.stack.webs[-1].process else machine.stack.start_web()
    thread = machine.client.threads.create()["thread_id"]
    body = {"assistant_id": "six", "input": {"delay": 0.001, "notes": ["x"]}, "multitask_strategy": strategy}

    def post(number: int) -> int:
        url = (machine.stack.url, other.url)[number % 2]
        return httpx.post(f"{url}/threads/{thread}/runs", json=body, timeout=60).status_code

    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(post, range(50)))
    machine.until(lambda: machine.client.threads.get(thread)["status"] != "busy", 180)
    assert set(answers) <= ({200, 409} if strategy == "reject" else {200})
    overlapping = machine.stack.rows(
        "SELECT 1 FROM runs_run a JOIN runs_run b ON a.thread_id = b.thread_id AND a.sequence < b.sequence"
        " WHERE a.thread_id = %s AND a.started_at IS NOT NULL AND b.started_at < a.finished_at",
        thread,
    )
    assert overlapping == []
    statuses = Counter(
        row["status"] for row in machine.stack.rows("SELECT status FROM runs_run WHERE thread_id = %s", thread)
    )
    if strategy == "enqueue":
        assert statuses == {"success": 50}
        assert machine.values(thread)["notes"] == ["x"] * 50
    elif strategy == "rollback":
        # What had ended by itself before the next post came stays; of the others there is no trace.
        assert set(statuses) == {"success"}
        assert machine.values(thread)["notes"] == ["x"] * statuses["success"]
    else:
        assert sum(statuses.values()) == answers[200]
        assert statuses["success"] >= 1
    assert not set(statuses) & {"pending", "running", "error"}
