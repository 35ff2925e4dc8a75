"""What the tests of runs share: a workspace with assistants of test graphs, runs to make, claim and execute."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection

from assistants.services import ensure_default_assistants
from platform_site.access.default_workspace import ensure_first_start
from platform_site.access.models import Workspace
from platform_site.access.principal import Principal
from platform_site.core.config import load_config
from platform_site.core.database.access import in_db
from platform_site.core.graphs import registry as graphs
from platform_site.core.graphs.registry import GraphRegistry
from runs import services
from runs.engine import engine as run_engine
from runs.engine import workers
from runs.engine.attempt import Attempt
from runs.engine.claim import Claim
from runs.engine.engine import Engine
from runs.engine.queue import claim_next
from runs.models import Run
from runs.schemas import RunCreate
from tests.api_client import api as api
from threads.models import Thread

CONFIG = Path(__file__).parent / "project" / "langgraph.json"


@pytest.fixture(scope="session")
def registry() -> GraphRegistry:
    config = load_config(CONFIG)
    config.apply()
    loaded = GraphRegistry(config)
    loaded.load()
    return loaded


@pytest.fixture(autouse=True)
def _test_graphs(registry: GraphRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process serves the graphs of `tests.runs.graphs`."""
    monkeypatch.setattr(graphs, "_registry", registry)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch, _test_graphs: None) -> GraphRegistry:
    """The graphs are not loaded yet, so that a run of the broken one is still accepted."""
    registry = GraphRegistry(load_config(CONFIG))
    monkeypatch.setattr(graphs, "_registry", registry)
    return registry


@pytest.fixture
def idle_engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine of this process, not started: runs stay pending until a test claims them."""
    return use_engine(monkeypatch, Engine())


def use_engine(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Engine:
    """Have services talk to this engine."""
    monkeypatch.setattr(run_engine, "engine", lambda: engine)
    return engine


@pytest.fixture
def principal(transactional_db: None, registry: GraphRegistry, idle_engine: Engine) -> Principal:
    """The superuser of the default workspace; every test graph has its default assistant."""
    ensure_first_start()
    ensure_default_assistants(registry.ids)
    alive("worker")
    return Principal(workspace_id=Workspace.objects.get(slug="default").pk)


@pytest.fixture
def engine(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine at work; it is drained when the test ends."""
    started = use_engine(monkeypatch, Engine())
    started.start()
    eventually(started.has_room)
    yield started
    started.drain(0)


def create(
    principal: Principal, graph_id: str = "log", thread_id: UUID | None = None, *, new: bool = True, **fields: Any
) -> Run:
    """Accept a run, on a new thread unless one is given; `new=False`: a stateless one."""
    if thread_id is None and new:
        thread_id = Thread.objects.create(workspace_id=principal.workspace_id).thread_id
    body = RunCreate(assistant_id=graph_id, **fields)
    return Run.objects.get(run_id=services.run_create(principal, thread_id, body, "request").run_id)


def change(run: Run, **columns: Any) -> Run:
    """Write these columns past every service; the run as it is then."""
    Run.objects.filter(pk=run.pk).update(**columns)
    run.refresh_from_db()
    return run


def alive(*names: str) -> None:
    """Workers of these names are alive, if none of them has died yet."""
    for name in names:
        workers.register(name, workers.DatabaseClock())


def claim(run: Run | None = None, worker: str = "worker") -> Claim:
    """Claim the next due run, which must be `run` if one is given, for a worker that is alive."""
    alive(worker)
    [claimed] = claim_next(worker, limit=1, thread_id=run.thread_id if run else None)
    assert run is None or claimed.run_id == run.run_id
    return claimed


async def execute(claimed: Claim) -> list[Claim]:
    """One attempt from begin to end; the claims that its end made."""
    return await Attempt(claimed, lambda: None).execute()


async def run_to_end(principal: Principal, graph_id: str, thread_id: UUID | None = None, **fields: Any) -> Run:
    """Create, claim and execute a run; its row at the end."""
    run = await in_db(create, principal, graph_id, thread_id, **fields)
    await execute(await in_db(claim, run))
    ended: Run = await in_db(lambda: Run.objects.select_related("thread").get(pk=run.pk))
    return ended


def eventually(condition: Callable[[], Any], timeout: float = 15) -> Any:
    """Wait until the condition is true; its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
    return value


def ended(run: Run) -> Run:
    """The run's row, once it has ended."""
    return eventually(lambda: Run.objects.filter(pk=run.pk, finished_at__isnull=False, lease_owner=None).first())


class Gate:
    """A place where a node waits until the test lets it go on; it is open when the test ends."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.cancelled = threading.Event()

    def wait(self, *_: Any) -> str:
        """For a synchronous node."""
        self.reached.set()
        self.open.wait(30)
        return "passed"

    async def pause(self, *_: Any) -> str:
        """For an asynchronous node."""
        self.reached.set()
        try:
            while not self.open.is_set():  # noqa: ASYNC110 - opened from another thread
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "passed"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


def table_counts(*tables: str) -> dict[str, int]:
    """How many rows each table has."""
    with connection.cursor() as cursor:
        counts = {}
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = cursor.fetchone()[0]
        return counts


def loads(body: bytes) -> Any:
    return orjson.loads(body)
