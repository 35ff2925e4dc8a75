"""What a run's lines in the log say, whoever writes them."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from platform_site.access.principal import Principal
from platform_site.core.background.rounds import Task
from platform_site.core.background.tasks import BackgroundTasks
from platform_site.core.database.access import in_db
from platform_site.core.telemetry import logs
from runs.engine.engine import Engine
from tests.runs.conftest import create, ended, run_to_end
from tests.runs.graphs import script
from tests.tracing import traces as traces

mine = logging.getLogger("my.agent")


class Lines(logging.Handler):
    """The JSON lines that this process writes."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(logs.Context())
        self.setFormatter(logs.JsonFormatter())
        self.written: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(json.loads(self.format(record)))

    def of(self, message: str) -> dict[str, Any]:
        return next(line for line in self.written if line["message"] == message)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def in_a_node(*_: Any) -> None:
    mine.warning("from a node", extra={"customer": 7})


async def in_an_async_node(*_: Any) -> None:
    await asyncio.sleep(0)
    mine.warning("from a node")


async def in_a_thread_of_a_node(*_: Any) -> None:
    await asyncio.to_thread(in_a_node)


@pytest.mark.parametrize("node", [in_a_node, in_an_async_node, in_a_thread_of_a_node])
async def test_what_a_node_logs_belongs_to_its_run(
    lines: Lines, principal: Principal, node: Callable[..., Any]
) -> None:
    with script("log", node):
        run = await run_to_end(principal, "scripted", input={"do": "log"})
    line = lines.of("from a node")
    assert (line["run_id"], line["thread_id"], line["attempt"]) == (str(run.run_id), str(run.thread_id), 1)
    assert line["request_id"] == "request"


async def test_what_a_synchronous_graph_logs_belongs_to_its_run(lines: Lines, principal: Principal) -> None:
    with script("log", in_a_node):
        run = await run_to_end(principal, "scripted_thread", input={"do": "log"})
    assert lines.of("from a node")["run_id"] == str(run.run_id)
    assert lines.of("from a node")["customer"] == 7


async def test_a_line_within_a_trace_names_it(lines: Lines, traces: Any, principal: Principal) -> None:
    with script("log", in_a_node):
        await run_to_end(principal, "scripted", input={"do": "log"})
    [span] = [span for span in traces.get_finished_spans() if span.name == "scripted"]
    assert lines.of("from a node")["trace_id"] == f"{span.context.trace_id:032x}"


async def test_what_is_logged_on_a_database_thread_belongs_to_its_caller(lines: Lines, transactional_db: None) -> None:
    logs.request_id.set("caller")
    await in_db(lambda: mine.warning("from a database thread"))
    assert lines.of("from a database thread")["request_id"] == "caller"


def test_the_next_run_of_a_thread_has_its_own_lines(lines: Lines, engine: Engine, principal: Principal) -> None:
    with script("log", in_a_node):
        first = create(principal, "scripted", input={"do": "log"})
        second = create(principal, "scripted", first.thread_id, input={"do": "log"})
        ended(second)
    told = [line["run_id"] for line in lines.written if line["message"] == "from a node"]
    assert told == [str(first.run_id), str(second.run_id)]


def test_a_background_tasks_lines_name_it(lines: Lines) -> None:
    done = threading.Event()

    async def work() -> float:
        mine.warning("from a round")
        done.set()
        return 60

    tasks = BackgroundTasks()
    tasks.start([Task("mine", work, 60)])
    assert done.wait(10)
    tasks.stop()
    assert lines.of("from a round")["task"] == "mine"


def test_every_line_says_which_process_wrote_it(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_process", {})
    logs.identify(role="worker", worker="abc")
    mine.warning("anything")
    line = lines.of("anything")
    assert (line["role"], line["worker"]) == ("worker", "abc")
    assert "attempt" not in line
