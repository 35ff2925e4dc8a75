"""What the begin and the end of a run cost in statements, as calls of a group of SQLite's writer."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from platform_site.access.principal import Principal
from platform_site.core.database.access import IS_POSTGRES
from platform_site.core.errors import TooManyRequests
from runs import services
from runs.engine.endings import Ending
from runs.engine.finish import finish
from runs.models import Run, RunStatus
from runs.schemas import RunCreate
from tests.runs.conftest import claim
from threads.head import Head
from threads.models import Thread

pytestmark = pytest.mark.skipif(IS_POSTGRES, reason="only SQLite's writer makes groups")

SUCCESS = Ending(RunStatus.SUCCESS, head=Head(values=b"{}", interrupts={}, nodes={}, has_next=False))


def statements(work: Callable[[], Any]) -> list[str]:
    """The verb and the table of each statement but reads that the work makes inside of a transaction."""
    seen: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        words = sql.replace("INTO ", "").replace("FROM ", "").split()
        if words[0] != "SELECT":
            seen.append(" ".join(words[:2]))
        return execute(sql, params, many, context)

    with transaction.atomic(), connection.execute_wrapper(watch):
        work()
    return seen


def create(principal: Principal, thread: Thread | None) -> Run:
    body = RunCreate(assistant_id="log", input={"log": []})
    run = services.run_create(principal, thread.thread_id if thread else None, body, "request")
    return Run.objects.get(run_id=run.run_id)


def test_begin_of_a_stateless_run(principal: Principal) -> None:
    assert statements(lambda: create(principal, None)) == ["INSERT threads_thread", "INSERT runs_run"]


def test_begin_of_a_run_on_a_thread(principal: Principal) -> None:
    thread = Thread.objects.create(workspace_id=principal.workspace_id)
    assert statements(lambda: create(principal, thread)) == ["UPDATE threads_thread", "INSERT runs_run"]


def test_end_of_a_stateless_run(principal: Principal) -> None:
    claimed = claim(create(principal, None))
    found = statements(lambda: finish(claimed, SUCCESS, "worker"))
    assert found == ["DELETE runs_run", "DELETE threads_thread", "INSERT runs_runstatistic"]


def test_end_of_a_stateless_run_whose_thread_has_another(principal: Principal) -> None:
    run = create(principal, None)
    claimed = claim(run)
    Run.objects.filter(pk=run.pk).update(run_id=uuid4())
    other = create(principal, Thread.objects.get(pk=run.thread_id))
    assert [found.run_id for found in finish(claimed, SUCCESS, "worker") or []] == [other.run_id]
    assert Thread.objects.filter(pk=run.thread_id).exists()


def test_end_of_a_run_on_a_thread(principal: Principal) -> None:
    claimed = claim(create(principal, Thread.objects.create(workspace_id=principal.workspace_id)))
    assert statements(lambda: finish(claimed, SUCCESS, "worker")) == [
        "UPDATE runs_run",
        "INSERT runs_runattempt",
        "INSERT runs_runstatistic",
        "UPDATE threads_thread",
    ]


def test_a_run_for_which_too_many_wait_is_refused_before_anything_is_written(
    principal: Principal, settings: Any
) -> None:
    settings.MAX_PENDING_RUNS = 1
    create(principal, None)

    def refused() -> None:
        with pytest.raises(TooManyRequests):
            create(principal, None)

    assert statements(refused) == []
