"""One attempt: how whatever a graph does becomes the end of its run."""

import asyncio
import gc
import sys
import weakref
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import OperationalError

from platform_site.access.principal import Principal
from platform_site.core.database.access import in_db
from platform_site.core.events.configured import event_log
from runs.cancel import run_cancel
from runs.engine.attempt import Attempt
from runs.engine.engine import Engine
from runs.engine.stopping import Stop
from runs.models import Run
from tests.runs.conftest import Gate, claim, create, ended, eventually, execute, loads, run_to_end
from tests.runs.graphs import script
from threads.models import Thread


def raises(error: BaseException) -> Any:
    def fail(*_: Any) -> None:
        raise error

    return fail


async def outcome(run: Run) -> Any:
    """What `wait` answers."""
    subscription = event_log().subscribe(str(run.run_id), "0")
    while await subscription.batch(5):
        pass
    return loads(subscription.outcome or b"")


async def events(run: Run) -> list[tuple[str, Any]]:
    subscription = event_log().subscribe(str(run.run_id), "0")
    found = []
    while batch := await subscription.batch(5):
        found += [(event.name, loads(event.data)) for event in batch]
    return found


async def test_stream_begins_with_the_run_and_its_attempt(principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": []})
    assert (await events(run))[0] == ("metadata", {"run_id": str(run.run_id), "attempt": 1})


async def test_wait_gives_the_last_values(principal: Principal) -> None:
    run = await run_to_end(principal, "log", input={"log": ["in"]}, stream_mode="updates")
    assert await outcome(run) == {"log": ["in", "one", "two"]}


async def test_an_attempt_is_freed_without_a_garbage_collection(principal: Principal) -> None:
    claimed = await in_db(lambda: claim(create(principal, input={"log": []})))
    attempt = Attempt(claimed, lambda: None)
    seen = weakref.ref(attempt)
    gc.disable()
    try:
        await attempt.execute()
        del attempt
        assert await asyncio.to_thread(eventually, lambda: seen() is None)
    finally:
        gc.enable()


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("too large"), "too large"),
        (KeyError("name"), "'name'"),
        (AttributeError("no such thing"), "no such thing"),
        (LookupError("row"), "An internal error occurred"),
        (Exception("password"), "An internal error occurred"),
        (OSError("path"), "An internal error occurred"),
        (ZeroDivisionError("x"), "An internal error occurred"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_error_text_is_masked_for_clients_and_kept_for_operators(
    principal: Principal, error: Exception, shown: str
) -> None:
    with script("fail", raises(error)):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    body = {"error": type(error).__name__, "message": shown}
    assert (run.status, run.error_class, run.error_text) == ("error", type(error).__name__, str(error))
    assert "in fail" in run.error_traceback
    assert (run.thread.status, run.thread.error) == ("error", body)
    assert (await events(run))[-1] == ("error", body)
    assert await outcome(run) == {"__error__": body}


@pytest.mark.parametrize("graph_id", ["scripted", "scripted_thread"])
@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration(), BaseException("b")],
    ids=lambda error: type(error).__name__,
)
def test_no_exception_of_a_node_outlives_its_run(
    principal: Principal, engine: Engine, graph_id: str, error: BaseException
) -> None:
    with script("fail", raises(error)):
        assert ended(create(principal, graph_id, input={"do": "fail"})).status == "error"
    # Others are not affected.
    assert ended(create(principal, "log", input={"log": []})).status == "success"


def test_a_node_that_exits_the_process_does_not_stop_others(principal: Principal, engine: Engine, gate: Gate) -> None:
    with script("exit", lambda *_: sys.exit(1)), script("pause", gate.pause):
        other = create(principal, "scripted", input={"do": "pause"})
        gate.reached.wait(10)
        assert ended(create(principal, "scripted", input={"do": "exit"})).error_text == "The graph called sys.exit(1)"
        gate.open.set()
        assert ended(other).status == "success"


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_exception_that_cannot_be_printed_ends_the_run(principal: Principal) -> None:
    with script("fail", raises(Rude())):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    assert (run.status, run.error_class) == ("error", "Rude")
    assert run.error_text == "The text of this exception cannot be made: its __str__ raised RuntimeError"


async def test_a_group_of_exceptions_is_shown_by_its_first_and_kept_whole(principal: Principal) -> None:
    group = ExceptionGroup("both failed", [ExceptionGroup("inner", [ValueError("one")]), OSError("two")])
    with script("fail", raises(group)):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    assert run.thread.error == {"error": "ValueError", "message": "one"}
    assert run.error_text.endswith(": ValueError: one; OSError: two")
    assert "ExceptionGroup: both failed" in run.error_traceback


async def test_the_log_has_what_clients_are_not_told_with_the_runs_id(
    principal: Principal, caplog: pytest.LogCaptureFixture
) -> None:
    with script("fail", raises(OSError("cannot read /srv/key"))), caplog.at_level("INFO", "switchyard.runs"):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    [record] = [record for record in caplog.records if record.getMessage().startswith("failed with")]
    assert record.getMessage() == "failed with OSError: cannot read /srv/key"
    assert record.exc_info is not None
    assert run.error_message == "An internal error occurred"


async def test_failed_run_keeps_the_steps_that_were_finished(principal: Principal) -> None:
    with script("fail", raises(ValueError("x"))):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    assert run.thread.values["log"] == ["begun"]


@pytest.mark.usefixtures("unloaded")
async def test_broken_graph_ends_with_the_reason(principal: Principal) -> None:
    run = await run_to_end(principal, "broken", input={})
    assert (run.status, run.error_class) == ("error", "BrokenGraph")
    assert "does_not_exist" in run.error_text


async def test_unknown_graph_ends_with_error(principal: Principal) -> None:
    run = await in_db(create, principal, "log", input={})
    run.kwargs["config"]["configurable"]["graph_id"] = "gone"
    await in_db(run.save)
    await execute(await in_db(claim, run))
    await in_db(run.refresh_from_db)
    assert (run.status, run.error_class) == ("error", "UnknownGraph")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("no key"), "ValueError"),
        (SystemExit(1), "SystemExit"),
        (StopIteration(), "RuntimeError"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
    ids=repr,
)
async def test_factory_that_raises_ends_the_run(principal: Principal, error: BaseException, shown: str) -> None:
    with script("fail", raises(error)):
        run = await run_to_end(principal, "made", input={}, config={"configurable": {"factory": "fail"}})
    assert (run.status, run.error_class) == ("error", shown)


# --- stopping --------------------------------------------------------------------------------------


async def paused(principal: Principal, gate: Gate, graph_id: str = "scripted", **fields: Any) -> tuple[Attempt, Any]:
    """An attempt whose node waits at the gate, and its execution."""
    run = await in_db(create, principal, graph_id, **({"input": {"do": "pause"}} | fields))
    attempt = Attempt(await in_db(claim, run), lambda: None)
    execution = asyncio.ensure_future(attempt.execute())
    assert await asyncio.to_thread(gate.reached.wait, 10)
    return attempt, execution


async def row(attempt: Attempt) -> Run:
    return await in_db(lambda: Run.objects.select_related("thread").get(run_id=attempt.claim.run_id))


async def test_time_limit_ends_the_run_with_timeout(principal: Principal, gate: Gate, settings: Any) -> None:
    settings.RUN_TIME_LIMIT_SECONDS = 0.2
    with script("pause", gate.pause):
        run = await run_to_end(principal, "scripted", input={"do": "pause"})
    assert (run.status, run.error_class, run.thread.status) == ("timeout", "RunTimeout", "error")
    assert gate.cancelled.is_set()
    assert (await outcome(run))["__error__"]["error"] == "RunTimeout"


async def test_time_limit_holds_for_a_node_that_turns_its_cancel_into_an_error(
    principal: Principal, gate: Gate, settings: Any
) -> None:
    settings.RUN_TIME_LIMIT_SECONDS = 0.2

    async def stubborn(*_: Any) -> None:
        try:
            await gate.pause()
        except asyncio.CancelledError:
            raise ValueError("interrupted") from None

    with script("pause", stubborn):
        run = await run_to_end(principal, "scripted", input={"do": "pause"})
    assert run.status == "timeout"


async def test_a_timeout_of_the_graphs_own_is_an_error(principal: Principal) -> None:
    with script("fail", raises(TimeoutError("slow service"))):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    assert (run.status, run.error_class) == ("error", "TimeoutError")


async def test_time_limit_holds_while_the_graph_is_made(principal: Principal, gate: Gate, settings: Any) -> None:
    settings.RUN_TIME_LIMIT_SECONDS = 0.2
    with script("hang", gate.wait):
        run = await run_to_end(principal, "made", input={}, config={"configurable": {"factory": "hang"}})
        gate.open.set()
    assert run.status == "timeout"


async def test_run_can_be_cancelled_while_its_graph_is_made(principal: Principal, gate: Gate) -> None:
    with script("hang", gate.wait):
        config = {"configurable": {"factory": "hang"}}
        attempt, execution = await paused(principal, gate, "made", input={}, config=config)
        await in_db(run_cancel, principal, attempt.claim.thread_id, attempt.claim.run_id)
        attempt.stop(Stop.CANCEL)
        await execution
        gate.open.set()
    assert (await row(attempt)).status == "interrupted"


async def test_cancelled_run_keeps_its_state(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        attempt.stop(Stop.CANCEL)
        await execution
    run = await row(attempt)
    assert (run.status, run.error_class, run.thread.status) == ("interrupted", "UserInterrupt", "interrupted")
    assert run.thread.values["log"] == ["begun"]
    assert [name for name, _ in await events(run)][-1] != "error"


async def test_node_that_turns_its_cancel_into_an_error_was_cancelled_all_the_same(
    principal: Principal, gate: Gate
) -> None:
    async def stubborn(*_: Any) -> None:
        try:
            await gate.pause()
        except asyncio.CancelledError:
            raise ValueError("interrupted") from None

    with script("pause", stubborn):
        attempt, execution = await paused(principal, gate)
        attempt.stop(Stop.CANCEL)
        await execution
    assert (await row(attempt)).status == "interrupted"


async def test_rollback_leaves_neither_run_nor_checkpoints(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        attempt.claim.cancel_action = "rollback"
        attempt.stop(Stop.CANCEL)
        await execution
    found = await in_db(lambda: list(Run.objects.filter(run_id=attempt.claim.run_id)))
    thread = await in_db(lambda: Thread.objects.get(pk=attempt.claim.thread_id))
    assert (found, thread.status, thread.values) == ([], "idle", None)


@pytest.mark.parametrize(("action", "left"), [("interrupt", ["interrupted"]), ("rollback", [])])
async def test_cancel_that_comes_when_the_graph_has_ended_stands(
    principal: Principal, gate: Gate, action: str, left: list[str]
) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        # Accepted in another process, or between the last step and the end.
        await in_db(run_cancel, principal, attempt.claim.thread_id, attempt.claim.run_id, action)
        gate.open.set()
        await execution
    found = await in_db(lambda: list(Run.objects.filter(run_id=attempt.claim.run_id).values_list("status", flat=True)))
    assert found == left


async def test_cancel_that_comes_when_the_graph_has_ended_keeps_the_spans(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        await in_db(run_cancel, principal, attempt.claim.thread_id, attempt.claim.run_id)
        gate.open.set()
        await execution
    run = await row(attempt)
    spans = await in_db(lambda: list(run.spans.order_by("started_at").values_list("name", flat=True)))
    assert (run.status, spans) == ("interrupted", ["begin", "work"])


async def test_cancel_that_comes_during_a_drain_stands(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        await in_db(run_cancel, principal, attempt.claim.thread_id, attempt.claim.run_id)
        attempt.stop(Stop.DRAIN)
        await execution
    run = await row(attempt)
    assert (run.status, run.lease_owner, run.thread.status) == ("interrupted", None, "interrupted")


async def test_drained_run_is_pending_and_its_readers_are_told(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        attempt.stop(Stop.DRAIN)
        await execution
    run = await row(attempt)
    assert (run.status, run.attempt, run.lease_owner) == ("pending", 0, None)
    assert (await events(run))[-1][1]["error"] == "ServerShutdown"


async def test_a_database_that_goes_away_before_the_graph_begins_is_not_the_runs_fault(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("gone") from psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("runs.engine.start.save_baseline", away)
    monkeypatch.setattr("runs.engine.own_writes.IS_POSTGRES", True)
    run = await in_db(lambda: create(principal, "log", command={"update": {"log": ["in"]}}))
    await execute(await in_db(claim, run))
    await in_db(run.refresh_from_db)
    assert (run.status, run.attempt, run.lease_owner) == ("pending", 0, None)


async def test_lost_attempt_writes_nothing(principal: Principal, gate: Gate) -> None:
    with script("pause", gate.pause):
        attempt, execution = await paused(principal, gate)
        before = await row(attempt)
        attempt.stop(Stop.LOST)
        assert await execution == []
    after = await row(attempt)
    assert (after.status, after.lease_owner, after.updated_at) == ("running", before.lease_owner, before.updated_at)


# --- odd states ------------------------------------------------------------------------------------


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


async def test_values_of_python_have_a_json_form(principal: Principal) -> None:
    given = {"set": {1}, "bytes": b"x", "decimal": Decimal("1.5"), "nan": float("nan"), 1: "key"}
    with script("give", lambda *_: given):
        run = await run_to_end(principal, "scripted", input={"do": "give"})
    found = (await outcome(run))["done"]
    assert found == {"set": [1], "bytes": "eA==", "decimal": 1.5, "nan": None, "1": "key"}
    assert run.thread.values["done"] == found


async def test_run_fails_whose_state_cannot_be_stored(principal: Principal) -> None:
    with script("give", lambda *_: Opaque()):
        run = await run_to_end(principal, "scripted", input={"do": "give"})
    assert (run.status, run.thread.status) == ("error", "error")
    assert "Opaque" in run.error_text


async def test_large_state(principal: Principal) -> None:
    with script("give", lambda *_: "x" * 5_000_000):
        run = await run_to_end(principal, "scripted", input={"do": "give"})
    assert (run.status, len(run.thread.values["done"])) == ("success", 5_000_000)


async def test_state_with_characters_that_databases_refuse(principal: Principal) -> None:
    with script("give", lambda *_: "a\x00b\\u0000c"):
        run = await run_to_end(principal, "scripted", input={"do": "give"})
    assert run.status == "success"
    assert run.thread.values["done"].endswith("b\\u0000c")


async def test_error_with_characters_that_databases_refuse(principal: Principal) -> None:
    with script("fail", raises(ValueError("a\x00b\ud800c"))):
        run = await run_to_end(principal, "scripted", input={"do": "fail"})
    assert run.status == "error"
    assert run.error_text.startswith("a")
