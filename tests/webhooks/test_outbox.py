"""What is owed to a run's webhook: one delivery for each end, written with it."""

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.webhooks import outbox
from platform_site.webhooks.models import WebhookDelivery
from runs.cancel import run_cancel, run_delete
from runs.engine.endings import Ending
from runs.engine.engine import Engine
from runs.engine.finish import finish
from runs.models import Run, RunStatus, Worker
from runs.schemas import RunCreate
from runs.services import run_create
from tests.runs.conftest import Gate, claim, create, ended, eventually, use_engine
from tests.runs.engine.test_finish import head
from tests.runs.graphs import script
from tests.webhooks.conftest import Clock
from threads.models import Thread
from threads.services import delete_threads

HOOK = "https://hooks.example.com/runs?token=1"
CANCEL = "requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
pytestmark = pytest.mark.usefixtures("use_webhooks")


@pytest.fixture(autouse=True)
def _checkpoints() -> None:
    """On PostgreSQL the tables of checkpoints are not of Django's making."""
    asyncio.run(checkpoints().setup())


def owed() -> list[dict[str, Any]]:
    """The bodies of all deliveries."""
    return [orjson.loads(row.body) for row in WebhookDelivery.objects.order_by("pk")]


def the_one() -> dict[str, Any]:
    [body] = eventually(owed)
    return body


def told() -> tuple[str, Any, Any]:
    """Status, values and error of the only delivery."""
    body = the_one()
    return body["status"], body["values"], body.get("error")


def test_body_is_the_run_with_its_values(principal: Principal, engine: Engine) -> None:
    run = ended(create(principal, input={"log": []}, webhook=HOOK, metadata={"of": "the run"}))
    body = the_one()
    assert list(body) == [
        "run_id", "thread_id", "assistant_id", "metadata", "status", "kwargs", "multitask_strategy", "created_at",
        "updated_at", "langsmith_session_name", "run_started_at", "run_ended_at", "webhook_sent_at", "values",
    ]  # fmt: skip
    assert body["run_id"] == str(run.run_id)
    assert body["metadata"]["of"] == "the run"
    assert body["kwargs"] == run.kwargs
    assert (body["status"], body["values"]) == ("success", {"log": ["one", "two"]})
    assert body["created_at"] <= body["run_started_at"] <= body["run_ended_at"] <= body["webhook_sent_at"]
    assert run.finished_at is not None
    assert run.finished_at.isoformat(timespec="microseconds") == body["run_ended_at"] == body["updated_at"]


def test_values_are_those_of_the_graphs_output(principal: Principal, engine: Engine) -> None:
    run = ended(create(principal, "noting", input={"log": []}, webhook=HOOK))
    assert the_one()["values"] == {"log": ["noted"]}
    assert Thread.objects.get(pk=run.thread_id).values == {"log": ["noted"], "note": "secret"}


def test_a_run_that_was_cancelled_before_it_began_tells_of_the_output_only(principal: Principal) -> None:
    thread = Thread.objects.create(
        workspace_id=principal.workspace_id, values={"log": ["noted"], "note": "secret"}, output_keys=["log"]
    )
    run = create(principal, "noting", thread.thread_id, webhook=HOOK)
    run_cancel(principal, run.thread_id, run.run_id)
    assert the_one()["values"] == {"log": ["noted"]}


def test_delivery_knows_its_run_and_its_receiver(principal: Principal, engine: Engine) -> None:
    run = ended(create(principal, input={"log": []}, webhook=HOOK))
    row = WebhookDelivery.objects.get()
    assert (row.run_id, row.thread_id, row.event, row.status) == (run.run_id, run.thread_id, "run.success", "pending")
    assert (row.url, row.address, row.host) == (HOOK, "https://hooks.example.com/runs", "hooks.example.com")


def test_run_without_a_webhook_owes_nothing(principal: Principal, engine: Engine) -> None:
    ended(create(principal, input={"log": []}))
    assert owed() == []


def test_run_without_a_webhook_makes_no_statement_for_it(principal: Principal) -> None:
    def statements(**fields: Any) -> list[str]:
        claimed = claim(create(principal, **fields))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            finish(claimed, Ending(RunStatus.SUCCESS, head=head()), None)
        return [query["sql"] for query in queries.captured_queries]

    assert not [sql for sql in statements() if "webhook" in sql]
    assert len(statements()) == len(statements(webhook=HOOK)) - 2


def test_question_of_the_graph_is_a_success(principal: Principal, engine: Engine) -> None:
    ended(create(principal, "ask_twice", input={"log": []}, webhook=HOOK))
    status, values, error = told()
    assert (status, error) == ("success", None)
    assert "__interrupt__" not in values


def test_failed_run_tells_its_error_and_the_values_so_far(principal: Principal, engine: Engine) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("no luck")

    with script("fail", fail):
        ended(create(principal, "scripted", input={"do": "fail"}, webhook=HOOK))
    assert told() == ("error", {"do": "fail", "log": ["begun"]}, {"error": "ValueError", "message": "no luck"})


def test_masked_error_stays_masked(principal: Principal, engine: Engine) -> None:
    def fail(*_: Any) -> None:
        raise OSError("/secret/path")

    with script("fail", fail):
        ended(create(principal, "scripted", input={"do": "fail"}, webhook=HOOK))
    assert the_one()["error"] == {"error": "OSError", "message": "An internal error occurred"}


def test_timeout(principal: Principal, settings: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RUN_TIME_LIMIT_SECONDS = 0.2
    engine = use_engine(monkeypatch, Engine())
    engine.start()
    with script("pause", gate.pause):
        ended(create(principal, "scripted", input={"do": "pause"}, webhook=HOOK))
    engine.drain(0)
    body = the_one()
    assert (body["status"], body["error"]["error"]) == ("timeout", "RunTimeout")


@pytest.mark.parametrize(("action", "name"), [("interrupt", "UserInterrupt"), ("rollback", "UserRollback")])
def test_cancel_of_a_run_that_waits(principal: Principal, action: str, name: str) -> None:
    run = create(principal, webhook=HOOK)
    run_cancel(principal, run.thread_id, run.run_id, action)
    assert told() == ("interrupted", None, {"error": name, "message": f"{action} {CANCEL}"})
    assert the_one()["run_started_at"] is None


def test_cancel_of_a_run_that_waits_tells_the_values_of_its_thread(principal: Principal) -> None:
    run = create(principal, webhook=HOOK)
    Thread.objects.filter(pk=run.thread_id).update(values={"log": ["before"]})
    run_cancel(principal, run.thread_id, run.run_id)
    assert the_one()["values"] == {"log": ["before"]}


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
def test_cancel_of_a_run_that_works(principal: Principal, engine: Engine, gate: Gate, action: str) -> None:
    with script("pause", gate.pause):
        run = create(principal, "scripted", input={"do": "pause"}, webhook=HOOK)
        assert gate.reached.wait(10)
        assert owed() == []
        run_cancel(principal, run.thread_id, run.run_id, action)
        status, values, error = told()
    assert status == "interrupted"
    assert values == ({"do": "pause", "log": ["begun"]} if action == "interrupt" else None)
    assert error["message"] == f"{action} {CANCEL}"


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_run_that_makes_way_for_another(principal: Principal, strategy: str) -> None:
    run = create(principal, webhook=HOOK)
    create(principal, thread_id=run.thread_id, multitask_strategy=strategy)
    assert the_one()["run_id"] == str(run.run_id)
    assert the_one()["status"] == "interrupted"


def test_stateless_run_is_told_of_without_values_though_its_row_is_gone(principal: Principal, engine: Engine) -> None:
    made = run_create(
        principal, None, RunCreate(assistant_id="log", input={"log": []}, webhook=HOOK, on_completion="delete"), "r"
    )
    body = the_one()
    assert (body["run_id"], body["status"], body["values"]) == (str(made.run_id), "success", None)
    assert body["run_started_at"] is not None
    assert not Run.objects.exists()


def test_stateless_run_that_is_kept_has_its_values(principal: Principal, engine: Engine) -> None:
    run_create(
        principal, None, RunCreate(assistant_id="log", input={"log": []}, webhook=HOOK, on_completion="keep"), "r"
    )
    assert told() == ("success", {"log": ["one", "two"]}, None)


def test_stateless_run_that_is_cancelled_before_it_begins(principal: Principal) -> None:
    made = run_create(principal, None, RunCreate(assistant_id="log", webhook=HOOK, on_completion="delete"), "r")
    run_cancel(principal, made.thread_id, made.run_id)
    assert told()[:2] == ("interrupted", None)
    assert not Run.objects.exists()


def test_run_whose_process_died_too_often(principal: Principal, idle_engine: Engine, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 1
    run = create(principal, input={"log": []}, webhook=HOOK)
    claim(run, worker="gone")
    Worker.objects.filter(name="gone").update(alive_until=timezone.now() - timedelta(hours=1))
    idle_engine.start()
    ended(run)
    idle_engine.drain(0)
    body = the_one()
    assert (body["status"], body["error"]["error"]) == ("error", "WorkerLost")


def test_deleted_run_tells_nobody(principal: Principal, engine: Engine, gate: Gate) -> None:
    waiting = create(principal, webhook=HOOK, after_seconds=1000)
    run_delete(principal, waiting.thread_id, waiting.run_id)
    with script("pause", gate.pause):
        run = create(principal, "scripted", input={"do": "pause"}, webhook=HOOK)
        assert gate.reached.wait(10)
        run_delete(principal, run.thread_id, run.run_id)
        eventually(lambda: not Run.objects.exists())
    assert owed() == []


@pytest.mark.parametrize("is_settled", [True, False])
def test_deleted_run_takes_what_its_end_was_told_with_along(
    principal: Principal, workspace: Any, clock: Clock, is_settled: bool
) -> None:
    # Cancelled before it began: it has ended, and has never been started.
    run = create(principal, webhook=HOOK, after_seconds=1000)
    run_cancel(principal, run.thread_id, run.run_id)
    if is_settled:
        WebhookDelivery.objects.update(status="delivered", settled_at=clock.now)
    run_delete(principal, run.thread_id, run.run_id)
    left = list(WebhookDelivery.objects.values_list("status", "is_forgotten"))
    assert left == ([] if is_settled else [("pending", True)])


def test_run_of_a_deleted_thread_tells_nobody(principal: Principal) -> None:
    run = create(principal, webhook=HOOK)
    delete_threads([run.thread_id], workspace_id=principal.workspace_id)
    assert owed() == []


def test_end_that_is_not_written_owes_nothing(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise DatabaseError("disk full")

    claimed = claim(create(principal, webhook=HOOK))
    monkeypatch.setattr(outbox, "delivery_owe", fails)
    with pytest.raises(DatabaseError):
        finish(claimed, Ending(RunStatus.SUCCESS, head=head()), None)
    assert Run.objects.get().status == "running"
    assert owed() == []


def test_attempt_that_lost_its_lease_owes_nothing(principal: Principal) -> None:
    claimed = claim(create(principal, webhook=HOOK))
    Run.objects.update(lease_owner="other")
    assert finish(claimed, Ending(RunStatus.SUCCESS, head=head()), None) is None
    assert owed() == []


def test_webhook_that_is_not_allowed_any_more_is_owed_all_the_same(principal: Principal, use_webhooks: Any) -> None:
    claimed = claim(create(principal, webhook=HOOK))
    use_webhooks(url={"allowed_domains": ["other.example.com"]})
    finish(claimed, Ending(RunStatus.SUCCESS, head=head()), None)
    assert the_one()["status"] == "success"
